package balance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weft/internal/endpoints"
	"weft/internal/sample"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func service(n int) []*endpoints.Endpoint {
	var all []*endpoints.Endpoint
	for i := range n {
		all = append(all, &endpoints.Endpoint{
			Service: "payment", Instance: fmt.Sprintf("payment-%d", i+1), Weight: 100, Source: endpoints.SourceDefault, Live: &endpoints.Live{},
		})
	}
	return all
}

// behaviour is what an endpoint does with an attempt.
type behaviour func(random *rand.Rand) (sample.Outcome, time.Duration)

func steady(latency time.Duration) behaviour {
	return func(r *rand.Rand) (sample.Outcome, time.Duration) {
		return sample.OK, time.Duration(float64(latency) * (0.5 + r.ExpFloat64()/2))
	}
}

// failing answers a share of its requests with an error, five times as fast as the rest.
func failing(share float64, latency time.Duration) behaviour {
	return func(r *rand.Rand) (sample.Outcome, time.Duration) {
		if r.Float64() < share {
			return sample.Error, latency / 5
		}
		return steady(latency)(r)
	}
}

// play sends rate requests a second for a minute and returns each endpoint's share of the second half.
func play(c Config, all []*endpoints.Endpoint, rate int, does ...behaviour) []float64 {
	random := rand.New(rand.NewPCG(1, 2))
	type ending struct {
		at      time.Time
		live    *endpoints.Live
		outcome sample.Outcome
		latency time.Duration
	}
	var open []ending
	counts := make([]float64, len(all))
	total := 0.0
	for step := range 60 * rate {
		now := start.Add(time.Duration(step) * time.Second / time.Duration(rate))
		left := open[:0]
		for _, e := range open {
			if e.at.After(now) {
				left = append(left, e)
				continue
			}
			c.Done(e.at, e.live, e.outcome, e.latency)
		}
		open = left
		pick, err := c.Pick(now, all, nil, random.Uint64)
		if err != nil {
			panic(err)
		}
		for i, e := range all {
			if e == pick.Endpoint {
				outcome, latency := does[i](random)
				open = append(open, ending{now.Add(latency), e.Live, outcome, latency})
				if step > 30*rate {
					counts[i]++
					total++
				}
			}
		}
	}
	for i := range counts {
		counts[i] /= total
	}
	return counts
}

func TestShares(t *testing.T) {
	const usual = 5 * time.Millisecond
	noBreaker := DefaultConfig()
	noBreaker.Breaker.Enabled = false
	tests := map[string]struct {
		second   behaviour
		weight   int
		state    sample.State
		config   Config
		rate     int
		from, to float64 // the second endpoint's share
	}{
		"equal endpoints share equally":                       {steady(usual), 100, sample.Healthy, noBreaker, 100, 0.26, 0.41},
		"also at high load":                                   {steady(usual), 100, sample.Healthy, noBreaker, 1000, 0.28, 0.39},
		"twice as slow gets less, not nothing":                {steady(2 * usual), 100, sample.Healthy, noBreaker, 100, 0.05, 0.25},
		"much slower gets the probe floor":                    {steady(100 * usual), 100, sample.Healthy, noBreaker, 100, 0.001, 0.05},
		"a failing third is left to the verdict":              {failing(0.3, usual), 100, sample.Healthy, noBreaker, 100, 0.15, 0.33},
		"fast failures do not attract":                        {failing(1, usual), 100, sample.Healthy, noBreaker, 100, 0.002, 0.12},
		"nor under load":                                      {failing(1, usual), 100, sample.Healthy, noBreaker, 2000, 0.002, 0.25},
		"the breaker keeps out what always fails":             {failing(1, usual), 100, sample.Healthy, DefaultConfig(), 100, 0, 0.01},
		"a tenth of the weight":                               {steady(usual), 10, sample.Degraded, noBreaker, 100, 0.02, 0.11},
		"the lowest weight is still seen":                     {steady(usual), 1, sample.Probing, noBreaker, 100, 0.002, 0.02},
		"weights do not care for idleness: nothing is gained": {steady(usual), 10, sample.Degraded, noBreaker, 5, 0.01, 0.15},
		"ejected gets nothing":                                {steady(usual), 0, sample.Ejected, noBreaker, 100, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			all := service(3)
			all[1].Weight, all[1].State = test.weight, test.state
			shares := play(test.config, all, test.rate, steady(usual), test.second, steady(usual))
			if got := shares[1]; got < test.from || got > test.to {
				t.Fatalf("share %.3f, want %.3f to %.3f (all %.3f)", got, test.from, test.to, shares)
			}
		})
	}
}

