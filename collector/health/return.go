package health

import (
	"fmt"
	"time"

	"weft/collector/health/chance"
	"weft/collector/health/counts"
	"weft/collector/health/finding"
	"weft/internal/sample"
)

// wayBack is what counts against an endpoint that comes back: any failure, even if it was silent before.
func wayBack(test string) counts.Kind {
	if test == finding.Latency {
		return counts.Slowness
	}
	return counts.Failures
}

// The way back: one probe, then slow start.
const (
	notReturning = -1
	probeStep    = 0
)

var slowStart = [...]int{0, 25, 50, 75} // weights by step; the probe's follows traffic

// cameBack: a new registration or a new process behind an ejected endpoint need not wait out its back-off.
func (ep *endpoint) cameBack(now time.Time) {
	soon := now.Add(time.Second)
	switch {
	case ep.restored:
		ep.restored = false
	case ep.state == sample.Ejected && ep.retryAt.After(soon):
		ep.retryAt = soon
	case ep.state == sample.Probing:
		ep.rejoined = true
	}
}

// wait starts the one probe when the back-off is over.
func (e *Engine) wait(service []*endpoint, ep *endpoint) {
	if !ep.registered || e.now.Before(ep.retryAt) {
		return
	}
	e.resume(ep)
	e.probe(service, ep)
}

func (e *Engine) probe(service []*endpoint, ep *endpoint) {
	weight := probeWeight(service, counts.SlotOf(e.now))
	reason := fmt.Sprintf("%s is probed with %d %% of its traffic, %s after it was ejected.", ep.Key, weight, finding.Short(e.now.Sub(ep.changedAt)))
	if e.cfg.trust(ep.Key.Service) == TrustObserve {
		reason += fmt.Sprintf(" An ejection in earnest would have spared %.0f failed attempts.", ep.Seen.Since(ep.stepAt.seen, wayBack(ep.evidence.Test)).Bad)
	}
	ep.step, ep.stepAt, ep.rejoined = probeStep, mark{e.now, ep.Seen}, false
	e.change(ep, outcome{sample.Probing, weight, ep.evidence.Test, reason, ep.evidence})
}

// probeWeight aims at two attempts a second, so that a probe ends soon and costs little.
func probeWeight(service []*endpoint, now int64) int {
	const window = 20 // slots
	var attempts, endpoints float64
	for _, ep := range service {
		if ep.state != sample.Ejected && ep.registered {
			attempts += float64(ep.Total.Since(now - window).Attempts())
			endpoints++
		}
	}
	rate := attempts / max(endpoints, 1) / counts.LengthOf(window).Seconds()
	return min(max(int(200/max(rate, 1)), 5), 25)
}

// resume forgets the windows of the endpoint's earlier life.
func (e *Engine) resume(ep *endpoint) {
	ep.From = counts.SlotOf(e.now) + 1
	ep.found, ep.since = nil, time.Time{}
	ep.good = mark{e.now, ep.Seen}
}

// comeBack takes a probed or recovering endpoint one step up, or back down.
func (e *Engine) comeBack(service []*endpoint, ep *endpoint) {
	if ep.rejoined && ep.state == sample.Probing {
		e.resume(ep)
		e.probe(service, ep)
		return
	}
	t := ep.Seen.Since(ep.stepAt.seen, wayBack(ep.evidence.Test))
	rest := e.current.RestRatio(&ep.Subject, counts.SlotOf(ep.stepAt.at), wayBack(ep.evidence.Test))
	if t.Bad > 0 && rest >= ep.bad/2 {
		ep.stepAt = mark{e.now, ep.Seen} // the whole service fails: this says nothing about this endpoint
		return
	}
	nats := chance.Likelihood(t, rest, ep.bad)
	limit := 7.0
	if ep.step == probeStep {
		limit = 4.0 // one failure in a probe is enough, for most faults
	}
	dwell := e.now.Sub(ep.stepAt.at)
	switch {
	case nats >= limit || e.relapsed(ep):
		e.relapse(ep, t)
	case ep.step == probeStep && nats <= -3 && t.N >= 3 && dwell >= time.Second:
		e.climb(ep, t)
	case ep.step > probeStep && nats < 0 && t.N >= 3 && dwell >= e.loop.delay():
		e.climb(ep, t)
	}
}

