package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weft/internal/sample"
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
		ep.baseline.learn(e.now, ep.seen, ep.state == sample.Healthy && ep.finding == nil)
		e.look(service, ep)
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
}

// look updates the endpoint's finding and since when it stands.
func (e *Engine) look(service []*endpoint, ep *endpoint) {
	ep.finding = nil
	if ep.state != sample.Ejected {
		ep.finding = e.find(service, ep)
	}
	if ep.finding == nil {
		ep.since = time.Time{}
	} else if ep.since.IsZero() {
		ep.since = e.now
	}
}

// stand judges an endpoint that is in ordinary service, perhaps with less weight.
func (e *Engine) stand(service []*endpoint, ep *endpoint) (candidate, bool) {
	f := ep.finding
	switch {
	case ep.pinned():
		e.stayPinned(ep)
		return candidate{}, false
	case ep.state == sample.Degraded && e.improved(service, ep):
		e.relax(ep)
		return candidate{}, false
	case f == nil:
		e.clearNote(ep)
		return candidate{}, false
	case e.now.Sub(ep.since) < confirm:
		return candidate{}, false
	}
	a := e.attribute(service, ep, f)
	o := e.conclude(service, ep, f, a)
	if o.state == sample.Ejected {
		spared := o
		spared.state, spared.weight = sample.Degraded, mildWeight
		spared.reason = f.blame(ep, a, "degraded and not ejected, for no more of "+ep.key.Service+" may be")
		return candidate{ep, f.sum.ratio(), o, spared}, true
	}
	e.apply(ep, o)
	return candidate{}, false
}

// conclude turns a finding and its attribution into the verdict it deserves.
func (e *Engine) conclude(service []*endpoint, ep *endpoint, f *finding, a attribution) outcome {
	o := outcome{state: sample.Healthy, weight: fullWeight, test: f.test, evidence: e.evidenceOf(ep, f, a)}
	grave := f.sum.ratio()-f.base >= severe
	note := func(test, reason string) outcome {
		o.test, o.evidence.Test, o.reason = test, test, reason
		return o
	}
	degrade := func(weight int, test, then string) outcome {
		o.state, o.weight = sample.Degraded, weight
		return note(test, f.blame(ep, a, then))
	}
	peers := peersOf(service, ep)
	switch {
	case a.fault == faultDependency:
		return note(TestDependency, a.sentence(ep, f))
	case a.fault == faultService && grave && f.test != TestLatency:
		o.state = sample.Degraded
		return note(TestService, a.sentence(ep, f))
	case a.fault == faultService:
		return note(TestService, a.sentence(ep, f))
	case a.fault == faultPath:
		return note(TestPath, a.sentence(ep, f))
	case len(a.failing) == 0:
		return note(TestWitness, f.blame(ep, a, "no single caller has seen enough, so it keeps its traffic"))
	case peers == 0 && !grave:
		return note(TestSingle, f.blame(ep, a, "it is the only endpoint of "+ep.key.Service+" and keeps its traffic"))
	case peers == 0:
		return degrade(fullWeight, TestSingle, "it is the only endpoint of "+ep.key.Service+", so it is degraded but keeps its traffic")
	case e.heard(ep.key) < heardShare:
		return note(TestView, f.blame(ep, a, fmt.Sprintf("only %s of the registered proxies are heard, so nothing moves", percent(e.heard(ep.key)))))
	case len(a.failing)+len(a.witnesses) < 2 && len(f.views) > 1:
		return note(TestWitness, f.blame(ep, a, "a second witness is missing, so it keeps its traffic"))
	case len(a.failing)+len(a.witnesses) < 2:
		return degrade(soleWeight, f.test, "with one witness it is degraded, not ejected")
	case f.test != TestLatency && f.sum.ratio()-f.base < worthwhile:
		return note(f.test, f.blame(ep, a, "too little to move traffic for"))
	case f.test == TestLatency:
		return degrade(slowWeight(ep), f.test, "degraded")
	case !grave:
		return degrade(mildWeight, f.test, "degraded")
	case e.cfg.trust(ep.key.Service) == TrustWeight:
		return degrade(lowestWeight, f.test, "degraded, for trust in "+ep.key.Service+" ends at weight")
	}
	o.state, o.weight, o.reason = sample.Ejected, 0, f.blame(ep, a, "ejected")
	return o
}

// heardShare of the registered reporters must be heard before anything moves.
const heardShare = 0.8

func slowWeight(ep *endpoint) int {
	if ep.p99 <= 0 {
		return mildWeight
	}
	return min(max(int(fullWeight*float64(ep.restP99)/float64(ep.p99)), lowestWeight), mildWeight)
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
		case ep.state == sample.Degraded && ep.finding != nil && ep.test != TestLatency && ep.bad >= severe:
			failing++
		}
	}
	slices.SortStableFunc(ejected, func(a, b *endpoint) int { return cmp.Compare(a.bad, b.bad) })
	keep := e.cfg.ejectable(n)
	if failing > 0 && failing == n-len(ejected)-len(probing) {
		keep, ejected = 0, append(ejected, probing...)
	}
	for _, ep := range ejected[:max(0, len(ejected)-keep)] {
		test, why := TestPanic, fmt.Sprintf("too few endpoints of %s are left, so health is ignored and it gets its traffic back", ep.key.Service)
		if n == 1 {
			test, why = TestSingle, fmt.Sprintf("it is the only endpoint of %s now, so it gets its traffic back", ep.key.Service)
		}
		e.resume(ep)
		ep.step, ep.releasedAt = notReturning, e.now
		e.change(ep, outcome{sample.Degraded, fullWeight, test, fmt.Sprintf("%s was ejected, but %s.", ep.key, why), ep.evidence})
	}
}
