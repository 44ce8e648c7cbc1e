package correlate

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"weft/collector/correlate"
)

// measure registers the correlator's ledger with the collector's own metrics.
func (e *Extension) measure() error {
	meter := e.set.MeterProvider.Meter("weft/correlate")
	var errs [4]error
	var taken, dropped metric.Int64ObservableCounter
	var known metric.Int64ObservableGauge
	taken, errs[0] = meter.Int64ObservableCounter("weft_correlate_taken_items", metric.WithDescription("Spans and log records taken in, by signal."))
	dropped, errs[1] = meter.Int64ObservableCounter("weft_correlate_dropped", metric.WithDescription("What was not kept, counted or joined, by reason."))
	known, errs[2] = meter.Int64ObservableGauge("weft_correlate_exchanges", metric.WithDescription("Exchanges remembered now."))
	e.counters, errs[3] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.correlator.Stats()
		o.ObserveInt64(taken, int64(s.Spans), metric.WithAttributes(attribute.String("signal", "traces")))
		o.ObserveInt64(taken, int64(s.Logs), metric.WithAttributes(attribute.String("signal", "logs")))
		o.ObserveInt64(known, int64(s.Exchanges))
		for reason, n := range reasons(s) {
			o.ObserveInt64(dropped, int64(n), metric.WithAttributes(attribute.String("reason", reason)))
		}
		return nil
	}, taken, dropped, known)
	return errors.Join(errs[:]...)
}

func reasons(s correlate.Stats) map[string]uint64 {
	return map[string]uint64{
		"duplicate": s.Duplicates, "invalid": s.Invalid, "unrelated": s.Unrelated, "exchange_evicted": s.ExchangesEvicted,
		"join_refused": s.JoinsRefused, "pending_full": s.PendingDropped, "unpaired": s.Unpaired,
		"name_overflow": s.NamesOverflowed, "calls_overflow": s.CallsOverflowed, "edges_overflow": s.EdgesOverflowed,
	}
}
