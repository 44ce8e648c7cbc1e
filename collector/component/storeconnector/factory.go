package storeconnector

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/store"
)

// NewFactory makes the connector "store".
func NewFactory() connector.Factory {
	return connector.NewFactory(component.MustNewType("store"),
		func() component.Config { return &Config{RetryAfter: time.Second} },
		connector.WithTracesToTraces(traces, component.StabilityLevelStable),
		connector.WithLogsToLogs(logs, component.StabilityLevelStable),
		connector.WithMetricsToMetrics(metrics, component.StabilityLevelStable))
}

func traces(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Traces) (connector.Traces, error) {
	s, err := newStep(kind[ptrace.Traces]{"traces", ptrace.Traces.SpanCount, appendTraces}, set, cfg.(*Config), next.ConsumeTraces)
	return struct {
		*step[ptrace.Traces]
		consumer.ConsumeTracesFunc
	}{s, s.consume}, err
}

func logs(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Logs, error) {
	s, err := newStep(kind[plog.Logs]{"logs", plog.Logs.LogRecordCount, appendLogs}, set, cfg.(*Config), next.ConsumeLogs)
	return struct {
		*step[plog.Logs]
		consumer.ConsumeLogsFunc
	}{s, s.consume}, err
}

func metrics(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Metrics, error) {
	s, err := newStep(kind[pmetric.Metrics]{"metrics", pmetric.Metrics.DataPointCount, appendMetrics}, set, cfg.(*Config), next.ConsumeMetrics)
	return struct {
		*step[pmetric.Metrics]
		consumer.ConsumeMetricsFunc
	}{s, s.consume}, err
}

func appendTraces(ctx context.Context, set *store.Set, batch ptrace.Traces) error {
	return set.Traces.Append(ctx, batch)
}

func appendLogs(ctx context.Context, set *store.Set, batch plog.Logs) error {
	return set.Logs.Append(ctx, batch)
}

func appendMetrics(ctx context.Context, set *store.Set, batch pmetric.Metrics) error {
	return set.Metrics.Append(ctx, batch)
}
