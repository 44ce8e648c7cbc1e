package otlpreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"

	"weft/internal/otlp"
)

// Sink owns the log that batches of a signal go into as they came. An extension that is a Sink is found through the host.
type Sink interface {
	Takes(signal otlp.Signal) bool
	// Take returns nil once the batch is durable. The batch is the OTLP Export…ServiceRequest in protobuf; it is valid
	// during the call only. An error with a gRPC status is the sender's answer; one that wraps otlp.ErrMalformed says
	// that the batch can never be kept; every other one asks the sender to come again.
	Take(ctx context.Context, signal otlp.Signal, batch []byte) (Rejected, error)
}

// Rejected is what a Sink left out of a batch whose rest it kept.
type Rejected = otlp.Rejected

// sinkFor finds the extension that takes a signal.
func sinkFor(host component.Host, signal otlp.Signal) Sink {
	for _, ext := range host.GetExtensions() {
		if sink, ok := ext.(Sink); ok && sink.Takes(signal) {
			return sink
		}
	}
	return nil
}
