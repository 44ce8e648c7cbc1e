package health

import (
	"slices"
	"time"

	"weft/internal/sample"
)

// Tests and causes, as evidence names them.
const (
	TestSequential = "sequential"
	TestGross      = "gross-failure"
	TestLatency    = "latency"
	TestSilent     = "silent"
	TestSingle     = "single-endpoint"
	TestService    = "service-wide"
	TestPanic      = "panic"
	TestFlapping   = "flapping"
	TestPath       = "path"
	TestDependency = "dependency"
	TestWitness    = "one-witness"
	TestView       = "partial-view"
	TestReturn     = "slow-start"
	TestExpired    = "expired"
)

const (
	// tolerated is the failure ratio below which nobody is judged, however good the rest is.
	tolerated = 0.002
	// A ratio this much above the tolerated one is severe: the endpoint is ejected, not only given less.
	severe = 0.10
	// Less than this above it is real, but too little to move traffic for.
	worthwhile = 0.02
	// confirm is how long a finding must stand: a shared fault shows at one endpoint a report earlier than at the others.
	confirm = 500 * time.Millisecond
	// slowFactor × the rest's 99th percentile, and at least slowFloor, is slow; slowTolerated of an endpoint's
	// responses may be.
	slowFactor    = 5
	slowFloor     = 100 * time.Millisecond
	slowTolerated = 0.002
)

// finding says that an endpoint is worse than its baseline and than the rest of its service by more than chance.
type finding struct {
	test  string
	from  int64 // the slot of its onset
	sum   tally // all callers since then
	base  float64
	rest  float64
	views []view // the callers, since then
}

// view is one caller's share of a finding.
type view struct {
	*cell
	tally
}

// find looks at the last minute, or what of it belongs to the endpoint's present life.
func (e *Engine) find(service []*endpoint, ep *endpoint) *finding {
	now := slotOf(e.now)
	from := max(now-slotCount+1, ep.judgeFrom)
	recent := ep.total.since(from)
	if recent.failed >= 3 {
		if f := e.findErrors(service, ep, from); f != nil {
			return f
		}
	}
	if recent.slow >= 5 {
		if f := e.findSlow(service, ep, from); f != nil {
			return f
		}
	}
	return e.findSilent(ep, max(from, now-slotsIn(maxAge)))
}

func (e *Engine) findErrors(service []*endpoint, ep *endpoint, from int64) *finding {
	slots := e.tallies(ep, from, TestSequential)
	rest := restRatio(service, ep, from, TestSequential)
	base := max(tolerated, ep.baseline.ratio(), rest)
	nats, onset := sequential(slots, base)
	ep.baseline.suspect = ep.baseline.suspect || nats > suspicion
	at, broken := gross(slots, rest)
	switch {
	case broken && !over(slots[at:]):
		return ep.findingSince(TestGross, from+int64(at), base)
	case nats >= e.threshold(service, ep, from) && lasting(slots[onset:], ep, 2) && !over(slots[onset:]):
		return ep.findingSince(TestSequential, from+int64(onset), base)
	}
	return nil
}

func (e *Engine) findSlow(service []*endpoint, ep *endpoint, from int64) *finding {
	slots := e.tallies(ep, from, TestLatency)
	base := max(slowTolerated, restRatio(service, ep, from, TestLatency))
	nats, onset := sequential(slots, base)
	if nats < e.threshold(service, ep, from) || !lasting(slots[onset:], ep, 3) || over(slots[onset:]) {
		return nil
	}
	f := ep.findingSince(TestLatency, from+int64(onset), base)
	// The statement is about the 99th percentile: one response in a hundred must be slow.
	if f.sum.ratio() < 0.01 {
		return nil
	}
	return f
}

// findSilent: the endpoint's own sidecar, which used to report, fell silent, or its registration lapsed, and a caller
// meets failures: it is gone without a goodbye.
func (e *Engine) findSilent(ep *endpoint, from int64) *finding {
	lapsed := !ep.registered && ep.known
	if !lapsed && !e.silent(ep) || ep.state == sample.Ejected {
		return nil
	}
	from = max(from, slotOf(e.now)-slotsIn(3*time.Second))
	if recent := ep.total.since(from); recent.failed < 2 || 2*recent.failed < recent.attempts() {
		return nil
	}
	return ep.findingSince(TestSilent, from, max(tolerated, ep.baseline.ratio()))
}

// silent reports that the endpoint's own sidecar has reported, and does no more.
func (e *Engine) silent(ep *endpoint) bool {
	return ep.witness != nil && e.now.Sub(ep.witness.reporter.read) > silence
}

func (e *Engine) threshold(service []*endpoint, ep *endpoint, from int64) float64 {
	rate := 0.0 // the higher of the whole window's and the last seconds', when traffic has just begun
	for _, from := range []int64{from, max(from, slotOf(e.now)-slotsIn(5*time.Second))} {
		window := lengthOf(slotOf(e.now) - from + 1).Seconds()
		rate = max(rate, float64(ep.total.since(from).attempts())/window)
	}
	return threshold(e.cfg.BetweenFalseAlarms, len(service), rate)
}

// over reports that a fault has ended: the newest attempts deny the ratio of the whole, a hundred to one.
func over(slots []tally) bool {
	var whole, newest tally
	for _, t := range slots {
		whole = tally{whole.n + t.n, whole.bad + t.bad}
	}
	for i := len(slots) - 1; i > 0; i-- {
		newest = tally{newest.n + slots[i].n, newest.bad + slots[i].bad}
		if newest.ratio() < whole.ratio()/2 && relief(newest, whole.ratio()) >= contrary {
			return true
		}
	}
	return false
}

