package storeextension

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"weft/collector/store/segment"
)

// measure registers what the stores hold, and what they had to refuse or drop, with the collector's own metrics.
func (e *Extension) measure() error {
	meter := e.set.MeterProvider.Meter("weft/store")
	var faults []error
	counter := func(name, help string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithDescription(help))
		faults = append(faults, err)
		return c
	}
	gauge := func(name, help string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(help))
		faults = append(faults, err)
		return g
	}
	bytes := gauge("weft_store_disk_bytes", "Bytes on disk, indexes included.")
	memory := gauge("weft_store_index_memory_bytes", "Bytes of indexes in memory.")
	files := counter("weft_store_expired_files", "Files deleted by retention.")
	damaged := counter("weft_store_damaged_records", "Records that could not be read.")
	unsealed := counter("weft_store_seal_failures", "Files that could not be sealed; they are tried again.")
	series := gauge("weft_store_series", "Series in the head of the metric store.")
	points := counter("weft_store_points", "Data points stored.")
	rejected := counter("weft_store_rejected_points", "Data points that the metric store does not take: too old, a second value for one time, delta temporality.")
	segments := func(o metric.Observer, s segment.Stats, signal string) {
		label := metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", signal)))
		o.ObserveInt64(bytes, s.Bytes, label)
		o.ObserveInt64(memory, s.IndexMemory, label)
		o.ObserveInt64(files, int64(s.Dropped), label)
		o.ObserveInt64(damaged, int64(s.Damaged), label)
		o.ObserveInt64(unsealed, int64(s.SealFailure), label)
	}
	var err error
	e.stats, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.stores.Stats()
		segments(o, s.Traces, "traces")
		segments(o, s.Logs, "logs")
		o.ObserveInt64(series, int64(s.Metrics.Series))
		o.ObserveInt64(points, int64(s.Metrics.Points))
		o.ObserveInt64(rejected, int64(s.Metrics.Rejected))
		return nil
	}, bytes, memory, files, damaged, unsealed, series, points, rejected)
	return errors.Join(append(faults, err)...)
}
