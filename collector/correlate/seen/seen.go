// Package seen remembers for a minute which spans came.
package seen

import (
	"hash/maphash"
	"time"

	"weft/collector/correlate/facts"
)

// Set remembers names of spans for one minute to a minute and a half, as fingerprints of 62 bits: among six million the
// chance that a new span is taken for an old one is one in 10^12.
//
// It is an open addressing table (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm L) in shards, of which
// each grows, and forgets, on its own, so that no call pays for more than a tenth of a millisecond of either. The two
// low bits of an entry say in which of the last three half minutes it came. The zero entry is an empty slot.
type Set struct {
	seed    maphash.Seed
	shards  [shards]shard
	highest int // slots of a shard
	scratch []uint64
	early   uint64
}

type shard struct {
	slots []uint64
	used  int
	turn  uint64 // of the half minute: 1, 2 or 3
	began int64
	count [turns + 1]int   // entries of each turn
	ended [turns + 1]int64 // when it ended
}

const (
	shards   = 256
	turns    = 3
	turnFor  = int64(30 * time.Second)
	minute   = int64(time.Minute)
	turnBits = 3
	smallest = 16 // slots of a shard
)

// New remembers up to limit spans, in 8 bytes for each slot of a table that is at most three quarters full.
func New(limit int) *Set {
	s := &Set{seed: maphash.MakeSeed(), highest: smallest}
	for s.highest*3/4*shards < limit {
		s.highest *= 2
	}
	return s
}

// First reports whether the span is new, and remembers it.
func (s *Set) First(now int64, key facts.Key) bool {
	var text [24]byte
	copy(text[:], key.Trace[:])
	copy(text[16:], key.Span[:])
	hash := maphash.Bytes(s.seed, text[:])
	shard := &s.shards[hash>>56]
	if shard.slots == nil || now-shard.began >= turnFor {
		s.age(shard, now)
	}
	mask := uint64(len(shard.slots) - 1)
	print := hash&^turnBits | 4 // never the empty slot
	i := hash >> 8 & mask
	for shard.slots[i] != 0 {
		if shard.slots[i]&^turnBits == print {
			return false
		}
		i = (i + 1) & mask
	}
	shard.slots[i] = print | shard.turn
	shard.count[shard.turn]++
	if shard.used++; shard.used*4 >= len(shard.slots)*3 || shard.count[shard.turn]*4 >= s.highest {
		s.makeRoom(shard, now)
	}
	return true
}

// age begins a new half minute, and forgets what came three ago.
func (s *Set) age(shard *shard, now int64) {
	if shard.slots == nil {
		shard.slots, shard.began, shard.turn = make([]uint64, smallest), now, 1
		return
	}
	passed := (now - shard.began) / turnFor
	for range min(passed, turns) {
		shard.began += turnFor
		s.next(shard, shard.began)
	}
	if passed > turns {
		shard.began = now
	}
	s.resize(shard, len(shard.slots))
}

// next begins another turn, whose number that of the oldest is, and drops what has it. A resize must follow, which
// closes the gaps.
func (s *Set) next(shard *shard, now int64) {
	shard.ended[shard.turn] = now
	shard.turn = shard.turn%turns + 1
	oldest := shard.turn
	if shard.count[oldest] == 0 {
		return
	}
	if now-shard.ended[oldest] < minute {
		s.early += uint64(shard.count[oldest])
	}
	shard.used -= shard.count[oldest]
	shard.count[oldest] = 0
	for i, entry := range shard.slots {
		if entry&turnBits == oldest {
			shard.slots[i] = 0
		}
	}
}

// makeRoom doubles the shard or, at its highest, forgets the oldest turn early. A rush is spread over all turns, so that
// no more than a third of it is forgotten at once.
func (s *Set) makeRoom(shard *shard, now int64) {
	size := len(shard.slots)
	full := shard.used*4 >= size*3
	switch {
	case full && size < s.highest:
		s.resize(shard, 2*size)
	case full, shard.count[shard.turn%turns+1] == 0:
		shard.began = now
		s.next(shard, now)
		s.resize(shard, size)
	}
}

// resize enters everything anew in a table of the size, or of a smaller one if that is enough.
func (s *Set) resize(shard *shard, size int) {
	for size > smallest && shard.used*8 < size {
		size /= 2
	}
	entries := shard.slots
	if size == len(entries) {
		s.scratch = append(s.scratch[:0], entries...)
		entries = s.scratch
		clear(shard.slots)
	} else {
		shard.slots = make([]uint64, size)
	}
	mask := uint64(size - 1)
	for _, entry := range entries {
		if entry == 0 {
			continue
		}
		i := entry >> 8 & mask
		for shard.slots[i] != 0 {
			i = (i + 1) & mask
		}
		shard.slots[i] = entry
	}
}

// Early is how many spans were forgotten before their minute was over, because too many came.
func (s *Set) Early() uint64 { return s.early }

// Bytes is what the table takes.
func (s *Set) Bytes() int {
	bytes := cap(s.scratch) * 8
	for i := range s.shards {
		bytes += len(s.shards[i].slots) * 8
	}
	return bytes
}
