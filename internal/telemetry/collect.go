package telemetry

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weft/internal/telemetry/delivery"
)

// The ledger of what was handed to telemetry: accepted = sent + dropped of all reasons + queued, exact in every scrape.
var (
	acceptedDesc = prometheus.NewDesc("weft_telemetry_accepted_items_total",
		"Spans, log records or metric points to be sent to the agent.", []string{"signal"}, nil)
	sentDesc = prometheus.NewDesc("weft_telemetry_sent_items_total",
		"Items that the agent has acknowledged.", []string{"signal"}, nil)
	droppedDesc = prometheus.NewDesc("weft_telemetry_dropped_items_total",
		"Items that were given up, by reason.", []string{"signal", "reason"}, nil)
	queuedDesc = prometheus.NewDesc("weft_telemetry_queued_items",
		"Items that wait for the agent or are on the way to it.", []string{"signal"}, nil)
	queuedBytesDesc = prometheus.NewDesc("weft_telemetry_queued_bytes",
		"Bytes that wait for the agent or are on the way to it.", []string{"signal"}, nil)
	epochDesc = prometheus.NewDesc("weft_telemetry_epoch_seconds",
		"Unix time at which this process's ledger began at zero.", nil, nil)
	overflowDesc = prometheus.NewDesc("weft_telemetry_overflow_total",
		"Durations counted under the overflow set, because there are too many attribute sets.", nil, nil)
)

// Collect makes the duration histograms and Telemetry's own counters part of registry.
func (t *Telemetry) Collect(registry *prometheus.Registry) { registry.MustRegister(collector{t}) }

// ledgers is where every item went, by signal.
func (t *Telemetry) ledgers() map[string]delivery.Ledger {
	return map[string]delivery.Ledger{"traces": t.spans.Ledger(), "logs": t.logs.Ledger(), "metrics": t.points.read()}
}

// collector describes nothing, which tells the registry that its metrics are not known beforehand.
type collector struct{ t *Telemetry }

func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.t.durations.read() {
		out <- s.prometheus()
	}
	for signal, l := range c.t.ledgers() {
		count := func(desc *prometheus.Desc, kind prometheus.ValueType, value uint64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, kind, float64(value), append([]string{signal}, labels...)...)
		}
		count(acceptedDesc, prometheus.CounterValue, l.Accepted)
		count(sentDesc, prometheus.CounterValue, l.Sent)
		for reason, dropped := range l.Dropped {
			count(droppedDesc, prometheus.CounterValue, dropped, delivery.Reason(reason).String())
		}
		count(queuedDesc, prometheus.GaugeValue, l.Queued)
	}
	for signal, q := range map[string]*delivery.Queue{"traces": c.t.spans, "logs": c.t.logs} {
		out <- prometheus.MustNewConstMetric(queuedBytesDesc, prometheus.GaugeValue, float64(q.Bytes()), signal)
	}
	out <- prometheus.MustNewConstMetric(epochDesc, prometheus.GaugeValue, float64(c.t.durations.start.UnixNano())/1e9)
	out <- prometheus.MustNewConstMetric(overflowDesc, prometheus.CounterValue, float64(c.t.durations.overflow.Load()))
}

// prometheus is the series under Prometheus' naming rules, with its exemplars.
func (s snapshot) prometheus() prometheus.Metric {
	names, values := make([]string, len(s.attrs)), make([]string, len(s.attrs))
	for i, a := range s.attrs {
		names[i], values[i] = underscore(a.Key), clean(fmt.Sprint(a.Value()))
	}
	desc := prometheus.NewDesc(underscore(s.metric)+"_seconds", "Duration, as "+s.metric+".", names, nil)
	buckets := make(map[float64]uint64, len(bounds))
	var total uint64
	for i, bound := range bounds {
		total += s.counts[i]
		buckets[bound] = total
	}
	histogram, err := prometheus.NewConstHistogram(desc, s.count(), s.sum, buckets, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	var exemplars []prometheus.Exemplar
	for _, e := range s.exemplars {
		if !e.at.IsZero() && !math.IsNaN(e.seconds) {
			exemplars = append(exemplars, prometheus.Exemplar{
				Value: e.seconds, Timestamp: e.at, Labels: prometheus.Labels{"trace_id": fmt.Sprintf("%x", e.trace)},
			})
		}
	}
	if len(exemplars) == 0 {
		return histogram
	}
	with, err := prometheus.NewMetricWithExemplars(histogram, exemplars...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return with
}

func underscore(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// Collect makes the lane's own counters part of registry.
func (l *Lane) Collect(registry *prometheus.Registry) {
	count := func(name, help string, read func() uint64) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(read()) }))
	}
	count("weft_lane_reports_total", "Reports of samples sent to the agent.", l.sent.Load)
	count("weft_lane_skipped_total", "Reports not made because earlier ones had no receipt yet.", l.skipped.Load)
	count("weft_lane_broken_total", "Streams to the agent that broke.", l.broken.Load)
}
