// Package finding says which endpoints are worse than they should be, and whose fault that is.
package finding

import (
	"slices"
	"time"

	"weft/collector/health/chance"
	"weft/collector/health/counts"
	"weft/internal/sample"
)

// Tests, as evidence names them.
const (
	Sequential = "sequential"
	Gross      = "gross-failure"
	NoAnswer   = "no-answer"
	Latency    = "latency"
	Silent     = "silent"
)

// Kind is what a test calls bad.
func Kind(test string) counts.Kind {
	switch test {
	case Latency:
		return counts.Slowness
	case NoAnswer:
		return counts.Silence
	}
	return counts.Failures
}

const (
	// tolerated is the failure ratio below which nobody is judged, however good the rest is.
	tolerated = 0.002
	// Severe is how far above the tolerated ratio an endpoint is ejected and not only given less.
	Severe = 0.10
	// slight is real, but too little to move traffic for.
	slight = 0.02
	// slowFactor × the rest's 99th percentile, and at least slowFloor, is slow; slowTolerated of an endpoint's
	// responses may be.
	slowFactor    = 5
	slowFloor     = 100 * time.Millisecond
	slowTolerated = 0.002
	// silenceTolerated of the attempts at a healthy endpoint may get no connection or no response.
	silenceTolerated = 0.00005
	// A sidecar not heard for this long is silent; proxies report four times a second.
	silence = 2 * time.Second
)

// Subject is one endpoint under judgement.
type Subject struct {
	*counts.Endpoint
	From     int64 // slots before this one are about an earlier life
	Ordinary bool  // it gets ordinary traffic: neither ejected nor probing
	Lapsed   bool  // its registration has ended
	Baseline chance.Baseline
	P99      time.Duration // in the last minute
	RestP99  time.Duration // the same of the other endpoints
}

// Case is one service at one moment.
type Case struct {
	Now                time.Time
	Book               *counts.Book
	BetweenFalseAlarms time.Duration // of the service, in the mean
	Service            []*Subject
	scratch            [counts.Slots]chance.Tally
}

// Finding says that an endpoint is worse than its baseline and than the rest of its service by more than chance.
type Finding struct {
	Test  string
	From  int64        // the slot of its onset
	Sum   chance.Tally // all callers since then
	Base  float64      // the ratio it is measured against
	Rest  float64      // the rest of the service since the onset, as counted; set by Attribute
	Views []View       // the callers, since then
}

// View is one caller's share of a finding.
type View struct {
	*counts.Cell
	chance.Tally
}

// Grave findings eject; Slight ones move nothing.
func (f *Finding) Grave() bool  { return f.Sum.Ratio()-f.Base >= Severe }
func (f *Finding) Slight() bool { return f.Test != Latency && f.Sum.Ratio()-f.Base < slight }

// Find looks at the last minute, or what of it belongs to the endpoint's present life.
func (c *Case) Find(s *Subject) *Finding {
	now := counts.SlotOf(c.Now)
	from := max(now-counts.Slots+1, s.From)
	recent := s.Total.Since(from)
	if recent.Failed >= 3 {
		if f := c.findErrors(s, from); f != nil {
			return f
		}
	}
	if recent.Unanswered >= 2 {
		if f := c.findUnanswered(s, from); f != nil {
			return f
		}
	}
	if f := c.findRefused(s, max(from, now-counts.SlotsIn(counts.MaxAge))); f != nil {
		return f
	}
	if recent.Slow >= 5 {
		if f := c.findSlow(s, from); f != nil {
			return f
		}
	}
	return c.findSilent(s, max(from, now-counts.SlotsIn(counts.MaxAge)))
}

func (c *Case) findErrors(s *Subject, from int64) *Finding {
	slots := c.tallies(s, from, counts.Failures)
	rest := c.RestRatio(s, from, counts.Failures)
	base := max(tolerated, s.Baseline.Ratio(), rest)
	nats, onset := chance.Sequential(slots, base)
	s.Baseline.Doubt(nats)
	at, broken := chance.Gross(slots, counts.SlotLength, rest)
	switch {
	case broken && !over(slots[at:]):
		return s.since(Gross, from+int64(at), base)
	case nats >= c.threshold(s, from) && lasting(slots[onset:], s, 2) && !over(slots[onset:]):
		return s.since(Sequential, from+int64(onset), base)
	}
	return nil
}

