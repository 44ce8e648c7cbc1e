// Package balance picks the endpoint for an attempt: the power of two choices on a peak-sensitive moving average of
// latency and on the weight the mesh gave, with a local breaker.
//
// It is pure: now and randomness are arguments, and what it learns is kept in endpoints.Live.
//
// Two endpoints are drawn and one of them is taken by odds, not simply the better one: twice as slow means a quarter of
// the odds. A hard comparison would turn any lasting difference of two healthy endpoints, however small, into no
// traffic at all for one of them, and a weight of one half into none.
// Sources: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001; Finagle's PeakEwma.
package balance

import (
	"fmt"
	"slices"
	"time"

	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/sample"
)

// Why an endpoint was picked.
const (
	P2C   = "p2c"
	Only  = "only"  // there was one
	Retry = "retry" // the first attempt was elsewhere
	Panic = "panic" // too many are unhealthy, so health is ignored
	Probe = "probe" // to see whether the endpoint is back, or as its share of the probe floor
)

// Config is how one proxy judges locally.
type Config struct {
	Breaker      Breaker
	PanicPercent int     // never leave out more than max(1, ⌊n·percent⌋) endpoints of n
	ProbeShare   float64 // of the picks, spread evenly: no cost and no weight above zero keeps an endpoint unseen
}

// Breaker is the local, passive circuit breaker.
type Breaker struct {
	Enabled             bool          `yaml:"enabled"`
	ConsecutiveFailures int           `yaml:"consecutive_failures"` // failures in a row that open it
	Open                time.Duration `yaml:"open"`                 // the first opening; each further one in a row doubles, up to 12 times this
}

// DefaultBreaker is the breaker of a configuration that does not mention one.
func DefaultBreaker() Breaker {
	return Breaker{Enabled: true, ConsecutiveFailures: 5, Open: 5 * time.Second}
}

// Validate reports what is wrong with the breaker under the YAML key.
func (b Breaker) Validate(key string) []error {
	var faults []error
	if b.ConsecutiveFailures < 1 {
		faults = append(faults, config.Faultf(key+".consecutive_failures", "is %d, want at least 1", b.ConsecutiveFailures))
	}
	if b.Open <= 0 {
		faults = append(faults, config.Faultf(key+".open", "is %v, want more than 0", b.Open))
	}
	return faults
}

// DefaultConfig is the balance of every proxy.
func DefaultConfig() Config {
	return Config{Breaker: DefaultBreaker(), PanicPercent: 50, ProbeShare: 0.01}
}

// Pick is the choice of an endpoint and the reasons, for the attempt's span.
type Pick struct {
	Endpoint *endpoints.Endpoint
	Standing endpoints.Standing
	Why      string
}

// candidate is an endpoint at the moment of a pick.
type candidate struct {
	endpoint *endpoints.Endpoint
	standing endpoints.Standing
	load     endpoints.Load
	usable   bool // not ejected, and not kept out by the breaker
}

// Pick chooses among the endpoints of a service, except the tried ones; random gives uniform 64-bit numbers. The pick
// counts as in flight until Done.
func (c Config) Pick(now time.Time, all []*endpoints.Endpoint, tried []*endpoints.Endpoint, random func() uint64) (Pick, error) {
	if len(all) == 0 {
		return Pick{}, ErrNoEndpoint
	}
	var space [32]candidate
	list, panicking := c.candidates(now, all, tried, space[:0])
	if len(list) == 0 {
		return Pick{}, ErrNoOther
	}
	chosen, why := c.choose(now, list, random)
	switch {
	case panicking:
		why = Panic
	case len(tried) > 0:
		why = Retry
	case len(all) == 1:
		why = Only
	}
	c.begin(now, chosen.endpoint.Live)
	return Pick{chosen.endpoint, chosen.standing, why}, nil
}

// candidates are the endpoints to choose from. When leaving out the unusable ones would leave out too many, all are
// candidates: the rest could not carry their traffic, and a judgement that hits most of a service is likely wrong.
func (c Config) candidates(now time.Time, all, tried []*endpoints.Endpoint, into []candidate) (list []candidate, panicking bool) {
	unusable := 0
	for _, e := range all {
		x := candidate{endpoint: e, standing: e.Standing(now), load: e.Live.Load()}
		x.usable = x.standing.State != sample.Ejected && c.admits(now, x.load)
		if !x.usable {
			unusable++
		}
		if !has(tried, e) {
			into = append(into, x)
		}
	}
	if unusable > max(1, len(all)*c.PanicPercent/100) || unusable == len(all) {
		return into, true
	}
	usable := slices.DeleteFunc(into, func(x candidate) bool { return !x.usable })
	return usable, false
}

// has compares instances, since the snapshot may have been swapped between two attempts.
func has(tried []*endpoints.Endpoint, e *endpoints.Endpoint) bool {
	for _, t := range tried {
		if t.Live == e.Live {
			return true
		}
	}
	return false
}

// choose draws two and takes one by odds. An endpoint whose breaker has waited long enough gets its one probe first:
// by cost alone it would never be seen again.
func (c Config) choose(now time.Time, list []candidate, random func() uint64) (candidate, string) {
	for _, x := range list {
		if c.Breaker.Enabled && x.usable && !x.load.OpenUntil.IsZero() {
			return x, Probe
		}
	}
	n := uint64(len(list))
	if n == 1 {
		return list[0], P2C
	}
	if unit(random()) < c.ProbeShare {
		return list[random()%n], Probe
	}
	all := estimate(list)
	i := random() % n
	j := random() % (n - 1)
	if j >= i {
		j++
	}
	a, b := list[i], list[j]
	costA, costB := cost(now, a, all), cost(now, b, all)
	if unit(random()) < costB/(costA+costB) {
		return a, P2C
	}
	return b, P2C
}

// unit maps to [0, 1).
func unit(r uint64) float64 { return float64(r>>11) / (1 << 53) }

// ErrNoEndpoint means that the service has no endpoint at all, ErrNoOther that none is left to retry on.
var (
	ErrNoEndpoint = fmt.Errorf("the service has no endpoint")
	ErrNoOther    = fmt.Errorf("the service has no other endpoint")
)