// relapsed reports a new finding that is the endpoint's own.
func (e *Engine) relapsed(ep *endpoint) bool {
	return e.confirmed(ep) && e.current.Attribute(&ep.Subject, ep.found).Fault == finding.OfEndpoint
}

func (e *Engine) relapse(ep *endpoint, t chance.Tally) {
	reason := fmt.Sprintf("%s failed %.0f of %.0f attempts on its way back", ep.Key, t.Bad, t.N)
	if ep.state != sample.Probing {
		ep.step, ep.good = notReturning, mark{e.now, ep.Seen}
		o := ep.fallback
		o.reason = reason + ": degraded as before."
		e.change(ep, o)
		return
	}
	ep.step = notReturning
	ep.relapses++
	ep.stepAt.seen = ep.Seen
	wait := e.backoff(ep)
	ep.retryAt = e.now.Add(wait)
	ev := ep.evidence
	ev.Attempts, ev.Failures, ev.ErrorRatio, ev.Window = uint64(t.N), uint64(t.Bad), t.Ratio(), e.now.Sub(ep.stepAt.at)
	e.change(ep, outcome{sample.Ejected, 0, ep.evidence.Test, fmt.Sprintf("%s: ejected again, the next probe comes in %s.", reason, wait), ev})
}

// climb gives the next share of traffic, and at the top calls the endpoint healthy.
func (e *Engine) climb(ep *endpoint, t chance.Tally) {
	ep.step++
	ep.stepAt = mark{e.now, ep.Seen}
	if ep.step < len(slowStart) {
		e.change(ep, outcome{ep.state, slowStart[ep.step], ep.evidence.Test, fmt.Sprintf(
			"%s answered %.0f of %.0f attempts and now gets %d %% of its traffic.", ep.Key, t.N-t.Bad, t.N, slowStart[ep.step]), ep.evidence})
		return
	}
	ep.step = notReturning
	e.heal(ep, t)
}

// heal calls an endpoint healthy; the next back-off is the shortest again.
func (e *Engine) heal(ep *endpoint, t chance.Tally) {
	e.resume(ep)
	ep.relapses = 0
	ev := sample.Evidence{Attempts: uint64(t.N), Failures: uint64(t.Bad), ErrorRatio: t.Ratio(), P99: ep.P99, RestP99: ep.RestP99}
	e.change(ep, outcome{sample.Healthy, fullWeight, TestReturn, fmt.Sprintf("%s is healthy again.", ep.Key), ev})
}

// improved runs the reverse test on a degraded endpoint: enough good attempts since it was last bad. Without
// attempts it never passes.
func (e *Engine) improved(ep *endpoint) bool {
	if ep.good.at.IsZero() {
		ep.good = mark{e.now, ep.Seen}
	}
	t := ep.Seen.Since(ep.good.seen, wayBack(ep.test))
	nats := chance.Likelihood(t, ep.Baseline.Ratio(), ep.bad)
	if t.Bad > 0 && nats >= 0 {
		ep.goodFrom(e.now, ep.test)
		return false
	}
	dwell := e.now.Sub(ep.good.at)
	if ep.weight == fullWeight && nats <= -2 && dwell >= 3*steady {
		return true // few connections are made to a database; saying so early moves no traffic
	}
	return nats <= -confident && t.N >= 3 && dwell >= steady
}

// goodFrom begins to wait for good attempts after bad ones. Those of this tick count already: when a database is back,
// its callers' pools fill within a report, and make no connection for a long time after.
func (ep *endpoint) goodFrom(now time.Time, test string) {
	t := ep.Seen.Since(ep.before, wayBack(test))
	ep.good = mark{now, ep.Seen}
	ep.good.seen.Attempts -= uint64(t.N - t.Bad)
}

// relax starts a degraded endpoint's way back at the first step above its weight.
func (e *Engine) relax(ep *endpoint) {
	t := ep.Seen.Since(ep.good.seen, wayBack(ep.test))
	ep.fallback = outcome{ep.state, ep.weight, ep.test, ep.reason, ep.evidence}
	if ep.weight >= fullWeight {
		e.heal(ep, t)
		return
	}
	e.resume(ep)
	ep.step = probeStep
	for ep.step+1 < len(slowStart) && slowStart[ep.step+1] <= ep.weight {
		ep.step++
	}
	e.climb(ep, t)
}
