package index

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/collector/store/key"
	"weft/internal/wal"
)

func write(t testing.TB, entries []Entry, about About) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.idx")
	f, err := wal.OS{}.OpenFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(f, entries, about); err != nil {
		t.Fatal(err)
	}
	x, err := Open(f, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func TestRowsAreFound(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Just(^uint64(0))), 0, 2000).Draw(t, "keys")
		want := map[key.Key][]uint32{}
		var entries []Entry
		for i, k := range keys {
			e := Entry{key.Key(k), uint32(len(keys) - i)}
			entries = append(entries, e)
		}
		entries = Sort(entries)
		for _, e := range entries {
			want[e.Key] = append(want[e.Key], e.Row)
		}
		x := write(outer, entries, About{Size: 7, Footer: 9, Summary: []byte("about")})
		if x.Size != 7 || x.Footer != 9 || string(x.Summary) != "about" || x.Entries() != len(entries) {
			t.Fatalf("%+v", x.About)
		}
		for k, rows := range want {
			got, bytes, err := x.Rows(k)
			if err != nil || bytes < blockSize+pageSize {
				t.Fatal(bytes, err)
			}
			for _, row := range rows {
				if !slices.Contains(got, row) {
					t.Fatalf("key %x: rows %v, want %v", k, got, rows)
				}
			}
		}
		if err := x.Each(nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFalseReads measures how often an unknown ID leads to a row, on the real structure with as many keys as fit a
// test, and takes it to 5 billion spans: one day at 58,000 spans/s. A file is read in vain when both the filter and the
// half of a key that entries have agree; the two are independent, so they are measured apart as well.
func TestFalseReads(t *testing.T) {
	const keys, probesEach = 1 << 20, 1 << 20
	r := rand.New(rand.NewPCG(1, 2))
	entries := make([]Entry, keys)
	for i := range entries {
		entries[i] = Entry{random(r), uint32(i)}
	}
	x := write(t, Sort(entries), About{})
	prefixes := map[uint32]bool{}
	for _, e := range entries {
		prefixes[prefix(e.Key)] = true
	}
	maybe, half, both := 0, 0, 0
	for range probesEach {
		k := random(r)
		m, err := x.Maybe(k)
		if err != nil {
			t.Fatal(err)
		}
		p := prefixes[prefix(k)]
		if m {
			maybe++
		}
		if p {
			half++
		}
		if m && p {
			both++
		}
	}
	filter, entry := float64(maybe)/probesEach, float64(half)/probesEach/keys
	t.Logf("filter %.5f; entry %.3g a key, 2^-32 is %.3g; both %d times", filter, entry, 1.0/(1<<32), both)
	if filter > 0.007 {
		t.Errorf("the filter says maybe to %.4f of unknown IDs", filter)
	}
	if entry > 1.3/(1<<32) || entry < 0.7/(1<<32) {
		t.Errorf("an entry has the half of an unknown ID with probability %g", entry)
	}
	for name, total := range map[string]float64{"traces of 8 spans, each with a request ID": 2 * 5e9 / 8, "every span a trace of its own": 5e9} {
		reads := filter * total / (1 << 32)
		t.Logf("5e9 spans, %s: %.5f files are read in vain per look-up", name, reads)
		if reads > 0.1 {
			t.Errorf("%s: %.3f files are read in vain", name, reads)
		}
	}
	if perKey := float64(x.Bytes()) / keys; perKey > 9.7 {
		t.Errorf("%.2f bytes a key", perKey)
	}
}

func random(r *rand.Rand) key.Key {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	return key.OfTrace(id)
}

// An unknown ID costs one read of 64 bytes, and seldom a page.
func TestAMissReadsLittle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	entries := make([]Entry, 100_000)
	for i := range entries {
		entries[i] = Entry{random(r), uint32(i)}
	}
	x := write(t, Sort(entries), About{})
	total := int64(0)
	for range 10_000 {
		_, n, err := x.Rows(random(r))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if mean := total / 10_000; mean > 128 {
		t.Errorf("a miss reads %d bytes", mean)
	}
}

func FuzzOpen(f *testing.F) {
	entries := Sort([]Entry{{1, 2}, {3, 4}, {1 << 40, 5}, {1 << 63, 6}})
	whole := encode(entries, About{Summary: []byte("{}")})
	f.Add(whole, uint64(1))
	f.Add(whole[:100], uint64(3))
	f.Add([]byte(magic), uint64(3))
	f.Fuzz(func(t *testing.T, raw []byte, hash uint64) {
		path := filepath.Join(t.TempDir(), "a.idx")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := wal.OS{}.OpenFile(path, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		x, err := Open(file, path)
		if err != nil {
			return
		}
		_, _, _ = x.Rows(key.Key(hash))
		_ = x.Each(nil)
	})
}
