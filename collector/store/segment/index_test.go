package segment

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/internal/wal"
)

// memFile is a file in memory.
type memFile struct{ *bytes.Reader }

func (memFile) WriteAt([]byte, int64) (int, error) { return 0, errors.New("read only") }
func (memFile) Truncate(int64) error               { return errors.New("read only") }
func (memFile) Sync() error                        { return nil }
func (memFile) Close() error                       { return nil }
func (f memFile) Size() (int64, error)             { return f.Reader.Size(), nil }

func readIndex(raw []byte) (*indexFile, error) {
	return newIndexFile(memFile{bytes.NewReader(raw)}, "test.idx", int64(len(raw)))
}

// Both indexes answer as a map does, whether keys are spread evenly, in clumps, or all alike.
func TestIndexesAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spread := rapid.SampledFrom([]uint64{1, 3, 500, 1 << 40, 1 << 62}).Draw(t, "spread")
		base := rapid.SampledFrom([]uint64{0, 1 << 63, 1<<64 - 1<<62}).Draw(t, "base")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		model, mem := map[Key][]uint32{}, newMemIndex()
		for offset := range uint32(rapid.IntRange(0, 1500).Draw(t, "batches")) {
			keys := make([]Key, r.IntN(4))
			for i := range keys {
				keys[i] = Key(base + r.Uint64N(spread))
			}
			keys = compact(keys)
			mem.add(keys, offset)
			for _, k := range keys {
				model[k] = append(model[k], offset)
			}
		}
		sum := summary{size: 10, records: 3, first: 4, last: 5}
		file, err := readIndex(encodeIndex(mem.sorted(), sum))
		if err != nil || file.summary != sum {
			t.Fatalf("%v, %+v", err, file)
		}
		if all, err := file.all(); err != nil || len(all) != mem.len() {
			t.Fatalf("%d entries, %v", len(all), err)
		}
		for k, want := range model {
			slices.Reverse(want)
			for _, x := range []index{mem, file} {
				if got, err := x.lookup(k); err != nil || !slices.Equal(got, want) {
					t.Fatalf("%T: key %x: %v, %v; want %v", x, uint64(k), got, err, want)
				}
			}
		}
		for range 100 {
			k := Key(r.Uint64())
			for _, x := range []index{mem, file} {
				if got, err := x.lookup(k); err != nil || len(got) != len(model[k]) {
					t.Fatalf("%T: key %x: %v, %v", x, uint64(k), got, err)
				}
			}
		}
	})
}

// FuzzIndexFile reads any bytes as an index: an answer or an error, never a panic, and never an answer from bytes
// that do not check.
func FuzzIndexFile(f *testing.F) {
	var pairs []pair
	for i := range uint32(1000) {
		pairs = append(pairs, pair{Key(mix(Key(i / 2))), i})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.offset, b.offset)) })
	f.Add(encodeIndex(pairs, summary{1, 2, 3, 4}), uint64(pairs[7].key))
	f.Add(encodeIndex(pairs[:3], summary{}), uint64(pairs[1].key))
	f.Add(encodeIndex(nil, summary{}), uint64(1))
	f.Add([]byte("WEFTIDX1"), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, key uint64) {
		x, err := readIndex(raw)
		if err != nil {
			return
		}
		_, _ = x.lookup(Key(key))
		all, err := x.all()
		if err != nil {
			return
		}
		for _, e := range all {
			if got, err := x.lookup(e.key); err == nil && len(got) > 0 && !slices.Contains(got, e.offset) {
				t.Fatalf("%x at %d is not found", uint64(e.key), e.offset)
			}
		}
	})
}

func TestFalsePositives(t *testing.T) {
	var pairs []pair
	for i := range uint32(100_000) {
		pairs = append(pairs, pair{Key(mix(Key(i))), i})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	x, err := readIndex(encodeIndex(pairs, summary{}))
	if err != nil {
		t.Fatal(err)
	}
	maybes := 0
	for i := range 100_000 {
		if ok, _ := x.maybe(Key(mix(Key(1e9 + i)))); ok {
			maybes++
		}
	}
	if share := float64(maybes) / 100_000; share > 0.01 {
		t.Fatalf("the filter says maybe to %.2f %% of unknown keys", share*100)
	}
}

// What the index of the active file takes per (trace, batch).
func TestMemoryPerEntry(t *testing.T) {
	m := newMemIndex()
	var worst float64
	for i := range uint32(1 << 20) {
		m.add([]Key{Key(mix(Key(i / 3)))}, i)
		if i > 100_000 {
			worst = max(worst, float64(m.bytes())/float64(m.len()))
		}
	}
	if worst > 40 {
		t.Fatalf("%.1f bytes an entry", worst)
	}
	t.Logf("at most %.1f bytes an entry", worst)
}

func BenchmarkLookup(b *testing.B) {
	const entries = 1 << 20
	m := newMemIndex()
	for i := range uint32(entries) {
		m.add([]Key{Key(mix(Key(i)))}, i)
	}
	path := filepath.Join(b.TempDir(), "a.idx")
	if err := writeIndex(wal.OS{}, path, m.sorted(), summary{}); err != nil {
		b.Fatal(err)
	}
	file, err := openIndex(wal.OS{}, path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.f.Close()
	for name, x := range map[string]index{"memory": m, "file": file} {
		for what, base := range map[string]Key{"known": 0, "unknown": 1 << 40} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					if _, err := x.lookup(Key(mix(base + Key(i%entries)))); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
