package counts

import (
	"math"
	"slices"
	"time"

	"weft/collector/health/chance"
	"weft/internal/sample"
)

// Endpoint is what all reporters saw of one endpoint.
type Endpoint struct {
	Key         sample.Key
	Callers     []*Cell // one per calling reporter, by name
	Witness     *Cell   // its own inbound sidecar's, nil until it reports
	Total       Ring    // all callers together
	Seen        Totals  // the same, since the beginning
	Latency     *Latencies
	SlowAbove   int32 // the bucket of latencies above which a response is slow
	LastAttempt time.Time

	lastReport time.Time
	capped     bool // a caller's influence is
}

// NoLimit as SlowAbove calls nothing slow.
const NoLimit = math.MaxInt32

// Reporter is one proxy and what it had counted by its newest report.
type Reporter struct {
	Name     string
	Read     time.Time // when the newest counters were read
	Outbound []*Cell   // its views of the endpoints it calls, by service and instance

	epoch    uint64
	sequence uint64
	cells    map[cellKey]*Cell
}

type cellKey struct {
	endpoint sample.Key
	witness  bool
}

// Cell is one reporter's view of one endpoint.
type Cell struct {
	Reporter *Reporter
	Endpoint *Endpoint
	Ring     Ring
	FailedID []string // request IDs, newest first
	Open     bool     // its local breaker

	read      time.Time
	last      sample.Counts // cumulative, of the newest report
	latency   sample.Sketch // the same
	influence float64       // 0 to 1
}

// minVoice attempts a reporter may always count for.
const minVoice = 50

// Weigh bounds each caller, once a second: it counts for no more than twice the others together. Its counts shrink in
// proportion, so its bet L becomes L^w with w ≤ 1, which is still a fair one. A caller that fell silent has no open
// breaker any more.
func (ep *Endpoint) Weigh(now time.Time, from int64) {
	ep.capped = false
	all := float64(ep.Total.Since(from).Attempts())
	for _, c := range ep.Callers {
		c.influence = 1
		c.Open = c.Open && now.Sub(c.read) <= MaxAge
		own := float64(c.Ring.Since(from).Attempts())
		if most := max(minVoice, 2*(all-own)); own > most && own < all {
			c.influence, ep.capped = most/own, true
		}
	}
}

// Tallies fills slots with all callers' counts per slot from…, each caller's influence capped.
func (ep *Endpoint) Tallies(slots []chance.Tally, from int64, kind Kind) {
	for i := range slots {
		slots[i] = ep.Total.At(from + int64(i)).Of(kind)
	}
	if !ep.capped {
		return
	}
	for _, c := range ep.Callers {
		if c.influence == 1 {
			continue
		}
		for i := range slots {
			t := c.Ring.At(from + int64(i)).Of(kind)
			slots[i].N -= (1 - c.influence) * t.N
			slots[i].Bad -= (1 - c.influence) * t.Bad
		}
	}
}

// addLatency counts the responses in now that were not in earlier, and returns how many of them were slow.
func (ep *Endpoint) addLatency(slot int64, now, earlier sample.Sketch, keep bool) (slow uint16) {
	for bucket, n := range now {
		before := earlier[bucket]
		if n <= before {
			continue
		}
		n -= before
		if keep {
			if ep.Latency == nil {
				ep.Latency = &Latencies{}
			}
			ep.Latency.add(slot, bucket, n)
		}
		if bucket > ep.SlowAbove {
			slow = clip16(uint64(slow) + n)
		}
	}
	return slow
}

func (ep *Endpoint) drop(c *Cell) {
	if ep.Witness == c {
		ep.Witness = nil
	}
	ep.Callers = slices.DeleteFunc(ep.Callers, func(other *Cell) bool { return other == c })
}
