package steer

import (
	"slices"
	"time"

	"weft/internal/sample"
	"weft/mesh/control/registry"
)

// Where a weight came from.
const (
	SourceVerdict = "verdict" // a collector's enforced verdict
	SourceDefault = "default" // no verdict, or one that is only observed
	SourcePanic   = "panic"   // a verdict that would leave too few endpoints
	SourceExpired = "expired" // a verdict whose collector has not been heard for its ttl
)

const fullWeight = 100

// Endpoint is an endpoint with what proxies shall do with it.
type Endpoint struct {
	registry.Endpoint
	State   sample.State
	Weight  int       // 0 to 100
	Since   time.Time // of the verdict
	Verdict uint64    // version, 0 for none
	Term    uint64
	Source  string
	TTL     time.Duration // how long this holds from receipt; 0 for ever
}

// Apply applies verdicts and the panic share to endpoints sorted by service.
func Apply(endpoints []registry.Endpoint, verdicts View, panicPercent int) map[string][]Endpoint {
	out := map[string][]Endpoint{}
	for _, e := range endpoints {
		out[e.Key.Service] = append(out[e.Key.Service], judge(e, verdicts))
	}
	for _, service := range out {
		capEjections(service, panicPercent)
	}
	return out
}

func judge(e registry.Endpoint, verdicts View) Endpoint {
	out := Endpoint{Endpoint: e, Weight: fullWeight, Source: SourceDefault}
	v, ok := verdicts.Verdicts[e.Key]
	if !ok || !v.Enforced {
		return out
	}
	out.Verdict, out.Term, out.Since = v.Version, v.Term, v.Since
	if !verdicts.Live {
		out.Source = SourceExpired
		return out
	}
	out.State, out.Source, out.TTL = v.State, SourceVerdict, verdicts.TTL
	switch v.State {
	case sample.Ejected:
		out.Weight = 0
	default:
		out.Weight = min(max(v.Weight, 1), fullWeight) // whoever may get requests gets some
	}
	return out
}

// capEjections lets at most max(1, ⌊n·percent/100⌋) of a service's n endpoints stay ejected, of a single one none. The
// verdicts that came first stay, so the choice does not change with every new one; the others get their full share.
func capEjections(service []Endpoint, percent int) {
	var ejected []*Endpoint
	for i := range service {
		if service[i].State == sample.Ejected {
			ejected = append(ejected, &service[i])
		}
	}
	allowed := mostEjected(len(service), percent)
	if len(ejected) <= allowed {
		return
	}
	slices.SortStableFunc(ejected, func(a, b *Endpoint) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return registry.Compare(a.Key, b.Key)
	})
	for _, e := range ejected[allowed:] {
		e.State, e.Weight, e.Source = sample.Healthy, fullWeight, SourcePanic
	}
}

func mostEjected(n, percent int) int {
	if n <= 1 {
		return 0
	}
	return max(1, n*percent/100)
}
