// Package red counts spans into rate, errors and duration: per span name, per service and per edge of the service graph.
//
// It is pure and not safe for concurrent use; package correlate owns it.
package red

import (
	"time"

	"weft/collector/correlate/facts"
)

// Config bounds what is remembered. Whatever a bound turns away is counted in Stats.
type Config struct {
	Pending   int // spans that wait for the other half of their call
	SpanNames int // label sets per service; then new span names count as "_other"
	Calls     int // label sets of traces_spanmetrics_*
	Edges     int // label sets of traces_service_graph_*
	Services  int // services with a rate; the rest counts as "_other"
}

// Stats are cumulative counts of everything turned away.
type Stats struct {
	PendingDropped  uint64 // calls whose other half was no longer waited for because too many were
	Unpaired        uint64 // calls whose other half never came
	NamesOverflowed uint64 // label sets counted under span name "_other"
	CallsOverflowed uint64 // spans counted in no label set
	EdgesOverflowed uint64 // calls counted in no edge
	Pending         uint64 // waiting now
}

// Meter counts.
type Meter struct {
	stats    Stats
	calls    *calls
	graph    *graph
	services *services
}

// NewMeter makes a Meter at zero.
func NewMeter(cfg Config) *Meter {
	m := &Meter{services: newServices(cfg.Services)}
	m.calls = newCalls(cfg, &m.stats)
	m.graph = newGraph(cfg, m)
	return m
}

// Span counts one span received at now. The caller has dropped those it saw before.
func (m *Meter) Span(now time.Time, s *facts.Span) { m.graph.span(now, s) }

// Replay takes in a span that was counted before a restart: it fills the services' last minutes and the graph's edges,
// but adds to no metric, since those of the time before are in the metric store already.
func (m *Meter) Replay(received time.Time, s *facts.Span) {
	m.calls.replaying, m.graph.replaying = true, true
	m.graph.expire(received)
	m.graph.span(received, s)
	m.calls.replaying, m.graph.replaying = false, false
}

// Expire gives up on calls whose other half has not come in time.
func (m *Meter) Expire(now time.Time) { m.graph.expire(now) }

// Flush is every metric's value at now, cumulative since NewMeter.
func (m *Meter) Flush(now time.Time) []Series {
	m.graph.expire(now)
	return m.graph.flush(now, m.calls.flush(now, nil))
}

// Services is every service over the minute that ends at the given time, which may lie up to ten minutes back.
func (m *Meter) Services(at time.Time) []Service {
	all := m.services.red(at)
	for i := range all {
		all[i].Calls, all[i].CalledBy = m.graph.neighbours(all[i].Name)
	}
	return all
}

// Stats is the counts so far.
func (m *Meter) Stats() Stats {
	s := m.stats
	s.Pending = uint64(len(m.graph.pending))
	return s
}
