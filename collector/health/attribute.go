package health

import (
	"fmt"
	"math"
	"time"

	"weft/internal/sample"
)

// fault is whose fault a finding is.
type fault uint8

const (
	faultEndpoint   fault = iota
	faultDependency       // a call of its own failed
	faultService          // the rest of the service is as bad
	faultPath             // only some callers fail; others do not
)

// attribution is a fault with its witnesses.
type attribution struct {
	fault      fault
	cause      string   // the dependency
	failing    []string // callers that are sure, by themselves, that it is bad
	succeeding []string // callers that are sure it is not as bad as the failing ones say
	witnesses  []string // the endpoint's own sidecar, when it agrees
}

// A reporter is a witness when what it saw alone would happen by chance less than once in 150 times; one endpoint's
// bad luck reaches two reporters too rarely to matter beside the fleet-wide test.
const (
	sure     = 5.0 // nats
	contrary = 4.6 // ln 100: the same for saying no
)

// attribute asks whose fault a finding is.
func (e *Engine) attribute(service []*endpoint, ep *endpoint, f *finding) attribution {
	var a attribution
	a.failing, a.succeeding = split(f)
	if own := ep.witness; own != nil {
		t := own.ring.since(f.from - 1).tally(f.test)
		if t.bad >= 2 && surprise(t, f.base) >= sure {
			a.witnesses = []string{own.reporter.name}
		} else if f.test != TestLatency && e.silent(ep) {
			a.witnesses = []string{own.reporter.name + " (silent)"}
		}
	}
	if f.test == TestSilent && len(a.witnesses) == 0 {
		a.witnesses = []string{"control (registration lapsed)"}
	}
	f.rest = serviceRatio(service, ep, f)
	dependency, explained := e.explained(ep, f)
	switch {
	case explained:
		a.fault, a.cause = faultDependency, dependency.String()
	case len(a.witnesses) == 0 && len(a.succeeding) > 0 && (len(a.failing) < 2 || len(a.succeeding) > len(a.failing)):
		a.fault = faultPath
	case f.rest >= f.sum.ratio()/2:
		a.fault = faultService
	}
	return a
}

// split sorts callers by what each of them is sure of.
func split(f *finding) (failing, succeeding []string) {
	var bad tally
	for _, v := range f.views {
		convinced := v.bad >= 2 && surprise(v.tally, f.base) >= sure
		if convinced || v.bad >= 1 && (v.open || f.test == TestSilent) {
			failing = append(failing, v.reporter.name)
			bad.n += v.n
			bad.bad += v.bad
		}
	}
	if len(failing) < 2 {
		if thin := f.thin(); thin != nil {
			failing, bad = thin, f.sum
		}
	}
	for _, v := range f.views {
		if !v.open && bad.n > 0 && v.ratio() < bad.ratio()/2 && relief(v.tally, bad.ratio()) >= contrary {
			succeeding = append(succeeding, v.reporter.name)
		}
	}
	return failing, succeeding
}

// thin names the callers of a fault that is spread so thin that none of them is sure alone: without the loudest of
// them the others together still are.
func (f *finding) thin() (names []string) {
	var loudest tally
	for _, v := range f.views {
		if v.bad > 0 {
			names = append(names, v.reporter.name)
		}
		if v.bad > loudest.bad {
			loudest = v.tally
		}
	}
	rest := tally{f.sum.n - loudest.n, f.sum.bad - loudest.bad}
	if rest.bad < 2 || surprise(rest, f.base) < sure {
		return nil
	}
	return names
}

// serviceRatio is the rest of the service since the onset, as counted.
func serviceRatio(service []*endpoint, ep *endpoint, f *finding) float64 {
	var ratios []float64
	for _, t := range others(service, ep, f.from, f.test) {
		ratios = append(ratios, t.ratio())
	}
	return lowerMedian(ratios)
}

// explained looks for a dependency whose failures explain the endpoint's: its own sidecar, as a caller, sees that
// service fail, and so do the service's other callers (else it is the endpoint's own path that is broken, and the
// endpoint is of no use to its callers).
func (e *Engine) explained(ep *endpoint, f *finding) (sample.Key, bool) {
	sidecar := e.reporters[ep.key.String()]
	if sidecar == nil {
		return sample.Key{}, false
	}
	from := f.from - slotsIn(2*time.Second) // a call ends before the request that waited for it
	for calls := sidecar.outbound; len(calls) > 0; {
		n := 1
		for n < len(calls) && calls[n].endpoint.key.Service == calls[0].endpoint.key.Service {
			n++
		}
		var sum, most tally
		worst, open := calls[0], 0
		for _, c := range calls[:n] {
			t := c.ring.since(from).dependency(f.test)
			sum = tally{sum.n + t.n, sum.bad + t.bad}
			if t.bad > most.bad {
				worst, most = c, t
			}
			if c.open {
				open++
			}
		}
		calls = calls[n:]
		enough := sum.bad >= math.Max(2, f.sum.bad/2) || sum.bad >= 3 && sum.ratio() >= grossRatio || open == n
		if enough && shared(worst, from, f.test) {
			return worst.endpoint.key, true
		}
	}
	return sample.Key{}, false
}

// dependency also counts failures from further down: they explain the caller's as well.
func (c counts) dependency(test string) tally {
	t := c.tally(test)
	if test != TestLatency {
		t.n += float64(c.downstream)
		t.bad += float64(c.downstream)
	}
	return t
}

// shared reports that no other caller of the dependency does clearly better.
func shared(c *cell, from int64, test string) bool {
	own := c.ring.since(from).dependency(test)
	for _, other := range c.endpoint.callers {
		if other == c || other.open {
			continue
		}
		t := other.ring.since(from).dependency(test)
		if t.ratio() < own.ratio()/2 && relief(t, own.ratio()) >= contrary {
			return false
		}
	}
	return true
}

// cause is the sentence for a finding that is not the endpoint's fault.
func (a attribution) sentence(ep *endpoint, f *finding) string {
	seen := fmt.Sprintf("%s %s", ep.key, f.seen())
	switch a.fault {
	case faultDependency:
		return fmt.Sprintf("%s, and its calls to %s fail: not its fault, it keeps its traffic.", seen, a.cause)
	case faultService:
		return fmt.Sprintf("%s, and so does the rest of %s (%s): the fault is not one endpoint's, nothing is ejected.",
			seen, ep.key.Service, percent(f.rest))
	case faultPath:
		return fmt.Sprintf("%s, but only from %s; %s reached it: that path is at fault, not the endpoint.",
			seen, list(a.failing), list(a.succeeding))
	}
	return seen + "."
}