// findUnanswered: connections are refused or responses do not come, and nothing good came after.
func (c *Case) findUnanswered(s *Subject, from int64) *Finding {
	slots := c.tallies(s, from, counts.Silence)
	base := max(silenceTolerated, c.RestRatio(s, from, counts.Silence))
	nats, onset := chance.Silenced(slots, base)
	if nats < c.threshold(s, from) {
		return nil
	}
	slots = slots[onset:]
	slots[0].N = slots[0].Bad // what was good in the first slot came before
	if over(slots) {
		return nil
	}
	f := s.since(NoAnswer, from+int64(onset), base)
	f.Sum = chance.Tally{}
	for _, t := range slots {
		f.Sum = f.Sum.Plus(t)
	}
	return f
}

// refusals in a row that its own sidecar must have met before one failed attempt of a caller's is enough.
const refusals = 3

// findRefused: the endpoint's own sidecar finds nobody to connect to, again and again, and the last that a caller met was
// no answer either. Callers leave such an endpoint at once, so one attempt may be all they made.
func (c *Case) findRefused(s *Subject, from int64) *Finding {
	if s.Witness == nil || c.silent(s) {
		return nil
	}
	own, callers := 0, 0
	for slot := counts.SlotOf(c.Now); slot >= from; slot-- {
		seen, met := s.Witness.Ring.At(slot), s.Total.At(slot)
		if 2*uint32(seen.Unanswered) < seen.Attempts() || 2*uint32(met.Unanswered) < met.Attempts() {
			return nil
		}
		own += int(seen.Unanswered)
		callers += int(met.Unanswered)
		if own >= refusals && callers > 0 {
			f := s.since(NoAnswer, slot, silenceTolerated)
			f.Sum.N = f.Sum.Bad // what was good in the first slot came before
			return f
		}
	}
	return nil
}

func (c *Case) findSlow(s *Subject, from int64) *Finding {
	slots := c.tallies(s, from, counts.Slowness)
	base := max(slowTolerated, c.RestRatio(s, from, counts.Slowness))
	nats, onset := chance.Sequential(slots, base)
	if nats < c.threshold(s, from) || !lasting(slots[onset:], s, 3) || over(slots[onset:]) {
		return nil
	}
	f := s.since(Latency, from+int64(onset), base)
	// The statement is about the 99th percentile: one response in a hundred must be slow.
	if f.Sum.Ratio() < 0.01 {
		return nil
	}
	return f
}

// findSilent: the endpoint's own sidecar, which used to report, fell silent, or its registration lapsed, and the last
// that callers met were failures: it is gone without a goodbye. Callers leave at once what refuses connections, so there
// may be very few; when control's word is there too, one is enough. In the slot in which it went, what was good came
// before, and only attempts that got no answer tell.
func (c *Case) findSilent(s *Subject, from int64) *Finding {
	if !s.Lapsed && !c.silent(s) {
		return nil
	}
	need := 2.0
	if s.Lapsed {
		need = 1
	}
	base := max(tolerated, s.Baseline.Ratio())
	slots, bad := c.tallies(s, from, counts.Failures), 0.0
	for at := len(slots) - 1; at >= 0; at-- {
		if 2*slots[at].Bad < slots[at].N {
			if bad += float64(s.Total.At(from + int64(at)).Unanswered); bad < need {
				return nil
			}
			f := s.since(Silent, from+int64(at), base)
			f.Sum.N = f.Sum.Bad
			return f
		}
		if bad += slots[at].Bad; slots[at].Bad > 0 && bad >= need {
			return s.since(Silent, from+int64(at), base)
		}
	}
	return nil
}

// silent reports that the endpoint's own sidecar has reported, and does no more.
func (c *Case) silent(s *Subject) bool {
	return s.Witness != nil && c.Now.Sub(s.Witness.Reporter.Read) > silence
}

