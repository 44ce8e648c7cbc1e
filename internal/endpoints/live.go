package endpoints

import (
	"sync"
	"time"

	"weft/internal/sample"
)

// Live is this proxy's own experience of one endpoint. It belongs to the instance, not to an address or a snapshot, so
// a new weight does not make a slow endpoint look fresh. Package balance decides what it means.
type Live struct {
	Counter sample.Counter

	mu   sync.Mutex
	load Load
}

// Load is what balancing rests on.
type Load struct {
	InFlight int
	Latency  time.Duration // peak-sensitive moving average; 0 when nothing was seen
	Failing  float64       // moving average of the share of failed attempts, 0 to 1
	Seen     time.Time     // the last attempt that said something

	Failures  int       // in a row
	OpenUntil time.Time // the local breaker keeps the endpoint out until then; zero when it is closed
	Trips     int       // openings in a row
	Probing   bool      // one attempt is out to see whether the endpoint is back
}

// Update changes the load under its lock.
func (l *Live) Update(change func(*Load)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.load)
}

// Load is a copy.
func (l *Live) Load() Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.load
}

// Open says whether the local breaker keeps the endpoint out now.
func (l Load) Open(now time.Time) bool { return now.Before(l.OpenUntil) }

// Breaker is "closed", "open" or "half-open".
func (l Load) Breaker(now time.Time) string {
	switch {
	case l.OpenUntil.IsZero():
		return "closed"
	case l.Open(now):
		return "open"
	default:
		return "half-open"
	}
}
