package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weft/collector/health/counts"
	"weft/collector/health/finding"
	"weft/internal/sample"
)

// What a verdict may rest on besides the tests of package finding, as evidence names it.
const (
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
	fullWeight   = 100
	mildWeight   = 50 // worse than the rest, but not severely; or would be ejected if the cap allowed
	soleWeight   = 25 // bad by the word of its only caller
	lowestWeight = 10 // would be ejected if trust allowed; flapping
)

// outcome is what a verdict should be.
type outcome struct {
	state    sample.State
	weight   int
	test     string
	reason   string
	evidence sample.Evidence
}

// candidate is an endpoint that deserves ejection, with what it gets if it may not be ejected.
type candidate struct {
	endpoint *endpoint
	ratio    float64
	eject    outcome
	spared   outcome
}

// judge takes one service through a tick.
func (e *Engine) judge(service []*endpoint) {
	for _, ep := range service {
		ep.Baseline.Learn(e.now, ep.Seen.Since(counts.Totals{}, counts.Failures), ep.state == sample.Healthy && ep.found == nil)
		e.look(ep)
	}
	if !e.Settled(e.now) {
		return
	}
	e.protect(service)
	var candidates []candidate
	for _, ep := range service {
		switch {
		case e.expired(ep):
		case ep.state == sample.Ejected:
			e.wait(service, ep)
		case ep.step != notReturning:
			e.comeBack(service, ep)
		default:
			if c, deserves := e.stand(service, ep); deserves {
				candidates = append(candidates, c)
			}
		}
	}
	e.permit(service, candidates)
	for _, ep := range service {
		ep.before = ep.Seen
	}
}

// look updates the endpoint's finding and since when it stands.
func (e *Engine) look(ep *endpoint) {
	ep.found = nil
	if ep.state != sample.Ejected {
		ep.found = e.current.Find(&ep.Subject)
	}
	if ep.found == nil {
		ep.since = time.Time{}
	} else if ep.since.IsZero() {
		ep.since = e.now
	}
}

// confirm is how long a finding must stand: a shared fault shows at one endpoint a report earlier than at the others.
const confirm = 500 * time.Millisecond

func (e *Engine) confirmed(ep *endpoint) bool {
	return ep.found != nil && e.now.Sub(ep.since) >= confirm
}

// stand judges an endpoint that is in ordinary service, perhaps with less weight.
func (e *Engine) stand(service []*endpoint, ep *endpoint) (candidate, bool) {
	f := ep.found
	switch {
	case ep.pinned():
		e.stayPinned(ep)
		return candidate{}, false
	case ep.state == sample.Degraded && e.improved(ep):
		e.relax(ep)
		return candidate{}, false
	case f == nil:
		e.clearNote(ep)
		return candidate{}, false
	case !e.confirmed(ep):
		return candidate{}, false
	}
	a := e.current.Attribute(&ep.Subject, f)
	o := e.conclude(service, ep, a)
	if o.state == sample.Ejected {
		spared := o
		spared.state, spared.weight = sample.Degraded, mildWeight
		spared.reason = f.Blame(&ep.Subject, a, "degraded and not ejected, for no more of "+ep.Key.Service+" may be")
		return candidate{ep, f.Sum.Ratio(), o, spared}, true
	}
	e.apply(ep, o)
	return candidate{}, false
}

// conclude turns a finding and its attribution into the verdict it deserves.
func (e *Engine) conclude(service []*endpoint, ep *endpoint, a finding.Attribution) outcome {
	f, name := ep.found, ep.Key.Service
	o := outcome{state: sample.Healthy, weight: fullWeight, test: f.Test, evidence: e.current.Evidence(&ep.Subject, f, a)}
	note := func(test, reason string) outcome {
		o.test, o.reason = test, reason
		return o
	}
	blame := func(then string) string { return f.Blame(&ep.Subject, a, then) }
	degrade := func(weight int, test, then string) outcome {
		o.state, o.weight = sample.Degraded, weight
		return note(test, blame(then))
	}
	alone, heard := peersOf(service, ep) == 0, e.heard(ep.Key)
	switch {
	case a.Fault == finding.OfDependency:
		return note(TestDependency, f.Acquit(&ep.Subject, a))
	case a.Fault == finding.OfPath:
		return note(TestPath, f.Acquit(&ep.Subject, a))
	case a.Fault == finding.OfService:
		if f.Grave() && f.Test != finding.Latency {
			o.state = sample.Degraded
		}
		return note(TestService, f.Acquit(&ep.Subject, a))
	case len(a.Failing) == 0:
		return note(TestWitness, blame("no single caller has seen enough, so it keeps its traffic"))
	case alone && !f.Grave():
		return note(TestSingle, blame("it is the only endpoint of "+name+" and keeps its traffic"))
	case alone:
		return degrade(fullWeight, TestSingle, "it is the only endpoint of "+name+", so it is degraded but keeps its traffic")
	case heard < heardShare:
		return note(TestView, blame(fmt.Sprintf("only %s of the registered proxies are heard, so nothing moves", finding.Percent(heard))))
	case a.Voices() < 2 && len(f.Views) > 1:
		return note(TestWitness, blame("a second witness is missing, so it keeps its traffic"))
	case a.Voices() < 2:
		return degrade(soleWeight, f.Test, "with one witness it is degraded, not ejected")
	case f.Slight():
		return note(f.Test, blame("too little to move traffic for"))
	case f.Test == finding.Latency:
		return degrade(slowWeight(ep), f.Test, "degraded")
	case !f.Grave():
		return degrade(mildWeight, f.Test, "degraded")
	case e.cfg.trust(name) == TrustWeight:
		return degrade(lowestWeight, f.Test, "degraded, for trust in "+name+" ends at weight")
	}
	o.state, o.weight, o.reason = sample.Ejected, 0, blame("ejected")
	return o
}

