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
	var errs [6]error
	var taken, dropped, overflowed metric.Int64ObservableCounter
	var known, values metric.Int64ObservableGauge
	taken, errs[0] = meter.Int64ObservableCounter("weft_correlate_taken_items", metric.WithDescription("Spans and log records taken in, by signal."))
	dropped, errs[1] = meter.Int64ObservableCounter("weft_correlate_dropped", metric.WithDescription("What was not kept, counted or joined, by reason."))
	known, errs[2] = meter.Int64ObservableGauge("weft_correlate_exchanges", metric.WithDescription("Exchanges remembered now."))
	overflowed, errs[3] = meter.Int64ObservableCounter("weft_series_overflowed_items",
		metric.WithDescription("Spans and calls counted as \"_other\", by the service that gave a label too many values, and the label."))
	values, errs[4] = meter.Int64ObservableGauge("weft_series_overflowed_values",
		metric.WithDescription("Different values of the label that were turned away: an estimate."))
	e.counters, errs[5] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.correlator.Stats()
		o.ObserveInt64(taken, int64(s.Spans), metric.WithAttributes(attribute.String("signal", "traces")))
		o.ObserveInt64(taken, int64(s.Logs), metric.WithAttributes(attribute.String("signal", "logs")))
		o.ObserveInt64(known, int64(s.Exchanges))
		for reason, n := range reasons(s) {
			o.ObserveInt64(dropped, int64(n), metric.WithAttributes(attribute.String("reason", reason)))
		}
		for _, one := range e.correlator.Offenders() {
			by := metric.WithAttributes(attribute.String("service", one.Service), attribute.String("label", one.Label))
			o.ObserveInt64(overflowed, int64(one.Items), by)
			o.ObserveInt64(values, int64(one.Values), by)
		}
		return nil
	}, taken, dropped, known, overflowed, values)
	return errors.Join(errs[:]...)
}

func reasons(s correlate.Stats) map[string]uint64 {
	return map[string]uint64{
		"duplicate": s.Duplicates, "invalid": s.Invalid, "unrelated": s.Unrelated, "exchange_evicted": s.ExchangesEvicted,
		"join_refused": s.JoinsRefused, "pending_full": s.PendingDropped, "unpaired": s.Unpaired,
		"forgotten_early": s.ForgottenEarly,
	}
}
