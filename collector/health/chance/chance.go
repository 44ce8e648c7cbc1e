// Package chance says whether what was counted is more than chance.
package chance

import (
	"math"
	"time"
)

// Tally is attempts and the bad ones among them; not whole when a reporter's influence is capped.
type Tally struct{ N, Bad float64 }

// Ratio is the bad share; 0 without attempts.
func (t Tally) Ratio() float64 {
	if t.N == 0 {
		return 0
	}
	return t.Bad / t.N
}

// Plus is both together.
func (t Tally) Plus(o Tally) Tally { return Tally{t.N + o.N, t.Bad + o.Bad} }

// alternatives are the failure ratios an endpoint may have changed to: each is a bet, and the best one pays.
var alternatives = [...]float64{0.02, 0.05, 0.15, 0.4, 0.9}

// Sequential is a CUSUM over the slots of one window, once per alternative ratio q above the tolerated ratio p:
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
func Sequential(slots []Tally, p float64) (nats float64, onset int) {
	return best(slots, p, false)
}

// Silenced is Sequential for faults that end their own evidence: what gives no connection or no response is avoided
// after one attempt, so a few failures follow many successes of the same slot, and then there is nothing. The order
// within a slot is not known; a run is taken to begin with its first failure, after the slot's successes. Should they
// have been mixed, that is wrong by one slot's successes, once a run: with p = 1/20 000 three silent attempts within
// half a second and nothing good after them, at an endpoint that gets 100 a second, come by chance every six years.
func Silenced(slots []Tally, p float64) (nats float64, onset int) {
	return best(slots, p, true)
}

func best(slots []Tally, p float64, failuresLast bool) (nats float64, onset int) {
	for _, q := range alternatives {
		if q < 1.5*p {
			continue
		}
		gain, cost := math.Log(q/p), math.Log((1-q)/(1-p))
		sum, from := 0.0, 0
		for i, t := range slots {
			good := t.N - t.Bad
			if sum <= 0 {
				sum, from = 0, i
				if failuresLast {
					good = 0
				}
			}
			sum += t.Bad*gain + good*cost
		}
		if sum > nats {
			nats, onset = sum, from
		}
	}
	return nats, onset
}

// Threshold is h of Sequential, for one of n endpoints that gets rate attempts a second.
func Threshold(between time.Duration, n int, rate float64) float64 {
	attempts := between.Seconds() * max(rate, 0.1)
	return math.Log(float64(len(alternatives)) * float64(max(n, 1)) * max(attempts, 1))
}

// Surprise bounds how unlikely it is to see so many bad attempts when each is bad with chance p: the chance is at
// most exp(−surprise) (Chernoff: n · KL(bad/n ‖ p)). 0 when there are no more than expected.
func Surprise(t Tally, p float64) float64 {
	r := t.Ratio()
	if t.N == 0 || r <= p {
		return 0
	}
	return t.N * divergence(r, p)
}

// Relief is surprise in the other direction: so few bad attempts when each is bad with chance p.
func Relief(t Tally, p float64) float64 {
	r := t.Ratio()
	if t.N == 0 || r >= p {
		return 0
	}
	return t.N * divergence(r, p)
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
// 1 % six failures in a row are enough, or 8 in 16.
const (
	GrossRatio    = 0.5
	grossBase     = 0.01
	grossSurprise = 25.3 // ln 10¹¹
)

var grossWindows = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}

// Gross returns the onset of the shortest window at whose end the floor is broken.
func Gross(slots []Tally, slot time.Duration, rest float64) (onset int, broken bool) {
	for _, window := range grossWindows {
		from := max(0, len(slots)-int(window/slot))
		var sum Tally
		for _, t := range slots[from:] {
			sum.N += t.N
			sum.Bad += t.Bad
		}
		if sum.Ratio() >= GrossRatio && Surprise(sum, max(grossBase, rest)) >= grossSurprise {
			return from, true
		}
	}
	return 0, false
}

// Likelihood is the log-likelihood ratio of bad against good after t: what a probe's outcome says, in nats. Below 0
// speaks for good.
func Likelihood(t Tally, good, bad float64) float64 {
	bad = min(max(bad, 0.1), 0.9)
	good = min(max(good, 0.005), bad/2)
	return t.Bad*math.Log(bad/good) + (t.N-t.Bad)*math.Log((1-bad)/(1-good))
}
