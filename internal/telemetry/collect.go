package telemetry

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weft/internal/telemetry/delivery"
)

var (
	droppedDesc = prometheus.NewDesc("weft_telemetry_dropped_total",
		"Spans, log records or metric exports that the agent did not get, by reason.", []string{"signal", "reason"}, nil)
	exportedDesc = prometheus.NewDesc("weft_telemetry_exported_total",
		"Spans, log records or metric points that the agent took.", []string{"signal"}, nil)
	pendingDesc = prometheus.NewDesc("weft_telemetry_pending_bytes",
		"Encoded, and waiting for the agent or on the way to it.", []string{"signal"}, nil)
	overflowDesc = prometheus.NewDesc("weft_telemetry_overflow_total",
		"Durations counted under the overflow set, because there are too many attribute sets.", nil, nil)
)

// Collect makes the duration histograms and Telemetry's own counters part of registry.
func (t *Telemetry) Collect(registry *prometheus.Registry) { registry.MustRegister(collector{t}) }

// collector describes nothing, which tells the registry that its metrics are not known beforehand.
type collector struct{ t *Telemetry }

func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.t.durations.read() {
		out <- s.prometheus()
	}
	for name, n := range map[string]*delivery.Counters{"spans": &c.t.spans.Counters, "logs": &c.t.logs.Counters, "metrics": &c.t.metrics} {
		for reason, value := range map[string]uint64{
			"overflow": n.Overflow.Load(), "refused": n.Refused.Load(),
			"oversized": n.Oversized.Load(), "unfinished": n.Unfinished.Load(),
		} {
			out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(value), name, reason)
		}
		out <- prometheus.MustNewConstMetric(exportedDesc, prometheus.CounterValue, float64(n.Exported.Load()), name)
	}
	for name, q := range map[string]*delivery.Queue{"spans": c.t.spans, "logs": c.t.logs} {
		out <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(q.Pending()), name)
	}
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
