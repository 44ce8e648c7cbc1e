package storeconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
)

// NewFactory makes the connector "store".
func NewFactory() connector.Factory {
	return connector.NewFactory(component.MustNewType("store"),
		func() component.Config { return &Config{} },
		connector.WithTracesToTraces(traces, component.StabilityLevelStable),
		connector.WithLogsToLogs(logs, component.StabilityLevelStable),
		connector.WithMetricsToMetrics(metrics, component.StabilityLevelStable))
}

func traces(_ context.Context, set connector.Settings, _ component.Config, next consumer.Traces) (connector.Traces, error) {
	s := &step[ptrace.Traces]{signal: otlp.SignalTraces, store: takeTraces, next: next.ConsumeTraces, log: set.Logger}
	return struct {
		*step[ptrace.Traces]
		consumer.ConsumeTracesFunc
	}{s, s.consume}, nil
}

func logs(_ context.Context, set connector.Settings, _ component.Config, next consumer.Logs) (connector.Logs, error) {
	s := &step[plog.Logs]{signal: otlp.SignalLogs, store: takeLogs, next: next.ConsumeLogs, log: set.Logger}
	return struct {
		*step[plog.Logs]
		consumer.ConsumeLogsFunc
	}{s, s.consume}, nil
}

func metrics(_ context.Context, set connector.Settings, _ component.Config, next consumer.Metrics) (connector.Metrics, error) {
	s := &step[pmetric.Metrics]{signal: otlp.SignalMetrics, store: takeMetrics, next: next.ConsumeMetrics, log: set.Logger}
	return struct {
		*step[pmetric.Metrics]
		consumer.ConsumeMetricsFunc
	}{s, s.consume}, nil
}

func takeTraces(ctx context.Context, in intake, batch ptrace.Traces) error {
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	if err != nil {
		return err
	}
	_, err = in.Take(ctx, otlp.SignalTraces, raw)
	return err
}

func takeLogs(ctx context.Context, in intake, batch plog.Logs) error {
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	if err != nil {
		return err
	}
	_, err = in.Take(ctx, otlp.SignalLogs, raw)
	return err
}

func takeMetrics(ctx context.Context, in intake, batch pmetric.Metrics) error {
	return in.TakeMetrics(ctx, batch)
}