func TestAHungEndpointIsLeftAtOnce(t *testing.T) {
	c, all := DefaultConfig(), service(3)
	c.Breaker.Enabled = false
	c.Done(start, all[0].Live, sample.OK, 5*time.Millisecond)
	c.Done(start, all[2].Live, sample.OK, 5*time.Millisecond)
	c.Done(start, all[1].Live, sample.ConnectFailure, time.Millisecond)
	random, hits := rand.New(rand.NewPCG(1, 2)), 0
	for range 10_000 {
		pick, _ := c.Pick(start, all, nil, random.Uint64)
		if pick.Endpoint == all[1] {
			hits++
		}
		c.Done(start, pick.Endpoint.Live, sample.Downstream, 0) // says nothing
	}
	if hits > 100 {
		t.Fatalf("%d of 10000 picks went to an endpoint that refuses connections", hits)
	}
}

func TestBreaker(t *testing.T) {
	c, e := DefaultConfig(), service(1)[0]
	fail := func(at time.Duration) { c.Done(start.Add(at), e.Live, sample.Error, time.Millisecond) }
	state := func(at time.Duration) string { return e.Live.Load().Breaker(start.Add(at)) }
	admits := func(at time.Duration) bool { return c.admits(start.Add(at), e.Live.Load()) }
	for range 4 {
		fail(0)
	}
	c.Done(start, e.Live, sample.OK, time.Millisecond)
	for range 4 {
		fail(0)
	}
	if state(0) != "closed" {
		t.Fatal("four failures in a row opened it")
	}
	fail(0)
	if state(0) != "open" || admits(0) || admits(4*time.Second) {
		t.Fatal("the fifth failure must keep the endpoint out for 5 s")
	}
	if state(6*time.Second) != "half-open" || !admits(6*time.Second) {
		t.Fatal("after 5 s one attempt may pass")
	}
	c.begin(start.Add(6*time.Second), e.Live)
	if admits(6 * time.Second) {
		t.Fatal("one probe at a time")
	}
	fail(7 * time.Second)
	if state(16*time.Second) != "open" || state(18*time.Second) != "half-open" {
		t.Fatal("a probe that fails opens it twice as long")
	}
	c.begin(start.Add(18*time.Second), e.Live)
	c.Done(start.Add(18*time.Second), e.Live, sample.Aborted, time.Millisecond)
	if !admits(18 * time.Second) {
		t.Fatal("a probe that was given up says nothing: another may pass")
	}
	c.begin(start.Add(18*time.Second), e.Live)
	c.Done(start.Add(18*time.Second), e.Live, sample.OK, time.Millisecond)
	if l := e.Live.Load(); l.Breaker(start) != "closed" || l.Failing != 0 || l.Trips != 0 {
		t.Fatalf("a probe that succeeds closes it and forgets: %+v", l)
	}
}

func TestWhatCountsForTheBreaker(t *testing.T) {
	for outcome, opens := range map[sample.Outcome]bool{
		sample.Error: true, sample.Timeout: true, sample.ConnectFailure: true,
		sample.OK: false, sample.Load: false, sample.Aborted: false, sample.Downstream: false,
	} {
		c, e := DefaultConfig(), service(1)[0]
		for range 20 {
			c.Done(start, e.Live, outcome, time.Millisecond)
		}
		if got := e.Live.Load().Open(start); got != opens {
			t.Errorf("%v: open is %v, want %v", outcome, got, opens)
		}
	}
}

