package health

import (
	"fmt"
	"slices"
	"time"

	"weft/internal/sample"
)

// standing is an endpoint's present verdict and how it may change.
type standing struct {
	state     sample.State
	weight    int
	test      string
	reason    string
	evidence  sample.Evidence
	version   uint64
	changedAt time.Time // of the state
	appliedAt time.Time // of the last change of anything
	history   []sample.Verdict

	bad      float64 // the ratio of bad attempts it was judged by
	good     mark    // since when it has been good, while degraded
	retryAt  time.Time
	relapses int // probes and slow starts that failed in a row
	step     int // of the way back
	stepAt   mark
	fallback outcome // of a degraded endpoint's way back
	rejoined bool
	restored bool

	flipped     []time.Time
	pinnedUntil time.Time
	lastAttempt time.Time
	releasedAt  time.Time // from ejection, for too few were left
}

// mark is a reading of the counters.
type mark struct {
	at   time.Time
	seen totals
}

// The way back: one probe, then slow start.
const (
	notReturning = -1
	probeStep    = 0
)

var slowStart = [...]int{0, 25, 50, 75} // weights by step; the probe's follows traffic

const (
	maxFlips    = 3
	flipWindow  = 10 * time.Minute
	noteFor     = 30 * time.Second
	maxHistory  = 32
	steady      = 5 * time.Second // a degraded endpoint must be good for as long before it gets more
	settledDown = time.Minute     // healthy for as long, an endpoint starts again at the shortest back-off
)

// change makes o the verdict.
func (e *Engine) change(ep *endpoint, o outcome) {
	e.version++
	e.stats.Changes++
	if ep.state != o.state || ep.changedAt.IsZero() {
		ep.changedAt = e.now
	}
	o.evidence.Test = o.test
	ep.state, ep.weight, ep.test, ep.reason, ep.evidence = o.state, o.weight, o.test, o.reason, o.evidence
	ep.version, ep.appliedAt = e.version, e.now
	v := e.verdict(ep)
	e.loop.issued(e.now, v)
	e.changed = append(e.changed, v)
	if len(ep.history) == maxHistory {
		ep.history = slices.Delete(ep.history, 0, 1)
	}
	ep.history = append(ep.history, v)
}

func (e *Engine) verdict(ep *endpoint) sample.Verdict {
	since := ep.changedAt
	if since.IsZero() {
		since = e.started
	}
	return sample.Verdict{
		Endpoint: ep.key, Address: ep.member.Address, State: ep.state, Weight: ep.weight, Version: ep.version,
		Enforced: e.cfg.trust(ep.key.Service) != TrustObserve, Reason: ep.reason, Since: since, Evidence: ep.evidence,
	}
}

// apply makes o the verdict if it differs; weights fall at once, and change for other reasons every few seconds only.
func (e *Engine) apply(ep *endpoint, o outcome) {
	if o.state == sample.Healthy {
		e.stats.Suppressed++
		if ep.state != sample.Healthy || ep.test == o.test && e.now.Sub(ep.appliedAt) < flipWindow {
			ep.noted(e.now, o)
			return
		}
		e.change(ep, o)
		return
	}
	if ep.state == sample.Healthy || ep.seen.tally(ep.good.seen, o.test).bad > 0 {
		ep.good = mark{e.now, ep.seen}
	}
	same := ep.state == o.state && ep.weight == o.weight && ep.test == o.test
	if same || ep.state == o.state && o.weight >= ep.weight && e.now.Sub(ep.appliedAt) < steady {
		return
	}
	ep.bad = o.evidence.ErrorRatio
	e.change(ep, o)
}

// noted keeps a standing note from being cleared while its cause lasts.
func (ep *endpoint) noted(now time.Time, o outcome) {
	if ep.state == sample.Healthy && ep.test == o.test {
		ep.good.at = now
	}
}

