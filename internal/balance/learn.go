package balance

import (
	"math"
	"time"

	"weft/internal/endpoints"
	"weft/internal/sample"
)

const (
	// memory is the time constant of the averages: about what a person would call "just now".
	memory = 5 * time.Second
	// forgiveness is the time constant with which a slow estimate that nothing renews approaches the fastest one.
	forgiveness = 10 * time.Second
	// noAnswer is what an attempt without an answer is taken to have lasted, at least: a refused connection is quick.
	noAnswer = time.Second
	// failureCost makes an endpoint that only fails as costly as one ten times slower. The sixth power leaves partial
	// failures to the fleet's judgement, which knows whose fault they are: 30 % cost hardly anything here.
	failureCost = 99
	fullWeight  = 100
	// maxBlend bounds how much one attempt says after a silence.
	maxBlend = 0.3
	// outlier is how many times the average a latency must be to be believed at once.
	outlier = 10
	// maxOpening bounds the doubling of the breaker's opening.
	maxOpening = 12
)

// estimates are what the candidates' latencies are measured against.
type estimates struct {
	fastest time.Duration // of those seen; 1 when none was
	typical time.Duration // their mean; 1 when none was
}

func estimate(list []candidate) estimates {
	var e estimates
	var seen time.Duration
	for _, x := range list {
		if l := x.load.Latency; l > 0 {
			seen++
			e.typical += l
			if e.fastest == 0 || l < e.fastest {
				e.fastest = l
			}
		}
	}
	e.typical /= max(1, seen)
	return estimates{max(1, e.fastest), max(1, e.typical)}
}

// cost orders candidates: the square of the time a request would wait here, raised by failures, over the weight.
//
// An estimate that nothing renews decays to the fastest one, never below: idleness must not make an endpoint look
// better than the rest, or low weights would be undone. An endpoint that has not answered yet counts as typical.
func cost(now time.Time, x candidate, all estimates) float64 {
	latency := float64(all.typical)
	if l := x.load.Latency; l > 0 {
		above := float64(l - all.fastest)
		latency = float64(all.fastest) + above*math.Exp(-float64(max(0, now.Sub(x.load.Seen)))/float64(forgiveness))
	}
	weight := float64(max(1, x.standing.Weight)) / fullWeight
	waiting := latency * (1 + float64(x.load.InFlight)/weight)
	failing := 1 + failureCost*math.Pow(x.load.Failing, 6)
	return waiting * waiting * failing / weight
}

// admits says whether the local breaker lets an attempt through: closed, or open long enough and no probe is out.
func (c Config) admits(now time.Time, l endpoints.Load) bool {
	return !c.Breaker.Enabled || l.OpenUntil.IsZero() || (!l.Open(now) && !l.Probing)
}

func (c Config) begin(now time.Time, live *endpoints.Live) {
	live.Update(func(l *endpoints.Load) {
		l.InFlight++
		if c.Breaker.Enabled && !l.OpenUntil.IsZero() && !l.Open(now) {
			l.Probing = true
		}
	})
}

// Done ends an attempt that Pick began: latency is the time to its response, or until it was given up.
func (c Config) Done(now time.Time, live *endpoints.Live, outcome sample.Outcome, latency time.Duration) {
	live.Update(func(l *endpoints.Load) {
		l.InFlight = max(0, l.InFlight-1)
		learn(l, now, outcome, latency)
		c.trip(l, now, outcome)
	})
}

// learn moves the averages. What an endpoint fails at says nothing about its speed, so a fast failure must not lower
// the latency: it raises Failing instead.
func learn(l *endpoints.Load, now time.Time, outcome sample.Outcome, latency time.Duration) {
	blend := maxBlend
	if !l.Seen.IsZero() {
		blend = min(maxBlend, 1-math.Exp(-float64(max(0, now.Sub(l.Seen)))/float64(memory)))
	}
	switch outcome {
	case sample.OK:
		l.Latency = peak(l.Latency, latency, blend)
		l.Failing -= l.Failing * blend
	case sample.Error, sample.Load:
		l.Failing += (1 - l.Failing) * blend
		if l.Latency > 0 {
			l.Latency = max(l.Latency, latency) // slow failures are slow too; quick ones are no speed
		}
	case sample.Timeout, sample.ConnectFailure:
		l.Failing += (1 - l.Failing) * blend
		l.Latency = max(l.Latency, latency, noAnswer)
	case sample.Aborted:
		if latency <= l.Latency {
			return // a client that left early saw nothing
		}
		l.Latency = latency
	default:
		return // the fault of another
	}
	l.Seen = now
}

// peak takes a value that is out of all proportion at once, any other by and by. Were every slower value taken at once,
// as PeakEwma does, the average of an endpoint would rise with its traffic, and low weights would look fast.
func peak(average, value time.Duration, blend float64) time.Duration {
	if average == 0 || value >= outlier*average {
		return value
	}
	return average + time.Duration(float64(value-average)*blend)
}

// trip runs the breaker: failures in a row open it, the outcome of its one probe closes it or opens it for longer.
func (c Config) trip(l *endpoints.Load, now time.Time, outcome sample.Outcome) {
	probed := l.Probing && !l.OpenUntil.IsZero() && !l.Open(now)
	switch outcome {
	case sample.OK:
		l.Failures = 0
		if probed {
			// The endpoint is back: forget how bad it was, or cost would keep it out where the breaker does not.
			*l = endpoints.Load{InFlight: l.InFlight, Seen: now}
		}
	case sample.Error, sample.Timeout, sample.ConnectFailure:
		l.Failures++
		if c.Breaker.Enabled && (probed || (l.OpenUntil.IsZero() && l.Failures >= c.Breaker.ConsecutiveFailures)) {
			opening := min(c.Breaker.Open<<min(l.Trips, 8), maxOpening*c.Breaker.Open)
			l.OpenUntil, l.Probing = now.Add(opening), false
			l.Trips++
		}
	default:
		if probed {
			l.Probing = false // said nothing; the next pick probes again
		}
	}
	if !c.Breaker.Enabled {
		l.OpenUntil, l.Probing, l.Trips = time.Time{}, false, 0
	}
}
