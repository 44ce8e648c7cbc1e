// Package pushback is the first processor of a pipeline: it makes every refusal tell the sender when to come again.
//
// A memory limiter and a full queue answer with plain errors, which the OTLP receiver sends on as Unavailable (503 over
// HTTP) without RetryInfo. Senders then guess, and some give up.
package pushback

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Config is processors.pushback in the YAML.
type Config struct {
	// RetryAfter is the pause that a refused sender is asked for; Retry-After over HTTP counts whole seconds.
	RetryAfter time.Duration `mapstructure:"retry_after"`
}

// Validate reports a pause under a second.
func (c *Config) Validate() error {
	if c.RetryAfter < time.Second {
		return errors.New("retry_after: at least 1s, for senders over HTTP see whole seconds")
	}
	return nil
}

// NewFactory makes the processor "pushback".
func NewFactory() processor.Factory {
	return processor.NewFactory(component.MustNewType("pushback"),
		func() component.Config { return &Config{RetryAfter: time.Second} },
		processor.WithTraces(func(_ context.Context, _ processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
			return struct {
				idle
				consumer.ConsumeTracesFunc
			}{ConsumeTracesFunc: wrap(cfg, next.ConsumeTraces)}, nil
		}, component.StabilityLevelStable),
		processor.WithLogs(func(_ context.Context, _ processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
			return struct {
				idle
				consumer.ConsumeLogsFunc
			}{ConsumeLogsFunc: wrap(cfg, next.ConsumeLogs)}, nil
		}, component.StabilityLevelStable),
		processor.WithMetrics(func(_ context.Context, _ processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
			return struct {
				idle
				consumer.ConsumeMetricsFunc
			}{ConsumeMetricsFunc: wrap(cfg, next.ConsumeMetrics)}, nil
		}, component.StabilityLevelStable))
}

// idle is a component without a life of its own that changes no data.
type idle struct {
	component.StartFunc
	component.ShutdownFunc
}

func (idle) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func wrap[T ptrace.Traces | plog.Logs | pmetric.Metrics](cfg component.Config, next func(context.Context, T) error) func(context.Context, T) error {
	pause := cfg.(*Config).RetryAfter
	return func(ctx context.Context, batch T) error { return refuse(next(ctx, batch), pause) }
}

// refuse turns an error that a repeat may cure into Unavailable with RetryInfo. Permanent errors, and those whose sender
// has chosen a gRPC status already, pass as they are.
func refuse(err error, pause time.Duration) error {
	if err == nil || consumererror.IsPermanent(err) {
		return err
	}
	if _, chosen := status.FromError(err); chosen {
		return err
	}
	refusal, detailErr := status.New(codes.Unavailable, err.Error()).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pause)})
	if detailErr != nil {
		return err
	}
	return refusal.Err()
}
