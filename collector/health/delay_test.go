package health

import (
	"math/rand/v2"
	"testing"
	"time"

	"weft/internal/sample"
)

// TestQuietFleet runs the whole engine for a simulated day of a fleet with background errors: nothing may happen.
func TestQuietFleet(t *testing.T) {
	day := 24 * time.Hour
	if testing.Short() {
		day = time.Hour
	}
	e := New(DefaultConfig())
	rng := rand.New(rand.NewPCG(3, 4))
	now := time.Unix(1_700_000_000, 0)
	reports, members := fleet(3, 3, now)
	names := []string{reports[0].Reporter, reports[1].Reporter, reports[2].Reporter}
	e.Members(now, members, names)
	for end := now.Add(day); now.Before(end); {
		now = now.Add(time.Second)
		for r := range reports {
			reports[r].Sequence++
			for s := range reports[r].Samples {
				c := &reports[r].Samples[s].FirstAttempts
				for range 10 {
					if rng.Float64() < 0.004 {
						c[sample.Error]++
					} else {
						c[sample.OK]++
					}
				}
			}
			e.Observe(now, reports[r])
		}
		for _, v := range e.Tick(now) {
			t.Fatalf("after %s: %s %s: %s", day-end.Sub(now), v.Endpoint, v.State, v.Reason)
		}
	}
}

// fleet is reporters that each call every endpoint of services of three.
func fleet(endpoints, reporters int, now time.Time) ([]sample.Report, []sample.Member) {
	var members []sample.Member
	for i := range endpoints {
		service := "service-" + string(rune('a'+i/3%26)) + string(rune('a'+i/78))
		members = append(members, sample.Member{Key: sample.Key{Service: service, Instance: service + "-" + string(rune('1'+i%3))}})
	}
	var reports []sample.Report
	for r := range reporters {
		report := sample.Report{Reporter: "caller/caller-" + string(rune('A'+r)), Epoch: uint64(now.UnixNano())}
		for _, m := range members {
			report.Samples = append(report.Samples, sample.Sample{Endpoint: m.Key, Latency: sample.Sketch{}})
		}
		reports = append(reports, report)
	}
	return reports, members
}

// TestDetectionDelay measures how long a 30 % fault takes to find, over many worlds.
func TestDetectionDelay(t *testing.T) {
	for name, c := range map[string]struct {
		rate  float64 // of each of three reporters, over three endpoints: also what each endpoint gets
		learn time.Duration
		most  time.Duration // at the 90th percentile
	}{
		"100 a second":                     {100, time.Minute, 2 * time.Second},
		"10 a second":                      {10, time.Minute, 5 * time.Second},
		"2 a second":                       {2, 5 * time.Minute, 20 * time.Second},
		"0.67 a second, 2 for the service": {0.667, 10 * time.Minute, 60 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worlds := 12
			if testing.Short() {
				worlds = 4
			}
			var delays []float64
			for seed := range worlds {
				delays = append(delays, delayOf(uint64(seed), c.rate, c.learn).Seconds())
			}
			p50, p90 := quantile(delays, 0.5), quantile(delays, 0.9)
			t.Logf("ejected after %.1f s in the middle, %.1f s at the 90th percentile", p50, p90)
			if p90 > c.most.Seconds() {
				t.Errorf("90th percentile %.1f s, want %s", p90, c.most)
			}
		})
	}
}

func delayOf(seed uint64, rate float64, learn time.Duration) time.Duration {
	w := newWorld(seed)
	for _, name := range []string{"payment/payment-1", "payment/payment-2", "payment/payment-3"} {
		w.join(key(name), false)
	}
	for _, name := range []string{"orders/orders-1", "orders/orders-2", "orders/orders-3"} {
		w.proxy(name)
		w.flows = append(w.flows, &flow{proxy: name, service: "payment", rate: rate})
	}
	for range int(learn / tickLength) {
		w.step()
	}
	began := w.now
	w.faults = []trouble{{pattern: "payment/payment-2", outcome: sample.Error, ratio: 0.3}}
	for w.now.Sub(began) < 5*time.Minute {
		for _, v := range w.step() {
			if v.State == sample.Ejected {
				return w.now.Sub(began)
			}
		}
	}
	return w.now.Sub(began)
}

func quantile(of []float64, q float64) float64 {
	sorted := append([]float64(nil), of...)
	for i := range sorted {
		for j := i; j > 0 && sorted[j] < sorted[j-1]; j-- {
			sorted[j], sorted[j-1] = sorted[j-1], sorted[j]
		}
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
