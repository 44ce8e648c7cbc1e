package health

import (
	"fmt"
	"slices"
	"time"

	"weft/collector/health/counts"
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
	releasedAt  time.Time // from ejection, for too few were left
}

// mark is a reading of the counters.
type mark struct {
	at   time.Time
	seen counts.Totals
}

const (
	maxFlips   = 3
	flipWindow = 10 * time.Minute
	noteFor    = 30 * time.Second
	maxHistory = 32
	confident  = 5.0             // nats, that a degraded endpoint is good again
	steady     = 5 * time.Second // a degraded endpoint must be good for as long before it gets more
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
		Endpoint: ep.Key, Address: ep.member.Address, State: ep.state, Weight: ep.weight, Version: ep.version,
		Enforced: e.cfg.trust(ep.Key.Service) != TrustObserve, Reason: ep.reason, Since: since, Evidence: ep.evidence,
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
	if ep.state == sample.Healthy || ep.Seen.Since(ep.good.seen, wayBack(o.test)).Bad > 0 {
		ep.goodFrom(e.now, o.test)
	}
	same := ep.state == o.state && ep.weight == o.weight && ep.test == o.test
	if ep.state == o.state {
		ep.bad = max(ep.bad, o.evidence.ErrorRatio) // the first look at a fault is mixed with what was before
	}
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
		e.change(ep, outcome{state: sample.Healthy, weight: fullWeight, reason: fmt.Sprintf("nothing is held against %s any more.", ep.Key)})
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
	ep.step, ep.stepAt = notReturning, mark{e.now, ep.Seen}
	ep.retryAt = e.now.Add(e.backoff(ep))
	e.change(ep, o)
}

// backoff doubles with every failed return.
func (e *Engine) backoff(ep *endpoint) time.Duration {
	return min(e.cfg.Backoff<<min(ep.relapses, 10), e.cfg.MaxBackoff)
}

// flips counts a healthy endpoint that is to go out, and reports whether that happened too often. The way back does not
// count: who mends an endpoint twice in ten minutes has not made it flap.
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
		"%s went out for the %dth time in %s: flapping, degraded until it has been good for as long.",
		ep.Key, maxFlips+1, flipWindow), ev})
}

// stayPinned waits for a whole window without a finding, then starts the way back.
func (e *Engine) stayPinned(ep *endpoint) {
	switch {
	case ep.found != nil:
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
	last := latest(ep.LastAttempt, ep.appliedAt)
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
	e.change(ep, outcome{sample.Healthy, fullWeight, TestExpired, fmt.Sprintf("the verdict on %s expired: %s%s.", ep.Key, why, e.cfg.Expiry), sample.Evidence{}})
	return true
}
