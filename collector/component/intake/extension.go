package intake

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/collector/correlate"
	"weft/collector/store"
	"weft/internal/otlp"
)

// NewFactory makes the extension "intake".
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType("intake"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// Extension takes batches in. It is a Sink of the receiver "otlp", and what the connector "store" hands batches to.
type Extension struct {
	cfg          *Config
	set          extension.Settings
	traces, logs taker
	metrics      metricStore
	refused      metric.Int64Counter
	last         atomic.Pointer[refusal]
}

// refusal is what a store last said no to, for a reason of its own.
type refusal struct {
	at  time.Time
	why string
}

// refusalCounts is how long a refusal says that the stores refuse: senders come again within seconds.
const refusalCounts = 15 * time.Second

// Refusing says whether the stores refuse what comes, and why. The alert extension asks.
func (e *Extension) Refusing() (bool, string) {
	last := e.last.Load()
	if last == nil || time.Since(last.at) > refusalCounts {
		return false, ""
	}
	return true, last.why
}

type metricStore interface {
	Append(context.Context, pmetric.Metrics) error
}

// taker is one signal's way in.
type taker interface {
	take(ctx context.Context, batch []byte) (otlp.Rejected, error)
}

// Dependencies makes the stores and the correlator start first.
func (e *Extension) Dependencies() []component.ID {
	return []component.ID{component.MustNewID("store"), component.MustNewID("correlate")}
}

// Start finds the stores and the correlator.
func (e *Extension) Start(_ context.Context, host component.Host) (err error) {
	var stores *store.Set
	var correlator *correlate.Correlator
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(interface{ Stores() *store.Set }); ok {
			stores = owner.Stores()
		}
		if owner, ok := ext.(interface{ Correlator() *correlate.Correlator }); ok {
			correlator = owner.Correlator()
		}
	}
	if stores == nil || correlator == nil {
		return errors.New(`extension intake: needs "store" and "correlate" in service.extensions`)
	}
	e.metrics = stores.Metrics
	e.traces, e.logs = newTraces(stores.Traces, correlator), newLogs(stores.Logs, correlator)
	e.refused, err = e.set.MeterProvider.Meter("weft/intake").Int64Counter("weft_store_refused_batches",
		metric.WithDescription("Batches that the sender was asked to send again, by signal and reason."))
	return err
}

// Shutdown has nothing to wait for: a batch is stored or refused before Take returns.
func (e *Extension) Shutdown(context.Context) error { return nil }

// Takes says that spans and log records are taken as bytes. Metrics go through a pipeline: their store wants them decoded.
func (e *Extension) Takes(signal otlp.Signal) bool { return signal != otlp.SignalMetrics }

// Take stores a batch, then correlates what is in it. The batch is valid during the call only. A refusal carries
// RetryInfo: the batch is not bad, the store is. Only one that is malformed, or exceeds a record, is final.
func (e *Extension) Take(ctx context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error) {
	way := e.traces
	if signal == otlp.SignalLogs {
		way = e.logs
	}
	rejected, err := way.take(ctx, batch)
	if err != nil {
		return rejected, e.refuse(ctx, signal, err)
	}
	return rejected, nil
}

// TakeMetrics stores decoded metrics. A refusal is as Take's.
func (e *Extension) TakeMetrics(ctx context.Context, batch pmetric.Metrics) error {
	if err := e.metrics.Append(ctx, batch); err != nil {
		return e.refuse(ctx, otlp.SignalMetrics, err)
	}
	return nil
}

func (e *Extension) refuse(ctx context.Context, signal otlp.Signal, err error) error {
	reason, code := "error", codes.Unavailable
	switch {
	case errors.Is(err, otlp.ErrMalformed):
		reason, code = "malformed", codes.InvalidArgument
	case errors.Is(err, store.ErrTooLarge):
		reason, code = "too_large", codes.InvalidArgument
	case errors.Is(err, store.ErrFull):
		reason = "full"
		e.last.Store(&refusal{time.Now(), fmt.Sprintf("%s cannot be stored: %v", signal, err)})
	case ctx.Err() != nil:
		reason = "cancelled"
	default:
		e.last.Store(&refusal{time.Now(), fmt.Sprintf("%s cannot be stored: %v", signal, err)})
		e.set.Logger.Error("store cannot append", zap.String("signal", string(signal)), zap.Error(err))
	}
	e.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("signal", string(signal)), attribute.String("reason", reason)))
	if code == codes.InvalidArgument {
		return status.Error(code, fmt.Sprintf("%s can never be stored: %v", signal, err))
	}
	answer, detailErr := status.New(code, fmt.Sprintf("%s cannot be stored now: %v", signal, err)).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(e.cfg.RetryAfter, time.Second))})
	if detailErr != nil {
		return err
	}
	return answer.Err()
}