// tallies are all callers' counts per slot from…now, in the case's scratch.
func (c *Case) tallies(s *Subject, from int64, kind counts.Kind) []chance.Tally {
	slots := c.scratch[:max(0, min(counts.SlotOf(c.Now)-from+1, counts.Slots))]
	s.Tallies(slots, from, kind)
	return slots
}

func (c *Case) threshold(s *Subject, from int64) float64 {
	now, rate := counts.SlotOf(c.Now), 0.0
	// The higher of the whole window's rate and the last seconds', when traffic has just begun.
	for _, from := range []int64{from, max(from, now-counts.SlotsIn(5*time.Second))} {
		rate = max(rate, float64(s.Total.Since(from).Attempts())/counts.LengthOf(now-from+1).Seconds())
	}
	return chance.Threshold(c.BetweenFalseAlarms, len(c.Service), rate)
}

// over reports that a fault has ended: the newest attempts deny the ratio of the whole, a hundred to one.
func over(slots []chance.Tally) bool {
	var whole, newest chance.Tally
	for _, t := range slots {
		whole = whole.Plus(t)
	}
	for i := len(slots) - 1; i > 0; i-- {
		newest = newest.Plus(slots[i])
		if newest.Ratio() < whole.Ratio()/2 && chance.Relief(newest, whole.Ratio()) >= contrary {
			return true
		}
	}
	return false
}

// lasting asks for bad attempts in several slots; when breakers opened there are no more attempts to wait for.
func lasting(slots []chance.Tally, s *Subject, want int) bool {
	for _, c := range s.Callers {
		if c.Open {
			return true
		}
	}
	for _, t := range slots {
		if t.Bad > 0 {
			want--
		}
	}
	return want <= 0
}

// since collects what every caller saw since the onset.
func (s *Subject) since(test string, from int64, base float64) *Finding {
	f := &Finding{Test: test, From: from, Base: base, Sum: s.Total.Since(from).Of(Kind(test))}
	for _, c := range s.Callers {
		if t := c.Ring.Since(from).Of(Kind(test)); t.N > 0 || c.Open {
			f.Views = append(f.Views, View{c, t})
		}
	}
	return f
}

// RestRatio is the bad ratio of the rest of the service: of the endpoint that is the better middle among the others,
// so that neither one other bad endpoint nor one empty one decides. A few attempts count little: they are added to
// twenty with one failure in 200, or of silence what is tolerated.
func (c *Case) RestRatio(except *Subject, from int64, kind counts.Kind) float64 {
	prior := 0.005
	if kind == counts.Silence {
		prior = silenceTolerated
	}
	var ratios []float64
	for _, t := range c.others(except, from, kind) {
		ratios = append(ratios, (t.Bad+20*prior)/(t.N+20))
	}
	return lowerMedian(ratios)
}

// others are the counts of the endpoints that get ordinary traffic.
func (c *Case) others(except *Subject, from int64, kind counts.Kind) []chance.Tally {
	var all []chance.Tally
	for _, s := range c.Service {
		if s == except || !s.Ordinary {
			continue
		}
		if t := s.Total.Since(from).Of(kind); t.N > 0 {
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

// SetLimits says, once a second and for each endpoint, above which latency a response is slow (by the other endpoints'
// p99) and how much each caller counts for.
func (c *Case) SetLimits() {
	const enough = 20
	now := counts.SlotOf(c.Now)
	n := make([]uint64, len(c.Service))
	for i, s := range c.Service {
		from := max(now-counts.Slots+1, s.From)
		s.P99, n[i] = s.Latency.P99(from, now)
		s.Weigh(c.Now, from)
	}
	for i, s := range c.Service {
		var rest []float64
		for j, other := range c.Service {
			if i != j && n[j] >= enough {
				rest = append(rest, float64(other.P99))
			}
		}
		s.RestP99, s.SlowAbove = time.Duration(lowerMedian(rest)), counts.NoLimit
		if len(rest) > 0 {
			s.SlowAbove = sample.BucketOf(max(slowFloor, slowFactor*s.RestP99))
		}
	}
}
