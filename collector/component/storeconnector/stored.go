package storeconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// StoredFactory makes the exporter "stored": the end of a pipeline behind the connector, which wants one. Exporters to
// other engines take its place or stand beside it.
func StoredFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("stored"),
		func() component.Config { return &Config{} },
		exporter.WithTraces(func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
			return end{}, nil
		}, component.StabilityLevelStable),
		exporter.WithLogs(func(context.Context, exporter.Settings, component.Config) (exporter.Logs, error) {
			return end{}, nil
		}, component.StabilityLevelStable),
		exporter.WithMetrics(func(context.Context, exporter.Settings, component.Config) (exporter.Metrics, error) {
			return end{}, nil
		}, component.StabilityLevelStable))
}

type end struct {
	component.StartFunc
	component.ShutdownFunc
}

func (end) Capabilities() consumer.Capabilities                   { return consumer.Capabilities{} }
func (end) ConsumeTraces(context.Context, ptrace.Traces) error    { return nil }
func (end) ConsumeLogs(context.Context, plog.Logs) error          { return nil }
func (end) ConsumeMetrics(context.Context, pmetric.Metrics) error { return nil }
