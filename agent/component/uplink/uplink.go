// Package uplink is the exporter by which a pipeline's signals leave for the collector: it puts them into the agent's
// queue, which sends them.
package uplink

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

// queue is the extension that takes what is to be sent: an error says that it has not, and is a gRPC status.
type queue interface {
	Take(ctx context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error)
}

// NewFactory makes the exporter "uplink". It has no settings of its own: they are the queue's.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("uplink"), func() component.Config { return &struct{}{} },
		exporter.WithTraces(func(_ context.Context, set exporter.Settings, _ component.Config) (exporter.Traces, error) {
			return traces{&uplink{log: set.Logger}}, nil
		}, component.StabilityLevelStable),
		exporter.WithLogs(func(_ context.Context, set exporter.Settings, _ component.Config) (exporter.Logs, error) {
			return logs{&uplink{log: set.Logger}}, nil
		}, component.StabilityLevelStable),
		exporter.WithMetrics(func(_ context.Context, set exporter.Settings, _ component.Config) (exporter.Metrics, error) {
			return metrics{&uplink{log: set.Logger}}, nil
		}, component.StabilityLevelStable))
}

// uplink carries one signal.
type uplink struct {
	log   *zap.Logger
	queue queue
	component.ShutdownFunc
}

// Start finds the queue among the extensions.
func (u *uplink) Start(_ context.Context, host component.Host) error {
	for _, extension := range host.GetExtensions() {
		if q, ok := extension.(queue); ok {
			u.queue = q
			return nil
		}
	}
	return errors.New("uplink: no extension keeps what is to be sent: add queue to service.extensions")
}

// Capabilities says that batches are read, not changed.
func (*uplink) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (u *uplink) take(ctx context.Context, signal otlp.Signal, batch []byte, err error) error {
	if err != nil {
		return err
	}
	rejected, err := u.queue.Take(ctx, signal, batch)
	if rejected.Items > 0 && err == nil {
		u.log.Warn("items of a pipeline cannot be kept", zap.String("signal", string(signal)), zap.Int64("items", rejected.Items), zap.String("reason", rejected.Why))
	}
	if status.Code(err) == codes.InvalidArgument {
		return consumererror.NewPermanent(err) // nobody is to try again
	}
	return err
}

type traces struct{ *uplink }
type logs struct{ *uplink }
type metrics struct{ *uplink }

func (u traces) ConsumeTraces(ctx context.Context, batch ptrace.Traces) error {
	bytes, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	return u.take(ctx, otlp.SignalTraces, bytes, err)
}

func (u logs) ConsumeLogs(ctx context.Context, batch plog.Logs) error {
	bytes, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	return u.take(ctx, otlp.SignalLogs, bytes, err)
}

func (u metrics) ConsumeMetrics(ctx context.Context, batch pmetric.Metrics) error {
	bytes, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(batch)
	return u.take(ctx, otlp.SignalMetrics, bytes, err)
}
