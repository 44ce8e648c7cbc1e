// Package health judges every endpoint by what all proxies together saw of it.
//
// It is a pure core: no clock, no goroutine, no I/O. Samples, membership and time go in, verdicts come out; the same
// input gives the same verdicts. Read it in this order:
//
//	observe.go    a report's cumulative counters become exact counts in windows
//	detect.go     is this more than chance? the sequential test and the gross-failure floor, with their arithmetic
//	find.go       each endpoint's counts → a finding
//	attribute.go  whose fault is it: the endpoint's, its dependency's, its service's, or one caller's path?
//	judge.go      who may be ejected: witnesses, trust, cap, panic
//	state.go      how an endpoint leaves and comes back: back-off, one probe, slow start, flapping, expiry
//	evidence.go   what a person reads
//
// testdata/*.txt is its specification. Still to come, each with its place: zones and routes as a cause (attribute.go),
// headroom before weight is moved (judge.go, permit), weight for load outcomes (find.go).
package health

import (
	"cmp"
	"math"
	"slices"
	"time"

	"weft/internal/sample"
)

// Engine holds what has been seen and what was concluded. One goroutine at a time may use it.
type Engine struct {
	cfg       Config
	started   time.Time // of the first report, membership or tick
	now       time.Time // of the last tick
	reporters map[string]*reporter
	endpoints map[sample.Key]*endpoint
	proxies   []string // who should be reporting
	version   uint64
	changed   []sample.Verdict // in this tick
	loop      loopDelay
	stats     Stats
	scratch   [slotCount]tally
}

// Stats counts what came in and what was done with it.
type Stats struct {
	Reports    uint64 // received
	Stale      uint64 // older than 10 s, or of an earlier epoch: not judged
	Duplicate  uint64 // seen before, or overtaken by a newer one
	Refused    uint64 // samples that claim to be another's witness, or beyond the bounds on reporters and endpoints
	Changes    uint64 // verdict changes
	Suppressed uint64 // findings that led to nothing, because of attribution, witnesses or a partial view
}

// New makes an engine that knows nothing yet; cfg must be valid.
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg, reporters: map[string]*reporter{}, endpoints: map[sample.Key]*endpoint{}}
}

// endpoint is all that is known of one endpoint.
type endpoint struct {
	key        sample.Key
	member     sample.Member
	registered bool
	known      bool // was registered at some time
	left       time.Time
	lastReport time.Time

	callers []*cell // one per calling reporter, by name
	capped  bool    // a caller's influence is
	witness *cell   // its own inbound sidecar's, nil until it reports
	total   ring    // all callers together
	latency *latencies
	slow    int32 // the bucket above which a response counts as slow
	p99     time.Duration
	restP99 time.Duration
	seen    totals // since the engine started

	baseline  baseline
	finding   *finding
	since     time.Time // of the finding
	judgeFrom int64     // slots before this one are about an earlier life

	standing
}

// totals only grow; differences of two readings are exact.
type totals struct{ attempts, failed, slow uint64 }

func (t totals) tally(since totals, test string) tally {
	bad := t.failed - since.failed
	if test == TestLatency {
		bad = t.slow - since.slow
	}
	return tally{float64(t.attempts - since.attempts), float64(bad)}
}

// Members replaces what control knows: every endpoint, and the proxies ("service/instance") that should be reporting.
func (e *Engine) Members(now time.Time, members []sample.Member, proxies []string) {
	e.start(now)
	listed := make(map[sample.Key]bool, len(members))
	for _, m := range members {
		listed[m.Key] = true
		ep := e.endpoint(m.Key, true)
		moved := ep.known && ep.member.Address != m.Address
		if ep.known && (!ep.registered || moved) {
			e.cameBack(now, ep)
		}
		ep.member, ep.registered, ep.known = m, true, true
	}
	for _, ep := range e.endpoints {
		if ep.registered && !listed[ep.key] {
			ep.registered, ep.left = false, now
		}
	}
	e.proxies = slices.Clone(proxies)
}

// Tick judges every endpoint and returns the verdicts that changed, in order of their versions. Four times a second
// is meant; any rhythm is right.
func (e *Engine) Tick(now time.Time) []sample.Verdict {
	e.start(now)
	newSecond := now.Unix() != e.now.Unix()
	e.now, e.changed = now, nil
	for _, service := range e.services() {
		if newSecond {
			setLatencyLimits(service, slotOf(now))
			for _, ep := range service {
				ep.setInfluence(now, max(slotOf(now)-slotCount+1, ep.judgeFrom))
			}
		}
		e.judge(service)
	}
	if newSecond {
		e.forget()
	}
	return e.changed
}

