// Package health judges every endpoint by what all proxies together saw of it.
//
// It is a pure core: no clock, no goroutine, no I/O. Samples, membership and time go in, verdicts come out; the same
// input gives the same verdicts. Read it in this order:
//
//	counts/    a report's cumulative counters become exact counts in windows
//	chance/    is this more than chance? the sequential test and the gross-failure floor, with their arithmetic
//	finding/   each endpoint's counts → a finding, and whose fault it is: the endpoint's, its dependency's, its
//	           service's, or one caller's path
//	judge.go   who may be ejected: witnesses, trust, cap, panic
//	state.go   how an endpoint leaves, flapping, expiry; return.go how it comes back: back-off, one probe, slow start
//
// testdata/*.txt is its specification. Still to come, each with its place: zones and routes as a cause
// (finding/attribution.go), headroom before weight is moved (judge.go, permit), weight for load outcomes (finding.go).
package health

import (
	"fmt"
	"slices"
	"time"

	"weft/collector/health/counts"
	"weft/collector/health/finding"
	"weft/internal/sample"
)

// Engine holds what has been seen and what was concluded. One goroutine at a time may use it.
type Engine struct {
	cfg       Config
	started   time.Time // of the first report, membership or tick
	now       time.Time // of the last tick
	book      *counts.Book
	endpoints map[sample.Key]*endpoint
	proxies   []string // who should be reporting
	version   uint64
	changed   []sample.Verdict // in this tick
	loop      loopDelay
	stats     Stats
	current   finding.Case // the service that is judged
}

// Stats counts what came in and what was done with it.
type Stats struct {
	counts.Stats
	Changes    uint64 // of verdicts
	Suppressed uint64 // findings that led to nothing, because of attribution, witnesses or a partial view
}

// New makes an engine that knows nothing yet; cfg must be valid.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, book: counts.NewBook(), endpoints: map[sample.Key]*endpoint{}}
	e.current.Book, e.current.BetweenFalseAlarms = e.book, cfg.BetweenFalseAlarms
	return e
}

// endpoint is one that control knows or knew.
type endpoint struct {
	finding.Subject
	standing

	member     sample.Member
	registered bool
	left       time.Time
	found      *finding.Finding
	since      time.Time     // of the finding
	before     counts.Totals // as of the last tick
}

// service is the endpoints of one service that are judged, and the same as subjects.
type service struct {
	endpoints []*endpoint
	subjects  []*finding.Subject
}

// Observe takes one report; see counts.Book. The engine keeps the report's slices and maps.
func (e *Engine) Observe(now time.Time, report sample.Report) {
	e.start(now)
	if restarted := e.book.Observe(now, report); restarted != nil {
		for _, ep := range e.endpoints { // the sidecar of an ejected endpoint is new, so the endpoint is
			if ep.registered && ep.Key.String() == restarted.Name {
				ep.cameBack(now)
			}
		}
	}
}

// Members replaces what control knows: every endpoint, and the proxies ("service/instance") that should be reporting.
func (e *Engine) Members(now time.Time, members []sample.Member, proxies []string) {
	e.start(now)
	listed := make(map[sample.Key]bool, len(members))
	for _, m := range members {
		listed[m.Key] = true
		known := e.endpoints[m.Key] != nil
		ep := e.endpoint(m.Key)
		if known && (!ep.registered || ep.member.Address != m.Address) {
			ep.cameBack(now)
		}
		ep.member, ep.registered = m, true
	}
	for _, ep := range e.endpoints {
		if ep.registered && !listed[ep.Key] {
			ep.registered, ep.left = false, now
		}
	}
	e.proxies = slices.Clone(proxies)
}

func (e *Engine) endpoint(key sample.Key) *endpoint {
	ep := e.endpoints[key]
	if ep == nil {
		ep = &endpoint{standing: standing{weight: fullWeight, step: notReturning}}
		ep.Endpoint = e.book.Endpoint(key)
		e.endpoints[key] = ep
	}
	return ep
}

// Tick judges every endpoint and returns the verdicts that changed, in order of their versions. Four times a second
// is meant; any rhythm is right.
func (e *Engine) Tick(now time.Time) []sample.Verdict {
	e.start(now)
	newSecond := now.Unix() != e.now.Unix()
	e.now, e.changed = now, nil
	for _, s := range e.services() {
		e.current.Now, e.current.Service = now, s.subjects
		if newSecond {
			e.current.SetLimits()
		}
		e.judge(s.endpoints)
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
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Stats = e.book.Stats
	return s
}

// services groups the endpoints that are judged: registered, or gone for so short a time that what was seen of them
// is still being reported, or gone with a verdict that stands.
func (e *Engine) services() []service {
	judged := make([]*endpoint, 0, len(e.endpoints))
	for _, ep := range e.endpoints {
		if ep.registered || e.now.Sub(ep.left) <= counts.MaxAge || ep.state != sample.Healthy {
			judged = append(judged, ep)
		}
	}
	slices.SortFunc(judged, func(a, b *endpoint) int { return counts.CompareKeys(a.Key, b.Key) })
	subjects := make([]*finding.Subject, len(judged))
	for i, ep := range judged {
		subjects[i] = &ep.Subject
		ep.Lapsed = !ep.registered
		ep.Ordinary = ep.state != sample.Ejected && ep.state != sample.Probing
	}
	var services []service
	for len(judged) > 0 {
		n := 1
		for n < len(judged) && judged[n].Key.Service == judged[0].Key.Service {
			n++
		}
		services = append(services, service{judged[:n:n], subjects[:n:n]})
		judged, subjects = judged[n:], subjects[n:]
	}
	return services
}

// Verdicts is the verdict on every registered endpoint, and on those that left with a verdict that still stands.
// A healthy endpoint's evidence is its last minute.
func (e *Engine) Verdicts() []sample.Verdict {
	var all []sample.Verdict
	at := finding.Case{Now: e.now, Book: e.book}
	for _, s := range e.services() {
		for _, ep := range s.endpoints {
			if !ep.registered && ep.state == sample.Healthy {
				continue
			}
			v := e.verdict(ep)
			if ep.state == sample.Healthy && ep.test == "" {
				v.Evidence = at.Routine(&ep.Subject)
				v.Reason = fmt.Sprintf("%s failed %d of %d first attempts in the last minute.", v.Endpoint, v.Evidence.Failures, v.Evidence.Attempts)
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
		ep := e.endpoint(v.Endpoint)
		ep.left, ep.member = now, sample.Member{Key: v.Endpoint, Address: v.Address}
		ep.restored = true
		ep.bad = max(v.Evidence.ErrorRatio, finding.Severe)
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
		if !ep.registered && e.now.Sub(ep.left) > e.cfg.Expiry && ep.state == sample.Healthy {
			delete(e.endpoints, key)
		}
	}
	e.book.Forget(e.now, e.cfg.Expiry, func(key sample.Key) bool { return e.endpoints[key] != nil })
}
