package correlate

import (
	"hash/maphash"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// seen remembers (trace, span) IDs for one to two minutes: two generations, swapped every minute, or sooner when one
// is full. It keeps 64-bit hashes: among a million spans the chance that any two collide is one in 40 million.
type seen struct {
	limit        int
	hash         maphash.Seed
	began        time.Time
	young, older map[uint64]struct{}
}

const seenFor = time.Minute

func newSeen(limit int) *seen {
	return &seen{limit: max(1, limit/2), hash: maphash.MakeSeed(), young: map[uint64]struct{}{}}
}

// first reports whether the span is new, and remembers it.
func (s *seen) first(now time.Time, trace signal.TraceID, span signal.SpanID) bool {
	if age := now.Sub(s.began); age >= seenFor || len(s.young) >= s.limit {
		s.older, s.young = s.young, make(map[uint64]struct{}, len(s.young)/2)
		if age >= 2*seenFor {
			s.older = nil
		}
		s.began = now
	}
	key := maphash.Comparable(s.hash, facts.At(trace, span))
	if _, ok := s.young[key]; ok {
		return false
	}
	if _, ok := s.older[key]; ok {
		return false
	}
	s.young[key] = struct{}{}
	return true
}
