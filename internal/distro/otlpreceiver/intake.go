package otlpreceiver

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"weft/internal/otlp"
)

// intake is where one signal's batches go from one transport: to a pipeline if the YAML gives it one, else to a Sink.
type intake struct {
	signal   otlp.Signal
	pipeline pipeline
	sink     Sink
	meters   *meters
	labels   metric.MeasurementOption // signal and transport
	attrs    []attribute.KeyValue     // the same
}

func newIntake(signal otlp.Signal, transport string, m *meters) *intake {
	attrs := []attribute.KeyValue{attribute.String("signal", string(signal)), attribute.String("transport", transport)}
	return &intake{signal: signal, meters: m, attrs: attrs, labels: metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

// take returns nil once the batch is where it belongs, without what was rejected.
func (t *intake) take(ctx context.Context, l *lease, batch []byte) (Rejected, error) {
	rejected, items, err := t.hand(ctx, l, batch)
	if err != nil {
		t.refuse(ctx, err, items)
		return rejected, err
	}
	t.meters.accepted.Add(ctx, int64(items)-rejected.Items, t.labels)
	if rejected.Items > 0 {
		t.meters.rejected.Add(ctx, rejected.Items, t.labels, metric.WithAttributes(attribute.String("reason", rejectReason(rejected.Reason))))
	}
	return rejected, nil
}

// hand is take without the counting; items are all that came.
func (t *intake) hand(ctx context.Context, l *lease, batch []byte) (rejected Rejected, items int, err error) {
	if t.pipeline == nil {
		if items, err = t.signal.Items(batch); items == 0 || err != nil {
			return rejected, items, err
		}
		rejected, err = t.sink.Take(ctx, t.signal, batch)
		return rejected, items, err
	}
	kept, good, rejected, err := otlp.Admit(t.signal, batch)
	items = good + int(rejected.Items)
	if good == 0 || err != nil {
		return rejected, items, err
	}
	decoded, err := t.signal.Decoded(kept)
	if err != nil {
		return rejected, items, err
	}
	if err := l.reserve(decoded); err != nil {
		return rejected, items, err
	}
	return rejected, items, t.pipeline(ctx, kept)
}

// refuse counts a request that failed, with the items that were found in it.
func (t *intake) refuse(ctx context.Context, err error, items int) {
	why := metric.WithAttributes(attribute.String("reason", reason(err, refusal(err))))
	t.meters.refusedRequests.Add(ctx, 1, t.labels, why)
	if items > 0 {
		t.meters.refusedItems.Add(ctx, int64(items), t.labels, why)
	}
}

// rejectReason bounds what a Sink may make a label of.
func rejectReason(r otlp.Reason) string {
	switch r {
	case otlp.ReasonID, otlp.ReasonAttributes:
		return string(r)
	}
	return "other"
}
