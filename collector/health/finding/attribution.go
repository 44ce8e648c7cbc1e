package finding

import (
	"time"

	"weft/collector/health/chance"
	"weft/collector/health/counts"
	"weft/internal/sample"
)

// Fault is whose fault a finding is.
type Fault uint8

const (
	OfEndpoint   Fault = iota
	OfDependency       // a call of its own failed
	OfService          // the rest of the service is as bad
	OfPath             // only some callers fail; others do not
)

// Attribution is a fault with its witnesses.
type Attribution struct {
	Fault      Fault
	Cause      string   // the dependency
	Failing    []string // callers that are sure, by themselves, that it is bad
	Succeeding []string // callers that are sure it is not as bad as the failing ones say
	Witnesses  []string // the endpoint's own sidecar, when it agrees
}

// Voices is how many saw the fault, each by itself.
func (a Attribution) Voices() int { return len(a.Failing) + len(a.Witnesses) }

// A reporter is a witness when what it saw alone would happen by chance less than once in 150 times; one endpoint's
// bad luck reaches two reporters too rarely to matter beside the fleet-wide test.
const (
	sure     = 5.0 // nats
	contrary = 4.6 // ln 100: the same for saying no
)

// Attribute asks whose fault a finding is.
func (c *Case) Attribute(s *Subject, f *Finding) Attribution {
	var a Attribution
	a.Failing, a.Succeeding = split(f)
	a.Witnesses = c.witnesses(s, f)
	f.Rest = c.restSince(s, f)
	dependency, explained := c.explained(s, f)
	switch {
	case explained:
		a.Fault, a.Cause = OfDependency, dependency.String()
	case len(a.Failing) == 1 && c.denied(s, f):
		a.Fault, a.Succeeding = OfPath, append(a.Succeeding, s.Witness.Reporter.Name)
	case len(a.Witnesses) == 0 && len(a.Succeeding) > 0 && (len(a.Failing) < 2 || len(a.Succeeding) > len(a.Failing)):
		a.Fault = OfPath
	case f.Rest >= f.Sum.Ratio()/2:
		a.Fault = OfService
	}
	return a
}

// witnesses is the endpoint's own sidecar, if it saw the same or is itself gone.
func (c *Case) witnesses(s *Subject, f *Finding) []string {
	if own := s.Witness; own != nil {
		t := own.Ring.Since(f.From - 1).Of(Kind(f.Test))
		if (t.Bad >= 2 || f.Test == NoAnswer && t.Bad > 0) && chance.Surprise(t, f.Base) >= sure {
			return []string{own.Reporter.Name}
		}
		if f.Test != Latency && c.silent(s) {
			return []string{own.Reporter.Name + " (silent)"}
		}
	}
	if f.Test == Silent {
		return []string{"control (registration lapsed)"}
	}
	return nil
}

// denied reports that the endpoint's own sidecar saw its answers and is sure that they were not so bad.
func (c *Case) denied(s *Subject, f *Finding) bool {
	if s.Witness == nil || c.silent(s) {
		return false
	}
	t := s.Witness.Ring.Since(f.From).Of(Kind(f.Test))
	return t.Ratio() < f.Sum.Ratio()/2 && chance.Relief(t, f.Sum.Ratio()) >= contrary
}

// split sorts callers by what each of them is sure of.
func split(f *Finding) (failing, succeeding []string) {
	var bad chance.Tally
	for _, v := range f.Views {
		convinced := (v.Bad >= 2 || f.Test == NoAnswer) && chance.Surprise(v.Tally, f.Base) >= sure
		if convinced || v.Bad >= 1 && (v.Open || f.Test == Silent) {
			failing = append(failing, v.Reporter.Name)
			bad = bad.Plus(v.Tally)
		}
	}
	if len(failing) < 2 {
		if thin := f.thin(); thin != nil {
			failing, bad = thin, f.Sum
		}
	}
	for _, v := range f.Views {
		if !v.Open && bad.N > 0 && v.Ratio() < bad.Ratio()/2 && chance.Relief(v.Tally, bad.Ratio()) >= contrary {
			succeeding = append(succeeding, v.Reporter.Name)
		}
	}
	return failing, succeeding
}

// thin names the callers of a fault that is spread so thin that none of them is sure alone: without the loudest of
// them the others together still are.
func (f *Finding) thin() (names []string) {
	var loudest chance.Tally
	for _, v := range f.Views {
		if v.Bad > 0 {
			names = append(names, v.Reporter.Name)
		}
		if v.Bad > loudest.Bad {
			loudest = v.Tally
		}
	}
	rest := chance.Tally{N: f.Sum.N - loudest.N, Bad: f.Sum.Bad - loudest.Bad}
	if rest.Bad < 2 || chance.Surprise(rest, f.Base) < sure {
		return nil
	}
	return names
}

// restSince is the rest of the service since the onset, as counted.
func (c *Case) restSince(s *Subject, f *Finding) float64 {
	var ratios []float64
	for _, t := range c.others(s, f.From, Kind(f.Test)) {
		ratios = append(ratios, t.Ratio())
	}
	return lowerMedian(ratios)
}

// explained looks for a dependency whose failures explain the endpoint's: its own sidecar, as a caller, sees that
// service fail, and so do the service's other callers (else it is the endpoint's own path that is broken, and the
// endpoint is of no use to its callers).
func (c *Case) explained(s *Subject, f *Finding) (sample.Key, bool) {
	sidecar := c.Book.Reporter(s.Key.String())
	if sidecar == nil {
		return sample.Key{}, false
	}
	from := f.From - counts.SlotsIn(2*time.Second) // a call ends before the request that waited for it
	for calls := sidecar.Outbound; len(calls) > 0; {
		n := 1
		for n < len(calls) && calls[n].Endpoint.Key.Service == calls[0].Endpoint.Key.Service {
			n++
		}
		var sum, most chance.Tally
		worst, open := calls[0], 0
		for _, call := range calls[:n] {
			t := call.Ring.Since(from).AsDependency(Kind(f.Test))
			sum = sum.Plus(t)
			if t.Bad > most.Bad {
				worst, most = call, t
			}
			if call.Open {
				open++
			}
		}
		calls = calls[n:]
		enough := sum.Bad >= max(2, f.Sum.Bad/2) || sum.Bad >= 3 && sum.Ratio() >= chance.GrossRatio || open == n
		if enough && shared(worst, from, Kind(f.Test)) {
			return worst.Endpoint.Key, true
		}
	}
	return sample.Key{}, false
}

// shared reports that no other caller of the dependency does clearly better.
func shared(c *counts.Cell, from int64, kind counts.Kind) bool {
	own := c.Ring.Since(from).AsDependency(kind)
	for _, other := range c.Endpoint.Callers {
		if other == c || other.Open {
			continue
		}
		t := other.Ring.Since(from).AsDependency(kind)
		if t.Ratio() < own.Ratio()/2 && chance.Relief(t, own.Ratio()) >= contrary {
			return false
		}
	}
	return true
}