// heardShare of the registered reporters must be heard before anything moves.
const heardShare = 0.8

// heardWithin is patient: it asks whether a reporter is there at all.
const heardWithin = 5 * time.Second

// heard is the share of the registered proxies that report, the endpoint's own left out: its silence is a fact about
// the endpoint, not about our view.
func (e *Engine) heard(except sample.Key) float64 {
	own, n, heard := except.String(), 0, 0
	for _, name := range e.proxies {
		if name == own {
			continue
		}
		n++
		if r := e.book.Reporter(name); r != nil && e.now.Sub(r.Read) <= heardWithin {
			heard++
		}
	}
	return float64(heard) / float64(max(n, 1))
}

func slowWeight(ep *endpoint) int {
	if ep.P99 <= 0 {
		return mildWeight
	}
	return min(max(int(fullWeight*float64(ep.RestP99)/float64(ep.P99)), lowestWeight), mildWeight)
}

// peersOf counts the other registered endpoints.
func peersOf(service []*endpoint, ep *endpoint) int {
	n := 0
	for _, other := range service {
		if other != ep && other.registered {
			n++
		}
	}
	return n
}

// panicFor is how long health stays ignored in a service: until what got its traffic back has been seen with it.
const panicFor = 10 * time.Second

// permit ejects the worst first, as far as the cap goes. An endpoint that left is not there to be missed.
func (e *Engine) permit(service []*endpoint, candidates []candidate) {
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.ratio, a.ratio) })
	n, out := 0, 0
	for _, ep := range service {
		if !ep.releasedAt.IsZero() && e.now.Sub(ep.releasedAt) < panicFor {
			return
		}
		if !ep.registered {
			continue
		}
		n++
		if ep.state == sample.Ejected || ep.state == sample.Probing && ep.step == probeStep {
			out++
		}
	}
	for _, c := range candidates {
		switch {
		case !c.endpoint.registered:
			e.eject(c.endpoint, c.eject)
		case out < e.cfg.ejectable(n):
			out++
			e.eject(c.endpoint, c.eject)
		default:
			e.apply(c.endpoint, c.spared)
		}
	}
}

// protect gives traffic back when too little would be left: the cap shrinks with the service, the last endpoint is
// never out, and when all others fail as well (panic) health is ignored.
func (e *Engine) protect(service []*endpoint) {
	var ejected, probing []*endpoint
	n, failing := 0, 0
	for _, ep := range service {
		if !ep.registered {
			continue
		}
		n++
		switch {
		case ep.state == sample.Ejected:
			ejected = append(ejected, ep)
		case ep.state == sample.Probing && ep.step == probeStep:
			probing = append(probing, ep)
		case ep.state == sample.Degraded && ep.found != nil && ep.test != finding.Latency && ep.bad >= finding.Severe:
			failing++
		}
	}
	slices.SortStableFunc(ejected, func(a, b *endpoint) int { return cmp.Compare(a.bad, b.bad) })
	keep := e.cfg.ejectable(n)
	if failing > 0 && failing == n-len(ejected)-len(probing) {
		keep, ejected = 0, append(ejected, probing...)
	}
	for _, ep := range ejected[:max(0, len(ejected)-keep)] {
		test, why := TestPanic, fmt.Sprintf("too few endpoints of %s are left, so health is ignored and it gets its traffic back", ep.Key.Service)
		if n == 1 {
			test, why = TestSingle, fmt.Sprintf("it is the only endpoint of %s now, so it gets its traffic back", ep.Key.Service)
		}
		e.resume(ep)
		ep.step, ep.releasedAt = notReturning, e.now
		e.change(ep, outcome{sample.Degraded, fullWeight, test, fmt.Sprintf("%s was ejected, but %s.", ep.Key, why), ep.evidence})
	}
}
