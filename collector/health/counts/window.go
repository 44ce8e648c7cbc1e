// Package counts keeps what reporters saw of endpoints, as exact counts in sliding windows.
package counts

import (
	"time"

	"weft/collector/health/chance"
	"weft/internal/sample"
)

// Windows are exact counts in half-second slots over the last minute, never decayed averages.
const (
	SlotLength = 500 * time.Millisecond
	Slots      = 120
)

// SlotOf numbers the slot of a moment; SlotsIn and LengthOf convert durations.
func SlotOf(t time.Time) int64       { return t.UnixNano() / int64(SlotLength) }
func SlotsIn(d time.Duration) int64  { return int64(d / SlotLength) }
func LengthOf(n int64) time.Duration { return time.Duration(n) * SlotLength }

// Count is first attempts. OK and Failed may be judged. Slow are those of them that took longer than the endpoint's
// limit, Unanswered the failed ones that got no connection or no response in time. Downstream failed because of a call
// further down.
type Count struct {
	OK, Failed                   uint32
	Slow, Unanswered, Downstream uint16
}

// Attempts are those that may be judged.
func (c Count) Attempts() uint32 { return c.OK + c.Failed }

func (c *Count) add(d Count) {
	c.OK += d.OK
	c.Failed += d.Failed
	c.Slow = clip16(uint64(c.Slow) + uint64(d.Slow))
	c.Unanswered = clip16(uint64(c.Unanswered) + uint64(d.Unanswered))
	c.Downstream = clip16(uint64(c.Downstream) + uint64(d.Downstream))
}

// Kind is what makes an attempt bad.
type Kind uint8

const (
	Failures Kind = iota
	Silence       // no connection, no response
	Slowness
)

// Of is attempts and the bad ones among them.
func (c Count) Of(kind Kind) chance.Tally {
	t := chance.Tally{N: float64(c.Attempts()), Bad: float64(c.Failed)}
	switch kind {
	case Silence:
		t.Bad = float64(c.Unanswered)
	case Slowness:
		t.Bad = float64(c.Slow)
	}
	return t
}

// AsDependency also counts failures from further down: they explain the caller's as well.
func (c Count) AsDependency(kind Kind) chance.Tally {
	t := c.Of(kind)
	if kind != Slowness {
		t.N += float64(c.Downstream)
		t.Bad += float64(c.Downstream)
	}
	return t
}

// Totals only grow; differences of two readings are exact.
type Totals struct{ Attempts, Failed, Slow uint64 }

// Since is what came after an earlier reading; silence is among the failures.
func (t Totals) Since(earlier Totals, kind Kind) chance.Tally {
	bad := t.Failed - earlier.Failed
	if kind == Slowness {
		bad = t.Slow - earlier.Slow
	}
	return chance.Tally{N: float64(t.Attempts - earlier.Attempts), Bad: float64(bad)}
}

// Ring holds a Count per slot; it takes no memory before the first count.
type Ring struct {
	head  int64 // the newest slot
	slots *[Slots]Count
}

// add counts d in a slot; a slot that has left the window is ignored.
func (r *Ring) add(slot int64, d Count) {
	if r.slots == nil {
		r.slots, r.head = new([Slots]Count), slot
	}
	if slot > r.head {
		for s := max(r.head+1, slot-Slots+1); s <= slot; s++ {
			r.slots[s%Slots] = Count{}
		}
		r.head = slot
	}
	if slot > r.head-Slots {
		r.slots[slot%Slots].add(d)
	}
}

// At is one slot's counts; none outside the window.
func (r *Ring) At(slot int64) Count {
	if r.slots == nil || slot > r.head || slot <= r.head-Slots || slot < 0 {
		return Count{}
	}
	return r.slots[slot%Slots]
}

// Since sums the slots from…now that are still in the window.
func (r *Ring) Since(from int64) Count {
	var sum Count
	if r.slots == nil {
		return sum
	}
	for s := max(from, r.head-Slots+1, 0); s <= r.head; s++ {
		sum.add(r.slots[s%Slots])
	}
	return sum
}

// histogram counts latencies in the buckets of sample.Sketch, up to 2^27 µs (134 s).
const buckets = 27*8 + 1

type histogram [buckets]uint32

func (h *histogram) add(bucket int32, n uint64) {
	h[min(max(bucket, 0), buckets-1)] += clip(n)
}

// Latencies holds a minute of them in five-second slots.
type Latencies struct {
	head  int64
	slots [12]histogram
}

func latencySlot(slot int64) int64 { return slot / 10 }

func (l *Latencies) add(slot int64, bucket int32, n uint64) {
	slot = latencySlot(slot)
	size := int64(len(l.slots))
	if slot > l.head {
		for s := max(l.head+1, slot-size+1); s <= slot; s++ {
			l.slots[s%size] = histogram{}
		}
		l.head = slot
	}
	if slot > l.head-size {
		l.slots[slot%size].add(bucket, n)
	}
}

// P99 is the 99th percentile of what was counted in half-second slots from…now, with the number of responses.
func (l *Latencies) P99(from, now int64) (time.Duration, uint64) {
	if l == nil {
		return 0, 0
	}
	size := int64(len(l.slots))
	sum := sample.Sketch{}
	for s := max(latencySlot(from), latencySlot(now)-size+1, l.head-size+1, 0); s <= l.head; s++ {
		for bucket, n := range l.slots[s%size] {
			if n > 0 {
				sum[int32(bucket)] += uint64(n)
			}
		}
	}
	return sum.Quantile(0.99), sum.Count()
}
