package chance

import "time"

// Baseline is what an endpoint's failure ratio has been in the last hour, by minutes in which nothing was wrong.
type Baseline struct {
	minutes [60]Tally
	next    int
	began   time.Time
	at      Tally // all so far, when the minute began
	suspect bool  // this minute
	sum     Tally
}

// suspicion is the evidence, in nats, from which on a minute is not learned from.
const suspicion = 7

// Doubt tells of the evidence against the endpoint in this minute.
func (b *Baseline) Doubt(nats float64) { b.suspect = b.suspect || nats > suspicion }

// Learn closes the minute. Only whole, unsuspicious minutes of ordinary service count.
func (b *Baseline) Learn(now time.Time, seen Tally, ordinary bool) {
	b.suspect = b.suspect || !ordinary
	if b.began.IsZero() {
		b.began, b.at = now, seen
	}
	if now.Sub(b.began) < time.Minute {
		return
	}
	t := Tally{seen.N - b.at.N, seen.Bad - b.at.Bad}
	if !b.suspect && t.N > 0 {
		old := b.minutes[b.next]
		b.sum = Tally{b.sum.N + t.N - old.N, b.sum.Bad + t.Bad - old.Bad}
		b.minutes[b.next], b.next = t, (b.next+1)%len(b.minutes)
	}
	b.began, b.at, b.suspect = now, seen, false
}

// Ratio starts at one failure in 200 and follows what is learned; a quarter is the most anyone gets used to.
func (b *Baseline) Ratio() float64 { return min(0.25, (b.sum.Bad+1)/(b.sum.N+200)) }
