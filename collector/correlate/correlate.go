package correlate

import (
	"errors"
	"slices"
	"sync"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/correlate/red"
	"weft/collector/correlate/seen"
	"weft/internal/config"
)

// Config bounds what is remembered. Whatever a bound turns away is counted in Stats; where it is a metric series, also in
// an overflow series.
type Config struct {
	Exchanges    int `yaml:"exchanges" mapstructure:"exchanges"`         // exchanges remembered; the least recently touched goes first
	Seen         int `yaml:"seen" mapstructure:"seen"`                   // (trace, span) IDs remembered for a minute
	Pending      int `yaml:"pending" mapstructure:"pending"`             // spans that wait for the other half of their call; the oldest makes room
	Services     int `yaml:"services" mapstructure:"services"`           // services told apart in metrics; the others count as "_other"
	SpanNames    int `yaml:"span_names" mapstructure:"span_names"`       // of one service; then new span names count as "_other"
	ServiceCalls int `yaml:"service_calls" mapstructure:"service_calls"` // label sets of traces_spanmetrics_* of one service; then the same
	Calls        int `yaml:"calls" mapstructure:"calls"`                 // the same of all services together
	ServiceEdges int `yaml:"service_edges" mapstructure:"service_edges"` // label sets of traces_service_graph_* of one calling service; then new servers count as "_other"
	Edges        int `yaml:"edges" mapstructure:"edges"`                 // the same of all services together
}

// DefaultConfig fits 50,000 spans and as many log records a second, in some 160 MiB.
func DefaultConfig() Config {
	return Config{Exchanges: 100_000, Seen: 6_000_000, Pending: 100_000, Services: 200,
		SpanNames: 100, ServiceCalls: 300, Calls: 1500, ServiceEdges: 100, Edges: 1000}
}

// Validate reports every bound that is not positive.
func (c Config) Validate() error {
	var faults []error
	for _, bound := range []struct {
		key   string
		value int
	}{
		{"exchanges", c.Exchanges}, {"seen", c.Seen}, {"pending", c.Pending}, {"services", c.Services}, {"span_names", c.SpanNames},
		{"service_calls", c.ServiceCalls}, {"calls", c.Calls}, {"service_edges", c.ServiceEdges}, {"edges", c.Edges},
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
	ForgottenEarly   uint64 // spans that too many others pushed out of the memory of the last minute
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

// Offender is a service that gave a metric label more values than its bound.
type Offender = red.Offender

// Correlator is safe for concurrent use.
type Correlator struct {
	mu    sync.Mutex
	stats Stats
	seen  *seen.Set
	join  *join
	meter *red.Meter
	fresh [atOnce]bool
}

// atOnce is how many spans or log records are taken in before others have their turn: that is about a millisecond.
const atOnce = 1000

// New makes an empty Correlator.
func New(cfg Config) *Correlator {
	c := &Correlator{seen: seen.New(cfg.Seen)}
	c.join = newJoin(cfg.Exchanges, &c.stats)
	c.meter = red.NewMeter(red.Config{Pending: cfg.Pending, Services: cfg.Services, SpanNames: cfg.SpanNames,
		ServiceCalls: cfg.ServiceCalls, Calls: cfg.Calls, ServiceEdges: cfg.ServiceEdges, Edges: cfg.Edges})
	return c
}

// Spans takes in spans received at now. Those whose (trace, span) ID was seen in the last minute are dropped; it returns
// how many. The spans and the bytes they point to may change once it has returned.
func (c *Correlator) Spans(now time.Time, spans []facts.Span) (duplicates int) {
	for some := range slices.Chunk(spans, atOnce) {
		duplicates += c.take(now, some, (*red.Meter).Span)
	}
	return duplicates
}

// Logs takes in log records received at now. They and the bytes they point to may change once it has returned.
func (c *Correlator) Logs(now time.Time, logs []facts.Log) {
	for some := range slices.Chunk(logs, atOnce) {
		c.takeLogs(now, some)
	}
}

// Replay takes in what was stored before a restart: it fills exchanges, the services' last minutes and the memory of
// seen spans, but counts no metric, since those of the time before are in the metric store already.
func (c *Correlator) Replay(received time.Time, spans []facts.Span, logs []facts.Log) {
	for some := range slices.Chunk(spans, atOnce) {
		c.take(received, some, (*red.Meter).Replay)
	}
	c.Logs(received, logs)
}

func (c *Correlator) take(now time.Time, spans []facts.Span, count func(*red.Meter, time.Time, *facts.Span, string)) (duplicates int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meter.Expire(now)
	before := c.stats.Duplicates
	// The memory of seen spans is asked for all of them first: it lies far apart, and so the processor can wait for
	// several places at once.
	for i := range spans {
		c.fresh[i] = c.admit(now.UnixNano(), &spans[i])
	}
	for i := range spans {
		if c.fresh[i] {
			requestID := c.join.span(now.UnixNano(), &spans[i])
			count(c.meter, now, &spans[i], requestID)
		}
	}
	return int(c.stats.Duplicates - before)
}

func (c *Correlator) admit(now int64, s *facts.Span) bool {
	c.stats.Spans++
	if s.Trace.IsZero() || s.ID.IsZero() {
		c.stats.Invalid++
		return false
	}
	if !c.seen.First(now, s.Key()) {
		c.stats.Duplicates++
		return false
	}
	return true
}

func (c *Correlator) takeLogs(now time.Time, logs []facts.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Logs += uint64(len(logs))
	for i := range logs {
		c.join.log(now.UnixNano(), &logs[i])
	}
}

// List is the exchanges that match, newest first.
func (c *Correlator) List(f Filter) []Exchange {
	l := newListing(f)
	for more := true; more; {
		more = c.listSome(l)
	}
	l.prune()
	return l.best
}

func (c *Correlator) listSome(l *listing) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.join.list(l, atOnce)
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

// Offenders are the services that went beyond a bound of a metric label, the worst first.
func (c *Correlator) Offenders() []Offender {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meter.Offenders()
}

// Stats is the counts so far.
func (c *Correlator) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Exchanges, s.ForgottenEarly, s.Stats = uint64(c.join.count), c.seen.Early(), c.meter.Stats()
	return s
}
