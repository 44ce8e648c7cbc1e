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
	ledger := gauge("weft_store_ledger_items", "Items since the process began, by state: accepted + recovered = stored + deduplicated + dropped + lost + queued.")
	rows := gauge("weft_store_segment_rows", "Spans and log records in segments.")
	count := gauge("weft_store_segments", "Segments on disk.")
	expired := counter("weft_store_expired_rows", "Rows dropped by retention.")
	outliving := counter("weft_store_outliving_rows", "Rows kept when their bulk was dropped: errors, slow requests, evidence.")
	damaged := counter("weft_store_damaged_records", "Records that could not be read.")
	quarantined := counter("weft_store_quarantined_files", "Damaged files set aside.")
	failures := counter("weft_store_maintenance_failures", "Attempts to seal, merge or drop that failed; they are tried again.")
	pinned := gauge("weft_store_pinned_requests", "Requests that an alert or a verdict names.")
	series := gauge("weft_store_series", "Series in the head of the metric store.")
	points := counter("weft_store_points", "Samples stored.")
	rejected := counter("weft_store_rejected_points", "Samples that the metric store does not take, by reason.")
	segments := func(o metric.Observer, s segment.Stats, signal string) {
		label := attribute.String("signal", signal)
		only := metric.WithAttributes(label)
		o.ObserveInt64(bytes, s.Bytes, only)
		o.ObserveInt64(memory, s.IndexMemory, only)
		o.ObserveInt64(rows, s.Rows, only)
		o.ObserveInt64(count, int64(s.Segments), only)
		o.ObserveInt64(expired, int64(s.DroppedRow), only)
		o.ObserveInt64(outliving, int64(s.KeptRows), only)
		o.ObserveInt64(damaged, int64(s.Damaged), only)
		o.ObserveInt64(quarantined, int64(s.Quarantine), only)
		o.ObserveInt64(failures, int64(s.Failures), only)
		for state, n := range map[string]uint64{
			"accepted": s.Accepted, "recovered": s.Recovered, "stored": s.Stored, "deduplicated": s.Deduplicated,
			"lost": s.Lost, "queued": uint64(s.UnsealedItems),
		} {
			o.ObserveInt64(ledger, int64(n), metric.WithAttributes(label, attribute.String("state", state)))
		}
	}
	var err error
	e.stats, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.stores.Stats()
		segments(o, s.Traces, "traces")
		segments(o, s.Logs, "logs")
		o.ObserveInt64(series, int64(s.Metrics.Series))
		o.ObserveInt64(points, int64(s.Metrics.Points))
		for reason, n := range s.Metrics.Dropped {
			o.ObserveInt64(rejected, int64(n), metric.WithAttributes(attribute.String("reason", reason)))
		}
		for state, n := range map[string]uint64{
			"accepted": s.Metrics.Points + s.Metrics.Rejected(), "stored": s.Metrics.Points, "dropped": s.Metrics.Rejected(),
		} {
			o.ObserveInt64(ledger, int64(n), metric.WithAttributes(attribute.String("signal", "metrics"), attribute.String("state", state)))
		}
		o.ObserveInt64(pinned, int64(s.Pinned))
		return nil
	}, bytes, memory, ledger, rows, count, expired, outliving, damaged, quarantined, failures, pinned, series, points, rejected)
	return errors.Join(append(faults, err)...)
}
