package queue

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// gauges are what the agent's own metrics say of each line, beside the drops.
var gauges = []struct {
	name, help string
	counts     bool // it only grows
	value      func(Snapshot) float64
}{
	{"weft_queue_accepted_items", "Items acknowledged since the queue was opened.", true, func(s Snapshot) float64 { return float64(s.Accepted) }},
	{"weft_queue_recovered_items", "Items found queued when the queue was opened.", true, func(s Snapshot) float64 { return float64(s.Recovered) }},
	{"weft_queue_sent_items", "Items that the collector has taken.", true, func(s Snapshot) float64 { return float64(s.Sent) }},
	{"weft_queue_queued_items", "Items that wait for the collector.", false, func(s Snapshot) float64 { return float64(s.Queued) }},
	{"weft_queue_queued_bytes", "Bytes that wait for the collector.", false, func(s Snapshot) float64 { return float64(s.QueuedBytes) }},
	{"weft_queue_disk_bytes", "Bytes on disk, sent ones included that are not deleted yet.", false, func(s Snapshot) float64 { return float64(s.DiskBytes) }},
	{"weft_queue_limit_bytes", "Bytes on disk beyond which senders are pushed back.", false, func(s Snapshot) float64 { return float64(s.LimitBytes) }},
	{"weft_queue_oldest_age_seconds", "Age of the oldest batch that waits for the collector; 0 when none does.", false, func(s Snapshot) float64 { return s.OldestAge.Seconds() }},
	{"weft_queue_lag_seconds", "Age, when it was taken, of the batch that the collector took last.", false, func(s Snapshot) float64 { return s.Lag.Seconds() }},
	{"weft_queue_damaged_ranges", "Ranges of the log that could not be read.", true, func(s Snapshot) float64 { return float64(s.Damaged) }},
	{"weft_queue_dead_letter_items", "Items kept that the collector will never take.", false, func(s Snapshot) float64 { return float64(s.DeadLetters.Items) }},
	{"weft_queue_dead_letter_evicted_items", "Items among the dead letters that had to make room, or were too old.", true, func(s Snapshot) float64 { return float64(s.DeadLetters.Evicted) }},
}

// measure registers the ledger, the limits and the ages with the agent's own metrics.
func measure(provider metric.MeterProvider, q *Queue) (metric.Registration, error) {
	meter := provider.Meter("weft/queue")
	var faults []error
	all := make([]metric.Float64Observable, len(gauges))
	observed := []metric.Observable{}
	for i, g := range gauges {
		var err error
		if g.counts {
			all[i], err = meter.Float64ObservableCounter(g.name, metric.WithDescription(g.help))
		} else {
			all[i], err = meter.Float64ObservableGauge(g.name, metric.WithDescription(g.help))
		}
		faults, observed = append(faults, err), append(observed, all[i])
	}
	dropped, err := meter.Int64ObservableCounter("weft_queue_dropped_items",
		metric.WithDescription("Items that left the queue without being taken, by reason: the collector rejected them, or their whole batch (dead_letter), or the disk has not kept them."))
	faults, observed = append(faults, err), append(observed, dropped)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, signal := range Signals {
			s := q.Snapshot(signal)
			label := attribute.String("signal", string(signal))
			of := metric.WithAttributeSet(attribute.NewSet(label))
			for i, g := range gauges {
				o.ObserveFloat64(all[i], g.value(s), of)
			}
			for reason, n := range s.Dropped {
				o.ObserveInt64(dropped, n, metric.WithAttributeSet(attribute.NewSet(label, attribute.String("reason", reason))))
			}
		}
		return nil
	}, observed...)
	return registration, errors.Join(append(faults, err)...)
}
