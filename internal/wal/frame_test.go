package wal

import (
	"bytes"
	"io"
	"testing"
)

// FuzzScan reads any bytes as a file: no panic, records within the file and in order, and the same records again when
// the file is extended by one.
func FuzzScan(f *testing.F) {
	const salt = 7
	one := appendFrame(nil, salt, [][]byte{[]byte("one")})
	two := appendFrame(bytes.Clone(one), salt, [][]byte{nil})
	three := appendFrame(bytes.Clone(two), salt, [][]byte{bytes.Repeat([]byte{9}, 300)})
	damaged := bytes.Clone(three)
	damaged[17] ^= 4
	for _, seed := range [][]byte{nil, one, two, three, damaged, three[:len(three)-1], appendFrame(nil, 8, [][]byte{one})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		read := func(raw []byte) (out [][]byte) {
			var end int64
			s := &scanner{src: bytes.NewReader(raw), salt: salt, max: 1 << 20, end: int64(len(raw)), damaged: func(off, n int64) {
				if off < end || n <= 0 {
					t.Fatalf("damage at %d+%d, last record ended at %d", off, n, end)
				}
			}}
			for {
				off, payload, err := s.next()
				if err == io.EOF {
					return out
				} else if err != nil {
					t.Fatal(err)
				}
				if off < end || s.off > int64(len(raw)) {
					t.Fatalf("record at %d ends at %d of %d, the last one ended at %d", off, s.off, len(raw), end)
				}
				end = s.off
				out = append(out, bytes.Clone(payload))
			}
		}
		before := read(raw)
		after := read(appendFrame(bytes.Clone(raw), salt, [][]byte{[]byte("next")}))
		// A torn length may reach over the new record; then the new record is found by the search, never lost.
		if len(after) != len(before)+1 || string(after[len(after)-1]) != "next" {
			t.Fatalf("%d records, then %d", len(before), len(after))
		}
	})
}

// FuzzFrames writes payloads and harms one byte of the file: every record that does not hold the byte is read, in order,
// and none is read that was not written.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("one\x00two\x00\x00three"), 20, byte(1))
	f.Add([]byte("\xe1WAL\x00\xe1WAL\xe1WAL"), 4, byte(0xff))
	f.Add(appendFrame(nil, 7, [][]byte{[]byte("a frame within a frame")}), 0, byte(0))
	f.Fuzz(func(t *testing.T, text []byte, place int, harm byte) {
		const salt = 7
		var file []byte
		var want [][]byte
		payloads := bytes.Split(text, []byte{0})
		ends := make([]int, len(payloads))
		for i, p := range payloads {
			// In two parts, as appenders give them.
			file = appendFrame(file, salt, [][]byte{p[:len(p)/2], p[len(p)/2:]})
			ends[i] = len(file)
		}
		place = (place%len(file) + len(file)) % len(file)
		file[place] ^= harm
		start := 0
		for i, p := range payloads {
			if harm == 0 || place < start || place >= ends[i] {
				want = append(want, p)
			}
			start = ends[i]
		}
		s := &scanner{src: bytes.NewReader(file), salt: salt, max: 1 << 20, end: int64(len(file)), damaged: func(int64, int64) {}}
		for i := 0; ; i++ {
			_, payload, err := s.next()
			if err == io.EOF {
				if i != len(want) {
					t.Fatalf("%d records, want %d", i, len(want))
				}
				return
			}
			if err != nil || i >= len(want) || !bytes.Equal(payload, want[i]) {
				t.Fatalf("record %d is %q (%v), want %q", i, payload, err, want)
			}
		}
	})
}
