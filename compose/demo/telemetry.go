package demo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	spanDelay      = 200 * time.Millisecond
	metricInterval = 5 * time.Second
	// exportPatience is longer than an agent hangs or restarts: after the SDK's default of 10 s it would drop the batch.
	exportPatience = 2 * time.Minute
)

// instrument sets the SDK up as its documentation says; the exporters read OTEL_EXPORTER_OTLP_ENDPOINT.
func instrument(ctx context.Context, name string, s settings) (*slog.Logger, func(context.Context) error, error) {
	described := resource.NewSchemaless(attribute.String("service.name", name),
		attribute.String("service.instance.id", s.instance), attribute.String("service.version", "1"))
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithTimeout(exportPatience))
	if err != nil {
		return nil, nil, err
	}
	batches := sdktrace.WithBatcher(spans, sdktrace.WithBatchTimeout(spanDelay), sdktrace.WithExportTimeout(exportPatience))
	traces := sdktrace.NewTracerProvider(batches, sdktrace.WithResource(described))
	points, err := otlpmetricgrpc.New(ctx)
	if err != nil {
		return nil, nil, err
	}
	metrics := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(points, metric.WithInterval(metricInterval))), metric.WithResource(described))
	otel.SetTracerProvider(traces)
	otel.SetMeterProvider(metrics)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	log, stopLog, err := newLogger(ctx, name, s, described)
	return log, func(ctx context.Context) error {
		return errors.Join(traces.Shutdown(ctx), metrics.Shutdown(ctx), stopLog(ctx))
	}, err
}

// newLogger sends records over OTLP, or writes them to a file as JSON for the agent to tail.
func newLogger(ctx context.Context, name string, s settings, described *resource.Resource) (*slog.Logger, func(context.Context) error, error) {
	if s.logFile != "" {
		file, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, err
		}
		return fileLogger(file, name, s.instance), func(context.Context) error { return file.Close() }, nil
	}
	records, err := otlploggrpc.New(ctx, otlploggrpc.WithTimeout(exportPatience))
	if err != nil {
		return nil, nil, err
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(described),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(records, sdklog.WithExportInterval(spanDelay), sdklog.WithExportTimeout(exportPatience))))
	return otelslog.NewLogger(name, otelslog.WithLoggerProvider(provider)), provider.Shutdown, nil
}

func fileLogger(file io.Writer, name, instance string) *slog.Logger {
	handler := slog.NewJSONHandler(file, nil).WithAttrs([]slog.Attr{slog.String("service", name), slog.String("instance", instance)})
	return slog.New(withTrace{handler})
}

// withTrace adds the IDs that the OTLP bridge would have taken from the context.
type withTrace struct{ slog.Handler }

func (h withTrace) Handle(ctx context.Context, r slog.Record) error {
	if at := trace.SpanContextFromContext(ctx); at.IsValid() {
		r.AddAttrs(slog.String("trace_id", at.TraceID().String()), slog.String("span_id", at.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withTrace) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withTrace{h.Handler.WithAttrs(attrs)}
}
func (h withTrace) WithGroup(name string) slog.Handler { return withTrace{h.Handler.WithGroup(name)} }
