package chance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestFalseAlarms checks the promise of Sequential: with a stated mean of A attempts between false alarms, failures that
// come exactly at the tolerated ratio (the worst case) alarm at most once in A attempts, however often one looks.
func TestFalseAlarms(t *testing.T) {
	const p, perSlot, mean, runs, slots = 0.005, 10, 20_000.0, 50, 120
	rng := rand.New(rand.NewPCG(1, 2))
	h := math.Log(float64(len(alternatives)) * mean)
	var attempts, alarms float64
	window := make([]Tally, 0, slots)
	for alarms < runs && attempts < 4*runs*mean {
		if len(window) == slots {
			window = window[:copy(window, window[1:])]
		}
		slot := Tally{N: perSlot}
		for range perSlot {
			if rng.Float64() < p {
				slot.Bad++
			}
		}
		window = append(window, slot)
		attempts += perSlot
		if nats, _ := Sequential(window, p); nats >= h {
			alarms++
			window = window[:0]
		}
	}
	between := attempts / max(alarms, 1)
	t.Logf("%.0f false alarms in %.0f attempts: one in %.0f, promised at most one in %.0f", alarms, attempts, between, mean)
	if between < mean {
		t.Errorf("a false alarm every %.0f attempts, promised %.0f", between, mean)
	}
}

func TestGrossFloor(t *testing.T) {
	slots := func(n, bad float64) []Tally { return []Tally{{n, bad}} }
	for _, c := range []struct {
		n, bad float64
		broken bool
	}{{5, 5, false}, {6, 6, true}, {40, 19, false}, {16, 8, true}, {14, 7, false}, {10, 8, true}, {10, 5, false}} {
		if _, broken := Gross(slots(c.n, c.bad), 500*time.Millisecond, 0); broken != c.broken {
			t.Errorf("%v bad of %v: %v", c.bad, c.n, broken)
		}
	}
}

func TestThresholdArithmetic(t *testing.T) {
	year := 365 * 24 * time.Hour
	for _, c := range []struct{ rate, want float64 }{{100, 24.6}, {2, 20.7}} {
		if got := Threshold(year, 3, c.rate); math.Abs(got-c.want) > 0.05 {
			t.Errorf("at %v a second: %.2f nats, the docstring says %.1f", c.rate, got, c.want)
		}
	}
}

// TestBaseline: what an endpoint has always done is its baseline; suspicious minutes and those out of service teach nothing.
func TestBaseline(t *testing.T) {
	var b Baseline
	now, seen := time.Unix(0, 0), Tally{}
	minute := func(bad float64, ordinary bool) {
		for range 61 {
			now = now.Add(time.Second)
			seen = seen.Plus(Tally{N: 100, Bad: bad})
			b.Learn(now, seen, ordinary)
		}
	}
	if got := b.Ratio(); got != 1.0/200 {
		t.Errorf("at first %v", got)
	}
	for range 10 {
		minute(3, true)
	}
	if got := b.Ratio(); math.Abs(got-0.03) > 0.002 {
		t.Errorf("after ten minutes at 3 %%: %v", got)
	}
	learned := b.Ratio()
	minute(50, false)
	b.Doubt(suspicion + 1)
	minute(50, true)
	if got := b.Ratio(); math.Abs(got-learned) > 0.001 {
		t.Errorf("learned from bad minutes: %v after %v", got, learned)
	}
	for range 100 {
		minute(90, true)
	}
	if got := b.Ratio(); got != 0.25 {
		t.Errorf("got used to %v", got)
	}
}
