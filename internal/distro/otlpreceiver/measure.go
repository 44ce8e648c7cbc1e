package otlpreceiver

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// meters are the ledger of this hop: what came = accepted + rejected + refused.
type meters struct {
	accepted, rejected            metric.Int64Counter
	refusedItems, refusedRequests metric.Int64Counter
	inFlight                      metric.Registration
}

func newMeters(provider metric.MeterProvider, b *budget) (*meters, error) {
	meter := provider.Meter("weft/otlpreceiver")
	m := &meters{}
	var errs [6]error
	m.accepted, errs[0] = meter.Int64Counter("weft_receiver_accepted_items", metric.WithDescription("Spans, log records and data points that were acknowledged."))
	m.rejected, errs[1] = meter.Int64Counter("weft_receiver_rejected_items", metric.WithDescription("Items left out of an acknowledged batch and reported to the sender, by reason."))
	m.refusedItems, errs[2] = meter.Int64Counter("weft_receiver_refused_items", metric.WithDescription("Items in requests that were refused, by reason; of a request that could not be read none are counted."))
	m.refusedRequests, errs[3] = meter.Int64Counter("weft_receiver_refused_requests", metric.WithDescription("Requests that were refused, by reason."))
	gauge, err := meter.Int64ObservableGauge("weft_receiver_in_flight_bytes", metric.WithUnit("By"), metric.WithDescription("Bytes of messages that are being read or handled."))
	errs[4] = err
	m.inFlight, errs[5] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(gauge, b.used.Load())
		return nil
	}, gauge)
	return m, errors.Join(errs[:]...)
}