// clearNote removes the remark on a healthy endpoint when its cause has been gone for a while.
func (e *Engine) clearNote(ep *endpoint) {
	if ep.state == sample.Healthy && ep.test != "" && e.now.Sub(latest(ep.appliedAt, ep.good.at)) >= noteFor {
		e.change(ep, outcome{state: sample.Healthy, weight: fullWeight, reason: fmt.Sprintf("nothing is held against %s any more.", ep.key)})
	}
	if ep.relapses > 0 && ep.state == sample.Healthy && e.now.Sub(ep.changedAt) >= settledDown {
		ep.relapses = 0
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// eject takes an endpoint out, or pins it degraded if it has gone back and forth too often.
func (e *Engine) eject(ep *endpoint, o outcome) {
	if e.flips(ep) {
		e.pin(ep, o.evidence)
		return
	}
	ep.bad = o.evidence.ErrorRatio
	ep.step, ep.stepAt = notReturning, mark{e.now, ep.seen}
	ep.retryAt = e.now.Add(e.backoff(ep))
	e.change(ep, o)
}

// backoff doubles with every failed return.
func (e *Engine) backoff(ep *endpoint) time.Duration {
	return min(e.cfg.Backoff<<min(ep.relapses, 10), e.cfg.MaxBackoff)
}

// cameBack: a new registration or a new process behind an ejected endpoint need not wait out its back-off.
func (e *Engine) cameBack(now time.Time, ep *endpoint) {
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
	weight := probeWeight(service, slotOf(e.now))
	reason := fmt.Sprintf("%s is probed with %d %% of its traffic, %s after it was ejected.", ep.key, weight, short(e.now.Sub(ep.changedAt)))
	if e.cfg.trust(ep.key.Service) == TrustObserve {
		reason += fmt.Sprintf(" An ejection in earnest would have spared %.0f failed attempts.", ep.seen.tally(ep.stepAt.seen, ep.evidence.Test).bad)
	}
	ep.step, ep.stepAt, ep.rejoined = probeStep, mark{e.now, ep.seen}, false
	e.change(ep, outcome{sample.Probing, weight, ep.evidence.Test, reason, ep.evidence})
}

// probeWeight aims at two attempts a second, so that a probe ends soon and costs little.
func probeWeight(service []*endpoint, now int64) int {
	const window = 20 // slots
	var attempts, endpoints float64
	for _, ep := range service {
		if ep.state != sample.Ejected && ep.registered {
			attempts += float64(ep.total.since(now - window).attempts())
			endpoints++
		}
	}
	rate := attempts / max(endpoints, 1) / lengthOf(window).Seconds()
	return min(max(int(200/max(rate, 1)), 5), 25)
}

// resume forgets the windows of the endpoint's earlier life.
func (e *Engine) resume(ep *endpoint) {
	ep.judgeFrom = slotOf(e.now) + 1
	ep.finding, ep.since = nil, time.Time{}
	ep.good = mark{e.now, ep.seen}
}

// comeBack takes a probed or recovering endpoint one step up, or back down.
func (e *Engine) comeBack(service []*endpoint, ep *endpoint) {
	if ep.rejoined && ep.state == sample.Probing {
		e.resume(ep)
		e.probe(service, ep)
		return
	}
	t := ep.seen.tally(ep.stepAt.seen, ep.evidence.Test)
	rest := restRatio(service, ep, slotOf(ep.stepAt.at), ep.evidence.Test)
	if t.bad > 0 && rest >= ep.bad/2 {
		ep.stepAt = mark{e.now, ep.seen} // the whole service fails: this says nothing about this endpoint
		return
	}
	nats := likelihood(t, rest, ep.bad)
	limit := 7.0
	if ep.step == probeStep {
		limit = 4.0 // one failure in a probe is enough, for most faults
	}
	dwell := e.now.Sub(ep.stepAt.at)
	switch {
	case nats >= limit || e.relapsed(service, ep):
		e.relapse(ep, t)
	case ep.step == probeStep && nats <= -3 && t.n >= 3 && dwell >= time.Second:
		e.climb(ep, t)
	case ep.step > probeStep && nats < 0 && t.n >= 3 && dwell >= e.loop.delay():
		e.climb(ep, t)
	}
}

// relapsed reports a new finding that is the endpoint's own.
func (e *Engine) relapsed(service []*endpoint, ep *endpoint) bool {
	return ep.finding != nil && e.now.Sub(ep.since) >= confirm && e.attribute(service, ep, ep.finding).fault == faultEndpoint
}

func (e *Engine) relapse(ep *endpoint, t tally) {
	reason := fmt.Sprintf("%s failed %.0f of %.0f attempts on its way back", ep.key, t.bad, t.n)
	if ep.state != sample.Probing {
		ep.step, ep.good = notReturning, mark{e.now, ep.seen}
		o := ep.fallback
		o.reason = reason + ": degraded as before."
		e.change(ep, o)
		return
	}
	ep.step = notReturning
	ep.relapses++
	ep.stepAt.seen = ep.seen
	wait := e.backoff(ep)
	ep.retryAt = e.now.Add(wait)
	ev := ep.evidence
	ev.Attempts, ev.Failures, ev.ErrorRatio, ev.Window = uint64(t.n), uint64(t.bad), t.ratio(), e.now.Sub(ep.stepAt.at)
	e.change(ep, outcome{sample.Ejected, 0, ep.evidence.Test, fmt.Sprintf("%s: ejected again, the next probe comes in %s.", reason, wait), ev})
}

// climb gives the next share of traffic, and at the top calls the endpoint healthy.
func (e *Engine) climb(ep *endpoint, t tally) {
	ep.step++
	ep.stepAt = mark{e.now, ep.seen}
	if ep.step < len(slowStart) {
		e.change(ep, outcome{ep.state, slowStart[ep.step], ep.evidence.Test, fmt.Sprintf(
			"%s answered %.0f of %.0f attempts and now gets %d %% of its traffic.", ep.key, t.n-t.bad, t.n, slowStart[ep.step]), ep.evidence})
		return
	}
	ep.step = notReturning
	e.heal(ep, t)
}

// heal calls an endpoint healthy, unless that happens too often.
func (e *Engine) heal(ep *endpoint, t tally) {
	if e.flips(ep) {
		e.pin(ep, ep.evidence)
		return
	}
	e.resume(ep)
	ev := sample.Evidence{Attempts: uint64(t.n), Failures: uint64(t.bad), ErrorRatio: t.ratio(), P99: ep.p99, RestP99: ep.restP99}
	e.change(ep, outcome{sample.Healthy, fullWeight, TestReturn, fmt.Sprintf("%s is healthy again.", ep.key), ev})
}

// improved runs the reverse test on a degraded endpoint: enough good attempts since it was last bad. Without
// attempts it never passes.
func (e *Engine) improved(service []*endpoint, ep *endpoint) bool {
	if ep.good.at.IsZero() {
		ep.good = mark{e.now, ep.seen}
	}
	t := ep.seen.tally(ep.good.seen, ep.test)
	nats := likelihood(t, restRatio(service, ep, slotOf(ep.good.at), ep.test), ep.bad)
	if t.bad > 0 && nats >= 0 {
		ep.good = mark{e.now, ep.seen}
		return false
	}
	dwell := e.now.Sub(ep.good.at)
	if ep.weight == fullWeight && nats <= -2 && dwell >= 3*steady {
		return true // few connections are made to a database; saying so early moves no traffic
	}
	return nats <= -sure && t.n >= 3 && dwell >= steady
}

// relax starts a degraded endpoint's way back at the first step above its weight.
func (e *Engine) relax(ep *endpoint) {
	t := ep.seen.tally(ep.good.seen, ep.test)
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

// flips counts a change between healthy and ejected and reports whether there were too many.
func (e *Engine) flips(ep *endpoint) bool {
	ep.flipped = slices.DeleteFunc(ep.flipped, func(t time.Time) bool { return e.now.Sub(t) > flipWindow })
	ep.flipped = append(ep.flipped, e.now)
	return len(ep.flipped) > maxFlips
}

func (ep *endpoint) pinned() bool { return !ep.pinnedUntil.IsZero() }

func (e *Engine) pin(ep *endpoint, ev sample.Evidence) {
	e.resume(ep)
	ep.step, ep.pinnedUntil = notReturning, e.now.Add(flipWindow)
	e.change(ep, outcome{sample.Degraded, lowestWeight, TestFlapping, fmt.Sprintf(
		"%s went back and forth more than %d times in %s: flapping, degraded until it has been good for as long.",
		ep.key, maxFlips, flipWindow), ev})
}

// stayPinned waits for a whole window without a finding, then starts the way back.
func (e *Engine) stayPinned(ep *endpoint) {
	switch {
	case ep.finding != nil:
		ep.pinnedUntil = e.now.Add(flipWindow)
		e.resume(ep)
	case e.now.After(ep.pinnedUntil):
		ep.pinnedUntil, ep.flipped = time.Time{}, nil
		ep.bad = max(ep.bad, 0.1)
		e.relax(ep)
	}
}

// expired ends a verdict that nothing has supported for long: that is no recovery, but there is no evidence left.
func (e *Engine) expired(ep *endpoint) bool {
	if ep.state == sample.Healthy {
		return false
	}
	why := "no attempt reached it for "
	last := latest(ep.lastAttempt, ep.appliedAt)
	if !ep.registered {
		why, last = "it has been gone for ", ep.left
	} else if ep.state == sample.Ejected {
		return false
	}
	if e.now.Sub(last) < e.cfg.Expiry {
		return false
	}
	e.resume(ep)
	ep.step, ep.pinnedUntil = notReturning, time.Time{}
	e.change(ep, outcome{sample.Healthy, fullWeight, TestExpired, fmt.Sprintf("the verdict on %s expired: %s%s.", ep.key, why, e.cfg.Expiry), sample.Evidence{}})
	return true
}
