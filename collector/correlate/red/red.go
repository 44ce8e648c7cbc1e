// Package red counts spans into rate, errors and duration: per span name, per service and per edge of the service graph.
//
// It is pure and not safe for concurrent use; package correlate owns it. Every label it generates is bounded, per service
// and in all. What is beyond a bound counts in an overflow series, so that totals stay right, and whoever went beyond it
// is named (see docs/decisions/0037).
package red

import (
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/correlate/intern"
)

// Config bounds what is remembered. Whatever a bound turns away is counted in Stats or an overflow series.
type Config struct {
	Pending      int // spans that wait for the other half of their call; the oldest makes room
	Services     int // services told apart; the others count as "_other"
	SpanNames    int // of one service; then new span names count as "_other"
	ServiceCalls int // label sets of traces_spanmetrics_* of one service; then new ones count under span name "_other"
	Calls        int // the same of all services together
	ServiceEdges int // label sets of traces_service_graph_* of one calling service; then new servers count as "_other"
	Edges        int // the same of all services together
}

// Stats are cumulative counts of everything turned away.
type Stats struct {
	PendingDropped uint64 // calls whose other half was no longer waited for because too many were
	Unpaired       uint64 // calls whose other half never came
	Overflowed     uint64 // spans and calls counted in an overflow series, for a bound that is reached; see Offenders
	Pending        uint64 // waiting now
}

// Meter counts.
type Meter struct {
	stats    Stats
	texts    *intern.Texts
	services *services
	calls    *calls
	graph    *graph
	// replaying is true while spans are taken in that were counted before.
	replaying bool
}

// NewMeter makes a Meter at zero.
func NewMeter(cfg Config) *Meter {
	m := &Meter{texts: intern.New()}
	m.services = newServices(cfg.Services, &m.stats)
	m.calls = newCalls(cfg, m)
	m.graph = newGraph(cfg, m)
	return m
}

// Span counts one span received at now. The caller has dropped those it saw before. requestID is the span's, in memory
// of its own; of the span itself nothing is kept.
func (m *Meter) Span(now time.Time, s *facts.Span, requestID string) {
	m.graph.span(now.UnixNano(), s, requestID)
}

// Replay takes in a span that was counted before a restart: it fills the services' last minutes and the graph's edges,
// but adds to no metric, since those of the time before are in the metric store already.
func (m *Meter) Replay(received time.Time, s *facts.Span, requestID string) {
	m.replaying = true
	m.graph.span(received.UnixNano(), s, requestID)
	m.replaying = false
}

// Expire gives up on calls whose other half has not come in time.
func (m *Meter) Expire(now time.Time) { m.graph.expire(now.UnixNano()) }

// Flush is every metric's value at now, cumulative since NewMeter.
func (m *Meter) Flush(now time.Time) []Series {
	m.Expire(now)
	out := m.graph.flush(now, m.calls.flush(now, nil))
	m.services.forgetIdle(now.UnixNano())
	return out
}

// Services is every service that answers, over the minute that ends at the given time, which may lie up to ten minutes
// back.
func (m *Meter) Services(at time.Time) []Service { return m.services.red(at) }

// Offenders are the services that went beyond a bound, the worst first.
func (m *Meter) Offenders() []Offender { return m.services.offenders() }

// Stats is the counts so far.
func (m *Meter) Stats() Stats {
	s := m.stats
	s.Pending = uint64(m.graph.pending.len())
	return s
}
