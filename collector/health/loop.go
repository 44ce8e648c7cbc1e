package health

import (
	"time"

	"weft/internal/sample"
)

// loopDelay measures how long a verdict takes to every proxy. Slow start rises one step per loop, so that each step
// is judged by traffic that knew of it.
type loopDelay struct {
	recent [16]journey
	next   int
}

// journey is one verdict on its way.
type journey struct {
	service string
	version uint64
	at      time.Time
	acked   map[string]bool // by proxy
	slowest time.Duration
}

const (
	minLoop    = time.Second
	maxLoop    = 10 * time.Second
	maxProxies = 5_000                  // per verdict
	laneDelay  = 250 * time.Millisecond // from the proxy that acted to our counters
)

func (l *loopDelay) issued(now time.Time, v sample.Verdict) {
	l.recent[l.next] = journey{service: v.Endpoint.Service, version: v.Version, at: now, acked: map[string]bool{}}
	l.next = (l.next + 1) % len(l.recent)
}

// delay is the slowest of the recent journeys, at least a second.
func (l *loopDelay) delay() time.Duration {
	slowest := time.Duration(0)
	for _, j := range l.recent {
		slowest = max(slowest, j.slowest)
	}
	return min(max(slowest+laneDelay, minLoop), maxLoop)
}

// Acked says that a proxy works with a service's verdicts up to version.
func (e *Engine) Acked(now time.Time, proxy, service string, version uint64) {
	if version > e.version {
		return // of an earlier term
	}
	for i := range e.loop.recent {
		j := &e.loop.recent[i]
		if j.service == service && j.version <= version && !j.acked[proxy] && len(j.acked) < maxProxies {
			j.acked[proxy] = true
			if delay := now.Sub(j.at); delay <= maxLoop { // a proxy that came later says nothing about the loop
				j.slowest = max(j.slowest, delay)
			}
		}
	}
}
