package storeconnector

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/collector/store"
)

// stores is the extension that owns them.
type stores interface{ Stores() *store.Set }

// batch is one signal's data.
type batch interface {
	ptrace.Traces | plog.Logs | pmetric.Metrics
}

// kind is what tells the signals apart.
type kind[T batch] struct {
	signal string
	count  func(T) int // items
	append func(context.Context, *store.Set, T) error
}

// step is one signal's way through the connector.
type step[T batch] struct {
	kind[T]
	pause time.Duration
	log   *zap.Logger
	next  func(context.Context, T) error
	set   *store.Set

	// The ledger of this hop: accepted = stored + refused.
	accepted, stored, refused metric.Int64Counter
	label                     metric.MeasurementOption
}

var tooLarge = metric.WithAttributes(attribute.String("reason", "too_large"))

func newStep[T batch](k kind[T], set connector.Settings, cfg *Config, next func(context.Context, T) error) (*step[T], error) {
	s := &step[T]{kind: k, pause: cfg.RetryAfter, log: set.Logger, next: next}
	s.label = metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", k.signal)))
	meter := set.MeterProvider.Meter("weft/storeconnector")
	var errs [3]error
	s.accepted, errs[0] = meter.Int64Counter("weft_store_accepted_items", metric.WithDescription("Spans, log records and data points that came to be stored."))
	s.stored, errs[1] = meter.Int64Counter("weft_store_stored_items", metric.WithDescription("Of these, the ones that are stored and acknowledged."))
	s.refused, errs[2] = meter.Int64Counter("weft_store_refused_items", metric.WithDescription("Of these, the ones that the sender was asked to send again, by reason."))
	return s, errors.Join(errs[:]...)
}

// Start finds the stores; extensions have started before any pipeline.
func (s *step[T]) Start(_ context.Context, host component.Host) error {
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(stores); ok {
			s.set = owner.Stores()
			return nil
		}
	}
	return errors.New("connector store: no extension owns stores; add \"store\" to service.extensions")
}

// Shutdown has nothing to wait for: a batch is stored or refused before consume returns.
func (s *step[T]) Shutdown(context.Context) error { return nil }

// Capabilities: batches are read, never changed.
func (s *step[T]) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// consume stores first, then hands on. What is stored is never refused: the sender would send it again, and it would be
// there twice.
func (s *step[T]) consume(ctx context.Context, batch T) error {
	items := int64(s.count(batch))
	s.accepted.Add(ctx, items, s.label)
	if err := s.append(ctx, s.set, batch); err != nil {
		return s.refuse(ctx, items, err)
	}
	s.stored.Add(ctx, items, s.label)
	if err := s.next(ctx, batch); err != nil {
		s.log.Warn("stored, but not handed on", zap.String("signal", s.signal), zap.Int64("items", items), zap.Error(err))
	}
	return nil
}

// refuse answers Unavailable with RetryInfo: the batch is not bad, the store is. Only one that exceeds a record is final.
func (s *step[T]) refuse(ctx context.Context, items int64, err error) error {
	reason := "error"
	switch {
	case errors.Is(err, store.ErrTooLarge):
		s.refused.Add(ctx, items, s.label, tooLarge)
		return status.Error(codes.InvalidArgument, s.signal+" can never be stored: "+err.Error())
	case errors.Is(err, store.ErrFull):
		reason = "full"
	case ctx.Err() != nil:
		reason = "cancelled"
	default:
		s.log.Error("store cannot append", zap.String("signal", s.signal), zap.Error(err))
	}
	s.refused.Add(ctx, items, s.label, metric.WithAttributes(attribute.String("reason", reason)))
	refusal, detailErr := status.New(codes.Unavailable, s.signal+" cannot be stored now: "+err.Error()).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(s.pause)})
	if detailErr != nil {
		return err
	}
	return refusal.Err()
}
