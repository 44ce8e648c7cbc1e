package health

import (
	"time"

	"weft/internal/sample"
)

// Windows are exact counts in half-second slots over the last minute, never decayed averages.
const (
	slotLength = 500 * time.Millisecond
	slotCount  = 120
)

func slotOf(t time.Time) int64       { return t.UnixNano() / int64(slotLength) }
func slotsIn(d time.Duration) int64  { return int64(d / slotLength) }
func lengthOf(n int64) time.Duration { return time.Duration(n) * slotLength }

// counts are first attempts. ok and failed may be judged; slow are those of them that took longer than the
// endpoint's limit; downstream failed because of a call further down.
type counts struct {
	ok, failed, slow, downstream uint32
}

func (c counts) attempts() uint32 { return c.ok + c.failed }

func (c *counts) add(d counts) {
	c.ok += d.ok
	c.failed += d.failed
	c.slow += d.slow
	c.downstream += d.downstream
}

// ring holds counts per slot; it takes no memory before the first count.
type ring struct {
	head  int64 // the newest slot
	slots *[slotCount]counts
}

// add counts d in a slot; a slot that has left the window is ignored.
func (r *ring) add(slot int64, d counts) {
	if r.slots == nil {
		r.slots, r.head = new([slotCount]counts), slot
	}
	if slot > r.head {
		for s := max(r.head+1, slot-slotCount+1); s <= slot; s++ {
			r.slots[s%slotCount] = counts{}
		}
		r.head = slot
	}
	if slot > r.head-slotCount {
		r.slots[slot%slotCount].add(d)
	}
}

func (r *ring) at(slot int64) counts {
	if r.slots == nil || slot > r.head || slot <= r.head-slotCount || slot < 0 {
		return counts{}
	}
	return r.slots[slot%slotCount]
}

// since sums the slots from…now that are still in the window.
func (r *ring) since(from int64) counts {
	var sum counts
	if r.slots == nil {
		return sum
	}
	for s := max(from, r.head-slotCount+1, 0); s <= r.head; s++ {
		sum.add(r.slots[s%slotCount])
	}
	return sum
}

// histogram counts latencies in the buckets of sample.Sketch, up to 2^27 µs (134 s).
const buckets = 27*8 + 1

type histogram [buckets]uint32

func (h *histogram) add(bucket int32, n uint64) {
	h[min(max(bucket, 0), buckets-1)] += clip(n)
}

// latencies holds a minute of them in five-second slots.
type latencies struct {
	head  int64
	slots [12]histogram
}

func latencySlot(slot int64) int64 { return slot / 10 }

func (l *latencies) add(slot int64, bucket int32, n uint64) {
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

// p99 is the 99th percentile of what was counted in half-second slots from…now, with the number of responses.
func (l *latencies) p99(from, now int64) (time.Duration, uint64) {
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
