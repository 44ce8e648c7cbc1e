package health

import (
	"math"
	"time"
)

// tally is attempts and the bad ones among them; not whole when a reporter's influence is capped.
type tally struct{ n, bad float64 }

func (t tally) ratio() float64 {
	if t.n == 0 {
		return 0
	}
	return t.bad / t.n
}

// alternatives are the failure ratios an endpoint may have changed to: each is a bet, and the best one pays.
var alternatives = [...]float64{0.02, 0.05, 0.15, 0.4, 0.9}

// sequential is a CUSUM over the slots of one window, once per alternative ratio q above the tolerated ratio p:
//
//	S ← max(0, S) + bad·ln(q/p) + (n−bad)·ln((1−q)/(1−p))
//
// It returns the highest S at the window's end, in nats, and the slot at which that run began: the onset.
//
// exp(S) is an e-detector (Shin, Ramdas, Rinaldo: E-detectors, 2023): as long as every attempt fails with a chance of
// at most p, the mean number of attempts until exp(S) ≥ c is at least c, for any c and any p' ≤ p. Looking more or
// less often, or dropping what left the window, only makes alarms rarer. The best of K bets needs c·K. So the
// threshold is
//
//	h = ln(K · endpoints of the service · attempts per endpoint in the mean time between false alarms)
//
// Example, the default of one a year and service, three endpoints at 100 attempts a second:
// h = ln(5 · 3 · 100 · 31 536 000) = ln(4.7·10¹⁰) = 24.6 nats. An endpoint that goes from p = 0.2 % to 30 % earns
// 0.3·ln(0.4/0.002) + 0.7·ln(0.6/0.998) = 1.23 nats an attempt: 20 attempts, 0.2 s at 100/s. At 2/s h is 20.7:
// 17 attempts, 8 s. TestFalseAlarms checks the promise by simulation, TestDetectionDelay the delay.
func sequential(slots []tally, p float64) (nats float64, onset int) {
	for _, q := range alternatives {
		if q < 1.5*p {
			continue
		}
		gain, cost := math.Log(q/p), math.Log((1-q)/(1-p))
		sum, from := 0.0, 0
		for i, t := range slots {
			if sum <= 0 {
				sum, from = 0, i
			}
			sum += t.bad*gain + (t.n-t.bad)*cost
		}
		if sum > nats {
			nats, onset = sum, from
		}
	}
	return nats, onset
}

// threshold is h of sequential, for one of n endpoints that gets rate attempts a second.
func threshold(between time.Duration, n int, rate float64) float64 {
	attempts := between.Seconds() * max(rate, 0.1)
	return math.Log(float64(len(alternatives)) * float64(max(n, 1)) * max(attempts, 1))
}

// surprise bounds how unlikely it is to see so many bad attempts when each is bad with chance p: the chance is at
// most exp(−surprise) (Chernoff: n · KL(bad/n ‖ p)). 0 when there are no more than expected.
func surprise(t tally, p float64) float64 {
	r := t.ratio()
	if t.n == 0 || r <= p {
		return 0
	}
	return t.n * divergence(r, p)
}

// relief is surprise in the other direction: so few bad attempts when each is bad with chance p.
func relief(t tally, p float64) float64 {
	r := t.ratio()
	if t.n == 0 || r >= p {
		return 0
	}
	return t.n * divergence(r, p)
}

// divergence is Kullback and Leibler's, of two coins.
func divergence(r, p float64) float64 {
	p = min(max(p, 1e-9), 1-1e-9)
	var d float64
	if r > 0 {
		d += r * math.Log(r/p)
	}
	if r < 1 {
		d += (1 - r) * math.Log((1-r)/(1-p))
	}
	return d
}

// The gross-failure floor needs no baseline: at least half of a short window failed, and the chance of it with one
// failure in a hundred (or as many as the rest of the service has) is below 10⁻¹¹. With 4 looks a second at 4
// overlapping windows an endpoint is looked at 5·10⁸ times a year, so a false alarm takes over 100 years of it. At
// 1 % six failures in a row are enough, or 16 in 32.
const (
	grossRatio    = 0.5
	grossBase     = 0.01
	grossSurprise = 25.3 // ln 10¹¹
)

var grossWindows = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}

// gross returns the onset of the shortest window at whose end the floor is broken.
func gross(slots []tally, rest float64) (onset int, broken bool) {
	for _, window := range grossWindows {
		from := max(0, len(slots)-int(slotsIn(window)))
		var sum tally
		for _, t := range slots[from:] {
			sum.n += t.n
			sum.bad += t.bad
		}
		if sum.ratio() >= grossRatio && surprise(sum, max(grossBase, rest)) >= grossSurprise {
			return from, true
		}
	}
	return 0, false
}

// likelihood is the log-likelihood ratio of bad against good after t: what a probe's outcome says, in nats. Below 0
// speaks for good.
func likelihood(t tally, good, bad float64) float64 {
	bad = min(max(bad, 0.1), 0.9)
	good = min(max(good, 0.005), bad/2)
	return t.bad*math.Log(bad/good) + (t.n-t.bad)*math.Log((1-bad)/(1-good))
}
