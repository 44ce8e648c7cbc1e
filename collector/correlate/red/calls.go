package red

import (
	"strings"
	"time"

	"weft/collector/correlate/intern"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// calls counts spans by service, name, kind and status, as Tempo's metrics generator does.
type calls struct {
	cfg     Config
	m       *Meter
	sets    int // of all services
	flushes flushes
}

type callKey struct {
	name string
	kind signal.Kind
	code signal.Status
}

type call struct {
	latency histogram
	labels  []Label
	series  *histogramSeries
	touched int64
	written bool
}

func newCalls(cfg Config, m *Meter) *calls { return &calls{cfg: cfg, m: m} }

// count counts one span. Its name may be a view.
func (c *calls) count(now int64, of *service, key callKey, m *measured) {
	if m.replayed {
		return
	}
	one := of.calls[key]
	if one == nil {
		one = c.find(now, of, key)
	}
	one.touched = now
	one.latency.observe(m.took, &m.at)
}

// find is the label set of a key that is not known as it is: a new one or, beyond a bound, that of the name "_other".
func (c *calls) find(now int64, of *service, key callKey) *call {
	key.name = intern.Cut(key.name)
	if key.kind > signal.KindConsumer {
		key.kind = signal.KindUnspecified
	}
	if key.code > signal.StatusError {
		key.code = signal.StatusUnset
	}
	if of == c.m.services.other {
		key.name = other // names of services that are not told apart would say nothing
	}
	if one := of.calls[key]; one != nil {
		return one
	}
	if key.name != other && !c.fits(of, key.name) {
		c.m.services.overflowed(now, of, ofSpanName, key.name)
		key.name = other
		if one := of.calls[key]; one != nil {
			return one
		}
	}
	return c.add(of, key)
}

func (c *calls) fits(of *service, name string) bool {
	named := len(of.names)
	if of.names[other] > 0 {
		named--
	}
	return (of.names[name] > 0 || named < c.cfg.SpanNames) && len(of.calls) < c.cfg.ServiceCalls && c.sets < c.cfg.Calls
}

func (c *calls) add(of *service, key callKey) *call {
	key.name = strings.Clone(key.name)
	labels := []Label{
		{"service", of.name},
		{"span_kind", [...]string{"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"}[key.kind]},
		{"span_name", key.name},
		{"status_code", [...]string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}[key.code]},
	}
	one := &call{labels: labels, series: newHistogramSeries(semconv.SpanMetricsLatency, labels)}
	of.calls[key] = one
	of.names[key.name]++
	c.sets++
	return one
}

func (c *calls) flush(now time.Time, out []Series) []Series {
	at := now.UnixMilli()
	for _, of := range c.m.services.all() {
		for key, one := range of.calls {
			if now.UnixNano()-one.touched > int64(idleFor) {
				c.forget(of, key)
				continue
			}
			if !one.written {
				one.written = true
				zero := c.flushes.zeroAt(at)
				out = one.series.zero(zero, append(out, Series{Name: semconv.SpanMetricsCalls, Labels: one.labels, Time: zero}))
			}
			out = append(out, Series{Name: semconv.SpanMetricsCalls, Labels: one.labels, Value: float64(one.latency.total()), Time: at})
			out = one.series.flush(&one.latency, at, out)
		}
	}
	c.flushes.last = at
	return out
}

func (c *calls) forget(of *service, key callKey) {
	delete(of.calls, key)
	c.sets--
	if of.names[key.name]--; of.names[key.name] <= 0 {
		delete(of.names, key.name)
	}
}