func (e *Engine) start(now time.Time) {
	if e.started.IsZero() {
		e.started = now
	}
}

// Settled reports whether the engine has listened long enough to speak.
func (e *Engine) Settled(now time.Time) bool {
	return !e.started.IsZero() && now.Sub(e.started) >= e.cfg.Settle
}

// Stats returns the counters.
func (e *Engine) Stats() Stats { return e.stats }

// services groups the endpoints that are judged: registered, or gone for so short a time that what was seen of them
// is still being reported, or gone with a verdict that stands.
func (e *Engine) services() [][]*endpoint {
	var judged []*endpoint
	for _, ep := range e.endpoints {
		if ep.registered || ep.known && (e.now.Sub(ep.left) <= maxAge || ep.state != sample.Healthy) {
			judged = append(judged, ep)
		}
	}
	slices.SortFunc(judged, func(a, b *endpoint) int { return compareKeys(a.key, b.key) })
	var services [][]*endpoint
	for len(judged) > 0 {
		n := 1
		for n < len(judged) && judged[n].key.Service == judged[0].key.Service {
			n++
		}
		services = append(services, judged[:n:n])
		judged = judged[n:]
	}
	return services
}

func compareKeys(a, b sample.Key) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
}

// Verdicts is the verdict on every registered endpoint, and on those that left with a verdict that still stands.
// A healthy endpoint's evidence is its last minute.
func (e *Engine) Verdicts() []sample.Verdict {
	var all []sample.Verdict
	for _, service := range e.services() {
		for _, ep := range service {
			if !ep.registered && ep.state == sample.Healthy {
				continue
			}
			v := e.verdict(ep)
			if ep.state == sample.Healthy && ep.test == "" {
				v.Evidence = e.routine(ep)
				v.Reason = routineReason(v)
			}
			all = append(all, v)
		}
	}
	return all
}

// History is the changes of one endpoint's verdict, oldest first, at most 32.
func (e *Engine) History(key sample.Key) []sample.Verdict {
	if ep := e.endpoints[key]; ep != nil {
		return slices.Clone(ep.history)
	}
	return nil
}

// Restore takes the verdicts an earlier engine left behind, before the first Tick. What was ejected or coming back is
// ejected still, and comes back by probe and slow start; what was degraded is, until attempts show that it is well.
func (e *Engine) Restore(now time.Time, verdicts []sample.Verdict) {
	e.start(now)
	e.now = now
	for _, v := range verdicts {
		if v.State == sample.Healthy {
			continue
		}
		ep := e.endpoint(v.Endpoint, true)
		ep.known, ep.left, ep.member.Key, ep.member.Address = true, now, v.Endpoint, v.Address
		ep.restored = true
		ep.bad = max(v.Evidence.ErrorRatio, severe)
		o := outcome{v.State, min(max(v.Weight, 1), fullWeight), v.Evidence.Test, v.Reason, v.Evidence}
		switch {
		case v.State != sample.Degraded:
			o.state, o.weight = sample.Ejected, 0
			ep.retryAt = now.Add(e.cfg.Settle + e.cfg.Backoff)
		case o.test == TestFlapping:
			ep.pinnedUntil = now.Add(flipWindow)
		}
		e.change(ep, o)
		ep.changedAt = v.Since
	}
	e.changed, e.loop = nil, loopDelay{} // control hears of these when the engine has settled
}

// forget drops what no longer matters, so that memory follows the fleet's size.
func (e *Engine) forget() {
	for key, ep := range e.endpoints {
		quiet := e.now.Sub(ep.lastReport) > e.cfg.Expiry
		if !ep.registered && quiet && e.now.Sub(ep.left) > e.cfg.Expiry {
			e.dropCells(ep)
			delete(e.endpoints, key)
		}
	}
	for name, r := range e.reporters {
		if e.now.Sub(r.read) > e.cfg.Expiry {
			for _, c := range r.cells {
				c.endpoint.drop(c)
			}
			delete(e.reporters, name)
		}
	}
}

const (
	maxEndpoints = 20_000
	maxReporters = 5_000
	noLimit      = math.MaxInt32
)

// endpoint finds or adds one; nil when there are too many. Membership is not bounded here: control bounds it.
func (e *Engine) endpoint(key sample.Key, always bool) *endpoint {
	ep := e.endpoints[key]
	if ep == nil && (always || len(e.endpoints) < maxEndpoints) {
		ep = &endpoint{key: key, slow: noLimit, standing: standing{weight: fullWeight, step: notReturning}}
		e.endpoints[key] = ep
	}
	return ep
}
