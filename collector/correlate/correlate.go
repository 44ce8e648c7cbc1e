package correlate

import (
	"errors"
	"sync"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/correlate/red"
	"weft/internal/config"
)

// Config bounds what is remembered. Whatever a bound turns away is counted in Stats.
type Config struct {
	Exchanges int `yaml:"exchanges" mapstructure:"exchanges"`   // exchanges remembered; the least recently touched goes first
	Seen      int `yaml:"seen" mapstructure:"seen"`             // (trace, span) IDs remembered for a minute
	Pending   int `yaml:"pending" mapstructure:"pending"`       // spans that wait for the other half of their call
	SpanNames int `yaml:"span_names" mapstructure:"span_names"` // label sets per service; then new span names count as "_other"
	Calls     int `yaml:"calls" mapstructure:"calls"`           // label sets of traces_spanmetrics_*
	Edges     int `yaml:"edges" mapstructure:"edges"`           // label sets of traces_service_graph_*
	Services  int `yaml:"services" mapstructure:"services"`     // services with a last-minute rate; the rest counts as "_other"
}

// DefaultConfig fits a collector of some 350 MiB.
func DefaultConfig() Config {
	return Config{Exchanges: 100_000, Seen: 500_000, Pending: 100_000, SpanNames: 100, Calls: 1500, Edges: 1000, Services: 200}
}

// Validate reports every bound that is not positive.
func (c Config) Validate() error {
	var faults []error
	for _, bound := range []struct {
		key   string
		value int
	}{
		{"exchanges", c.Exchanges}, {"seen", c.Seen}, {"pending", c.Pending}, {"span_names", c.SpanNames},
		{"calls", c.Calls}, {"edges", c.Edges}, {"services", c.Services},
	} {
		if bound.value < 1 {
			faults = append(faults, config.Faultf(bound.key, "must be at least 1, is %d", bound.value))
		}
	}
	return errors.Join(faults...)
}

// Stats are cumulative counts of what was taken in and of everything turned away.
type Stats struct {
	Spans, Logs      uint64 // taken in
	Duplicates       uint64 // spans seen within the last minute
	Invalid          uint64 // spans without a trace or span ID
	Unrelated        uint64 // logs without a trace or request ID
	ExchangesEvicted uint64 // forgotten for newer ones
	JoinsRefused     uint64 // traces that share a request ID with too many others
	Exchanges        uint64 // remembered now
	red.Stats
}

// Series is the value of one metric series.
type Series = red.Series

// RED is one service's requests over a minute.
type RED = red.Service

// Correlator is safe for concurrent use.
type Correlator struct {
	mu    sync.Mutex
	stats Stats
	seen  *seen
	join  *join
	meter *red.Meter
}

// New makes an empty Correlator.
func New(cfg Config) *Correlator {
	c := &Correlator{seen: newSeen(cfg.Seen)}
	c.join = newJoin(cfg.Exchanges, &c.stats)
	c.meter = red.NewMeter(red.Config{Pending: cfg.Pending, SpanNames: cfg.SpanNames, Calls: cfg.Calls, Edges: cfg.Edges, Services: cfg.Services})
	return c
}

// Spans takes in spans received at now. Those whose (trace, span) ID was seen in the last minute are dropped; it returns
// how many. The spans and the bytes they point to may change once it has returned.
func (c *Correlator) Spans(now time.Time, spans []facts.Span) (duplicates int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meter.Expire(now)
	before := c.stats.Duplicates
	for i := range spans {
		if c.admit(now, &spans[i]) {
			c.join.span(now.UnixNano(), &spans[i])
			c.meter.Span(now, &spans[i])
		}
	}
	return int(c.stats.Duplicates - before)
}

func (c *Correlator) admit(now time.Time, s *facts.Span) bool {
	c.stats.Spans++
	if s.Trace.IsZero() || s.ID.IsZero() {
		c.stats.Invalid++
		return false
	}
	if !c.seen.first(now, s.Trace, s.ID) {
		c.stats.Duplicates++
		return false
	}
	return true
}

// Logs takes in log records received at now. They and the bytes they point to may change once it has returned.
func (c *Correlator) Logs(now time.Time, logs []facts.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range logs {
		c.stats.Logs++
		c.join.log(now.UnixNano(), &logs[i])
	}
}

// Replay takes in what was stored before a restart: it fills exchanges, the services' last minutes and the memory of
// seen spans, but counts no metric, since those of the time before are in the metric store already.
func (c *Correlator) Replay(received time.Time, spans []facts.Span, logs []facts.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range spans {
		if c.admit(received, &spans[i]) {
			c.join.span(received.UnixNano(), &spans[i])
			c.meter.Replay(received, &spans[i])
		}
	}
	for i := range logs {
		c.stats.Logs++
		c.join.log(received.UnixNano(), &logs[i])
	}
}

// List is the exchanges that match, newest first.
func (c *Correlator) List(f Filter) []Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.join.list(f)
}

// Find is the exchanges known by a request ID, a trace ID or a client's own request or trace ID, newest first.
func (c *Correlator) Find(id string) []Exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.join.find(id)
}

// Flush is every metric's value at now, cumulative since New.
func (c *Correlator) Flush(now time.Time) []Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meter.Flush(now)
}

// RED is every service's rate, errors and latency over the minute that ends at the given time, which may lie up to
// ten minutes back.
func (c *Correlator) RED(at time.Time) []RED {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meter.Services(at)
}

// Stats is the counts so far.
func (c *Correlator) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Exchanges, s.Stats = uint64(c.join.count), c.meter.Stats()
	return s
}
