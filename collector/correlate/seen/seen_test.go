package seen

import (
	"encoding/binary"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/collector/correlate/facts"
)

func key(n uint64) (k facts.Key) {
	binary.LittleEndian.PutUint64(k.Trace[:], n/8)
	binary.LittleEndian.PutUint64(k.Span[:], n%8+1)
	return k
}

const second = int64(time.Second)

// TestAgreesWithAMap: what came within the last minute is known, and what came long ago is not; clocks may step back.
func TestAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := New(1_000_000), map[uint64]int64{}
		now := int64(1000) * second
		latest := now
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.SampledFrom([]int64{0, 1, 7, 29, 31, 61, 1000, -5}).Draw(t, "later") * second
			latest = max(latest, now)
			base := rapid.Uint64Range(0, 3000).Draw(t, "from")
			for n := range rapid.Uint64Range(1, 3000).Draw(t, "spans") {
				n += base
				first := s.First(now, key(n))
				came, known := model[n]
				switch age := latest - came; {
				case known && age < 60*second && first:
					t.Fatalf("span %d came %d s ago and is new", n, age/second)
				case known && age >= 150*second && !first, !known && !first:
					t.Fatalf("span %d is taken for another; it came %d s ago", n, age/second)
				}
				if first {
					model[n] = now
				}
			}
		}
	})
}

// TestAMinuteAtFullRate: 50,000 spans a second are known for a minute, in 64 MiB. A table of a quarter of the size shows
// it with a quarter of the spans, unless there is time for all.
func TestAMinuteAtFullRate(t *testing.T) {
	part := 4
	if testing.Verbose() {
		part = 1
	}
	s := New(6_000_000 / part)
	now, n := 1000*second, uint64(0)
	for range 100 {
		now += second
		for range 50_000 / part {
			if !s.First(now, key(n)) {
				t.Fatalf("span %d is taken for another", n)
			}
			n++
		}
		if s.Bytes() > (64<<20+1<<20)/part {
			t.Fatalf("%d bytes", s.Bytes())
		}
	}
	for old := n - 3_000_000/uint64(part); old < n; old += 97 {
		if s.First(now, key(old)) {
			t.Fatalf("span %d of %d was forgotten", old, n)
		}
	}
	if s.Early() != 0 {
		t.Errorf("%d forgotten early", s.Early())
	}
	t.Logf("%d MiB for %d spans a second", s.Bytes()>>20, 50_000/part)
	now += 200 * second
	for i := range uint64(100_000) {
		s.First(now, key(1<<40+i))
	}
	if s.Bytes() > 8<<20 {
		t.Errorf("%d bytes after the rush", s.Bytes())
	}
}

// TestFull: too many spans push out the oldest, in the memory that was given.
func TestFull(t *testing.T) {
	s := New(100_000)
	now := 1000 * second
	for n := range uint64(2_000_000) {
		if n%100_000 == 0 {
			now += second
		}
		if !s.First(now, key(n)) {
			t.Fatalf("span %d is taken for another", n)
		}
		if n > 20_000 && s.First(now, key(n-20_000)) {
			t.Fatalf("span %d was forgotten after 20,000 others", n-20_000)
		}
	}
	if s.Early() == 0 || s.Bytes() > 4<<20 {
		t.Errorf("%d forgotten early, %d bytes", s.Early(), s.Bytes())
	}
}

func BenchmarkFirst(b *testing.B) {
	s := New(6_000_000)
	now := 1000 * second
	for n := range uint64(4_500_000) {
		s.First(now+int64(n)*second/50_000, key(n))
	}
	now += 90 * second
	b.ReportAllocs()
	for n := uint64(5_000_000); b.Loop(); n++ {
		s.First(now+int64(n-5_000_000)*second/50_000, key(n))
	}
}
