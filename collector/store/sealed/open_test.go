package sealed

import (
	"runtime"
	"testing"

	"weft/internal/wal"
)

// Thousands of files are open at once: what each holds in memory must be little.
func TestAnOpenFileIsSmall(t *testing.T) {
	f, _ := sealSpans(t, t.TempDir(), manySpans(3000))
	defer f.Close()
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // what finalizers and pools held goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n = 200
	cache := NewCache(1 << 20)
	all := make([]*File, 0, n)
	before := heap()
	for range n {
		g, err := Open(wal.OS{}, f.Path(), cache)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes an open file", each)
	if each > 3<<10 {
		t.Errorf("an open file holds %d bytes", each)
	}
	for _, g := range all {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
