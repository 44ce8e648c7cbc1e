package red

import (
	"time"

	"weft/collector/correlate/intern"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// calls counts spans by service, name, kind and status, as Tempo's metrics generator does.
type calls struct {
	cfg     Config
	stats   *Stats
	byKey   map[callKey]*call
	names   map[string]int // span names of each service
	flushes flushes
	texts   *intern.Texts
	// replaying is true while spans are taken in that were counted before.
	replaying bool
}

type callKey struct {
	service, name string
	kind          signal.Kind
	status        signal.Status
}

type call struct {
	latency histogram
	labels  []Label
	series  *histogramSeries
	touched time.Time
	written bool
}

func newCalls(cfg Config, stats *Stats) *calls {
	return &calls{cfg: cfg, stats: stats, byKey: map[callKey]*call{}, names: map[string]int{}, texts: intern.New()}
}

const longestLabel = 200

// count counts one span. A name beyond the service's bound counts as "_other"; beyond the bound of label sets the span
// is counted in Stats only.
func (c *calls) count(now time.Time, key callKey, seconds float64, o observed) {
	if c.replaying {
		return
	}
	key.service, key.name = label(key.service, longestLabel), label(key.name, longestLabel)
	one := c.byKey[key]
	if one == nil {
		if one = c.add(key); one == nil {
			c.stats.CallsOverflowed++
			return
		}
	}
	one.touched = now
	one.latency.observe(seconds, o)
}

func (c *calls) add(key callKey) *call {
	if c.names[key.service] >= c.cfg.SpanNames && key.name != other {
		c.stats.NamesOverflowed++
		key.name = other
		if one := c.byKey[key]; one != nil {
			return one
		}
	}
	if len(c.byKey) >= c.cfg.Calls {
		return nil
	}
	labels := []Label{
		{"service", key.service},
		{"span_kind", [...]string{"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"}[key.kind%6]},
		{"span_name", key.name},
		{"status_code", [...]string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}[key.status%3]},
	}
	one := &call{labels: labels, series: newHistogramSeries(semconv.SpanMetricsLatency, labels)}
	c.byKey[key] = one
	c.names[key.service]++
	return one
}

func (c *calls) flush(now time.Time, out []Series) []Series {
	at := now.UnixMilli()
	for key, one := range c.byKey {
		if now.Sub(one.touched) > idleFor {
			delete(c.byKey, key)
			if c.names[key.service]--; c.names[key.service] <= 0 {
				delete(c.names, key.service)
			}
			continue
		}
		if !one.written {
			one.written = true
			zero := c.flushes.zeroAt(at)
			out = one.series.zero(zero, append(out, Series{Name: semconv.SpanMetricsCalls, Labels: one.labels, Time: zero}))
		}
		var total uint64
		for _, n := range one.latency.counts {
			total += n
		}
		out = append(out, Series{Name: semconv.SpanMetricsCalls, Labels: one.labels, Value: float64(total), Time: at})
		out = one.series.flush(&one.latency, at, out)
	}
	c.flushes.last = at
	return out
}
