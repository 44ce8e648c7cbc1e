package storeconnector

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"weft/internal/otlp"
)

// intake is the extension that stores.
type intake interface {
	Take(context.Context, otlp.Signal, []byte) (otlp.Rejected, error)
	TakeMetrics(context.Context, pmetric.Metrics) error
}

// step is one signal's way through the connector.
type step[T ptrace.Traces | plog.Logs | pmetric.Metrics] struct {
	signal otlp.Signal
	store  func(context.Context, intake, T) error
	next   func(context.Context, T) error
	log    *zap.Logger
	intake intake
}

// Start finds the intake; extensions have started before any pipeline.
func (s *step[T]) Start(_ context.Context, host component.Host) error {
	for _, ext := range host.GetExtensions() {
		if in, ok := ext.(intake); ok {
			s.intake = in
			return nil
		}
	}
	return errors.New("connector store: no extension takes batches in; add \"intake\" to service.extensions")
}

// Shutdown has nothing to wait for: a batch is stored or refused before consume returns.
func (s *step[T]) Shutdown(context.Context) error { return nil }

// Capabilities: batches are read, never changed.
func (s *step[T]) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// consume stores first, then hands on. What is stored is never refused: the sender would send it again, and it would go
// to the next one twice.
func (s *step[T]) consume(ctx context.Context, batch T) error {
	if err := s.store(ctx, s.intake, batch); err != nil {
		return err
	}
	if err := s.next(ctx, batch); err != nil {
		s.log.Warn("stored, but not handed on", zap.String("signal", string(s.signal)), zap.Error(err))
	}
	return nil
}