func TestDisabledBreakerCloses(t *testing.T) {
	c, e := DefaultConfig(), service(1)[0]
	for range 5 {
		c.Done(start, e.Live, sample.Error, time.Millisecond)
	}
	c.Breaker.Enabled = false
	c.Done(start, e.Live, sample.Error, time.Millisecond)
	if e.Live.Load().Open(start) {
		t.Fatal("still open after it was turned off")
	}
}

func TestPanic(t *testing.T) {
	tests := []struct {
		endpoints, ejected int
		want               string // "" for any but panic
	}{
		{1, 1, Panic}, {2, 1, ""}, {2, 2, Panic}, {3, 1, ""}, {3, 2, Panic}, {4, 2, ""}, {4, 3, Panic}, {40, 20, ""}, {40, 21, Panic},
	}
	for _, test := range tests {
		all := service(test.endpoints)
		for _, e := range all[:test.ejected] {
			e.State, e.Weight = sample.Ejected, 0
		}
		random, hits := rand.New(rand.NewPCG(1, 2)), 0
		for range 200 {
			pick, err := DefaultConfig().Pick(start, all, nil, random.Uint64)
			if err != nil || (pick.Why == Panic) != (test.want == Panic) {
				t.Fatalf("%d of %d ejected: picked by %q, error %v", test.ejected, test.endpoints, pick.Why, err)
			}
			if pick.Standing.State == sample.Ejected {
				hits++
			}
			DefaultConfig().Done(start, pick.Endpoint.Live, sample.Downstream, 0)
		}
		if (hits > 0) != (test.want == Panic) {
			t.Fatalf("%d of %d ejected: %d picks of ejected endpoints", test.ejected, test.endpoints, hits)
		}
	}
}

func TestRetryGoesElsewhere(t *testing.T) {
	all, random := service(3), rand.New(rand.NewPCG(1, 2))
	for range 300 {
		pick, err := DefaultConfig().Pick(start, all, all[:2], random.Uint64)
		if err != nil || pick.Endpoint != all[2] || pick.Why != Retry {
			t.Fatalf("picked %+v, error %v", pick, err)
		}
	}
	moved := *all[0] // the same instance in a newer snapshot
	if _, err := DefaultConfig().Pick(start, []*endpoints.Endpoint{&moved}, all[:1], random.Uint64); !errors.Is(err, ErrNoOther) {
		t.Fatalf("error %v, want ErrNoOther", err)
	}
	if _, err := DefaultConfig().Pick(start, nil, nil, random.Uint64); !errors.Is(err, ErrNoEndpoint) {
		t.Fatalf("error %v, want ErrNoEndpoint", err)
	}
}

func TestInFlightNeverLeaks(t *testing.T) {
	c, all, random := DefaultConfig(), service(4), rand.New(rand.NewPCG(3, 4))
	for i := range 10_000 {
		now := start.Add(time.Duration(i) * time.Millisecond)
		pick, err := c.Pick(now, all, nil, random.Uint64)
		if err != nil {
			t.Fatal(err)
		}
		c.Done(now, pick.Endpoint.Live, sample.Outcome(random.IntN(7)), time.Duration(random.IntN(1e9)))
	}
	for _, e := range all {
		if n := e.Live.Load().InFlight; n != 0 {
			t.Fatalf("%s has %d in flight", e.Instance, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 30} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, all := DefaultConfig(), service(n)
			b.ReportAllocs()
			for b.Loop() {
				pick, err := c.Pick(start, all, nil, rand.Uint64)
				if err != nil {
					b.Fatal(err)
				}
				c.Done(start, pick.Endpoint.Live, sample.OK, 5*time.Millisecond)
			}
		})
	}
}