// lasting asks for bad attempts in several slots; when breakers opened there are no more attempts to wait for.
func lasting(slots []tally, ep *endpoint, want int) bool {
	for _, c := range ep.callers {
		if c.open {
			return true
		}
	}
	for _, t := range slots {
		if t.bad > 0 {
			want--
		}
	}
	return want <= 0
}

func (c counts) tally(test string) tally {
	if test == TestLatency {
		return tally{float64(c.attempts()), float64(c.slow)}
	}
	return tally{float64(c.attempts()), float64(c.failed)}
}

// minVoice attempts a reporter may always count for.
const minVoice = 50

// setInfluence bounds each caller, once a second: it counts for no more than twice the others together. Its counts
// shrink in proportion, so its bet L becomes L^w with w ≤ 1, which is still a fair one. A caller that fell silent has
// no open breaker any more.
func (ep *endpoint) setInfluence(now time.Time, from int64) {
	ep.capped = false
	all := float64(ep.total.since(from).attempts())
	for _, c := range ep.callers {
		c.weight = 1
		c.open = c.open && now.Sub(c.read) <= maxAge
		own := float64(c.ring.since(from).attempts())
		if most := max(minVoice, 2*(all-own)); own > most && own < all {
			c.weight, ep.capped = most/own, true
		}
	}
}

// tallies are all callers' counts per slot from…now, each caller's influence capped. The slice is the engine's scratch.
func (e *Engine) tallies(ep *endpoint, from int64, test string) []tally {
	now := slotOf(e.now)
	slots := e.scratch[:max(0, min(now-from+1, slotCount))]
	for i := range slots {
		slots[i] = ep.total.at(from + int64(i)).tally(test)
	}
	if !ep.capped {
		return slots
	}
	for _, c := range ep.callers {
		if c.weight == 1 {
			continue
		}
		for i := range slots {
			t := c.ring.at(from + int64(i)).tally(test)
			slots[i].n -= (1 - c.weight) * t.n
			slots[i].bad -= (1 - c.weight) * t.bad
		}
	}
	return slots
}

// findingSince collects what every caller saw since the onset.
func (ep *endpoint) findingSince(test string, from int64, base float64) *finding {
	f := &finding{test: test, from: from, base: base, sum: ep.total.since(from).tally(test)}
	for _, c := range ep.callers {
		if t := c.ring.since(from).tally(test); t.n > 0 || c.open {
			f.views = append(f.views, view{c, t})
		}
	}
	return f
}

// restRatio is the bad ratio of the rest of the service: of the endpoint that is the better middle among the others,
// so that neither one other bad endpoint nor one empty one decides. A few attempts count little: they are added to
// twenty with one failure in 200.
func restRatio(service []*endpoint, except *endpoint, from int64, test string) float64 {
	var ratios []float64
	for _, t := range others(service, except, from, test) {
		ratios = append(ratios, (t.bad+0.1)/(t.n+20))
	}
	return lowerMedian(ratios)
}

// others are the counts of the endpoints that get ordinary traffic.
func others(service []*endpoint, except *endpoint, from int64, test string) []tally {
	var all []tally
	for _, ep := range service {
		if ep == except || ep.state == sample.Ejected || ep.state == sample.Probing {
			continue
		}
		if t := ep.total.since(from).tally(test); t.n > 0 {
			all = append(all, t)
		}
	}
	return all
}

func lowerMedian(ratios []float64) float64 {
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return ratios[(len(ratios)-1)/2]
}

// setLatencyLimits says, for each endpoint, above which latency a response is slow: by the other endpoints' p99.
func setLatencyLimits(service []*endpoint, now int64) {
	const enough = 20
	n := make([]uint64, len(service))
	for i, ep := range service {
		ep.p99, n[i] = ep.latency.p99(max(now-slotCount+1, ep.judgeFrom), now)
	}
	for i, ep := range service {
		var rest []float64
		for j, other := range service {
			if i != j && n[j] >= enough {
				rest = append(rest, float64(other.p99))
			}
		}
		ep.restP99, ep.slow = time.Duration(lowerMedian(rest)), noLimit
		if len(rest) > 0 {
			ep.slow = sample.BucketOf(max(slowFloor, slowFactor*ep.restP99))
		}
	}
}

// baseline is what an endpoint's failure ratio has been in the last hour, by minutes in which nothing was wrong.
type baseline struct {
	minutes [60]tally
	next    int
	began   time.Time
	at      totals
	suspect bool // in this minute
	sum     tally
}

// suspicion is the evidence, in nats, from which on a minute is not learned from.
const suspicion = 7

// learn closes the minute. Only whole, unsuspicious minutes of ordinary service count.
func (b *baseline) learn(now time.Time, seen totals, ordinary bool) {
	b.suspect = b.suspect || !ordinary
	if b.began.IsZero() {
		b.began, b.at = now, seen
	}
	if now.Sub(b.began) < time.Minute {
		return
	}
	t := seen.tally(b.at, TestSequential)
	if !b.suspect && t.n > 0 {
		old := b.minutes[b.next]
		b.sum = tally{b.sum.n + t.n - old.n, b.sum.bad + t.bad - old.bad}
		b.minutes[b.next], b.next = t, (b.next+1)%len(b.minutes)
	}
	b.began, b.at, b.suspect = now, seen, false
}

// ratio starts at one failure in 200 and follows what is learned; a quarter is the most anyone gets used to.
func (b *baseline) ratio() float64 { return min(0.25, (b.sum.bad+1)/(b.sum.n+200)) }
