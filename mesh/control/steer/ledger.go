// Package steer turns what collectors judged into what proxies shall do.
//
//	lane.go    the stream to one collector: reports up, verdicts down
//	ledger.go  the verdicts in force
//	steer.go   pure: endpoints and verdicts in, weights out; the panic share is applied here
package steer

import (
	"maps"
	"slices"
	"sync"
	"time"

	"weft/internal/sample"
	"weft/internal/wire"
	"weft/mesh/control/bell"
)

const (
	LongestTTL   = time.Minute
	mostVerdicts = 1 << 14
)

// Judged is a verdict with the lease term of the collector that spoke it: versions start anew with each term.
type Judged struct {
	sample.Verdict
	Term uint64
}

// View is what the ledger holds at one moment; it is not changed after.
type View struct {
	Term     uint64
	Version  uint64
	TTL      time.Duration
	Live     bool // within the ttl of the latest update
	Verdicts map[sample.Key]Judged
}

// Ledger is the set of verdicts in force. It takes only the highest term it has seen, and on a stream never an older
// version; the full set at the start of a stream is the newest word of its term. Every method takes the time.
type Ledger struct {
	Changed bell.Bell // rung at every change

	mu       sync.Mutex
	now      View
	until    time.Time
	restored bool              // no collector has spoken to this process yet
	lanes    map[string]uint64 // lane → term in which it has sent a full set
}

// NewLedger makes a ledger without verdicts.
func NewLedger() *Ledger {
	return &Ledger{lanes: map[string]uint64{}, Changed: bell.New()}
}

// reaction is what an update did.
type reaction string

const (
	taken   reaction = "taken"
	stale   reaction = "stale"   // a lower term or version than one already seen
	partial reaction = "partial" // changes without the full set they apply to
	excess  reaction = "excess"  // more verdicts than any mesh has endpoints
)

// apply takes up an update of a lane.
func (l *Ledger) apply(now time.Time, lane string, in *wire.VerdictUpdate) reaction {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.restored && !l.live(now) {
		l.now = View{}
	}
	known := l.lanes[lane] == in.GetTerm() && in.GetTerm() != 0
	switch {
	case in.GetTerm() < l.now.Term:
		return stale
	case !known && !in.GetFull():
		return partial
	case known && in.GetTerm() == l.now.Term && in.GetVersion() < l.now.Version:
		return stale
	}
	verdicts := l.merge(in)
	if len(verdicts) > mostVerdicts {
		return excess
	}
	if in.GetFull() {
		l.lanes[lane] = in.GetTerm()
	}
	revived := !l.live(now)
	l.restored = false
	l.now.Term, l.now.Version, l.now.Verdicts = in.GetTerm(), in.GetVersion(), verdicts
	l.now.TTL = min(time.Duration(in.GetTtlMs())*time.Millisecond, LongestTTL)
	l.until = now.Add(l.now.TTL)
	if revived || in.GetFull() || len(in.GetVerdicts())+len(in.GetRemoved()) > 0 {
		l.Changed.Ring()
	}
	return taken
}

// merge builds the set after an update; a heartbeat leaves it as it is.
func (l *Ledger) merge(in *wire.VerdictUpdate) map[sample.Key]Judged {
	if !in.GetFull() && len(in.GetVerdicts())+len(in.GetRemoved()) == 0 {
		return l.now.Verdicts
	}
	verdicts := map[sample.Key]Judged{}
	if !in.GetFull() {
		maps.Copy(verdicts, l.now.Verdicts)
	}
	for _, v := range in.GetVerdicts() {
		verdict := sample.VerdictFromWire(v)
		verdicts[verdict.Endpoint] = Judged{verdict, in.GetTerm()}
	}
	maps.DeleteFunc(verdicts, func(key sample.Key, _ Judged) bool { return slices.Contains(in.GetRemoved(), key.String()) })
	return verdicts
}

// hangUp forgets that a lane has sent a full set: its next stream begins with one.
func (l *Ledger) hangUp(lane string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lanes, lane)
}

// Restore takes up the verdicts of an earlier process, for one ttl: a restart must not send traffic to what is ejected.
// The term counts while they do, and is then open again, so that a restart also heals a term that a wrong clock made.
func (l *Ledger) Restore(now time.Time, saved View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.until, l.restored = saved, now.Add(saved.TTL), true
	l.Changed.Ring()
}

// At is the ledger at one moment.
func (l *Ledger) At(now time.Time) View {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.now
	out.Live = l.live(now)
	return out
}

func (l *Ledger) live(now time.Time) bool { return l.now.Term != 0 && !now.After(l.until) }
