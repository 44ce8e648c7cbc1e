package uplink

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// NewFactory makes the exporter "uplink". Each signal has its own connection and queue.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("uplink"), defaultConfig,
		exporter.WithTraces(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
			u := newUplink(cfg, set)
			return exporterhelper.NewTraces(ctx, set, cfg, u.traces, u.options()...)
		}, component.StabilityLevelStable),
		exporter.WithLogs(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			u := newUplink(cfg, set)
			return exporterhelper.NewLogs(ctx, set, cfg, u.logs, u.options()...)
		}, component.StabilityLevelStable),
		exporter.WithMetrics(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
			u := newUplink(cfg, set)
			return exporterhelper.NewMetrics(ctx, set, cfg, u.metrics, u.options()...)
		}, component.StabilityLevelStable))
}

func (u *uplink) options() []exporterhelper.Option {
	return []exporterhelper.Option{
		exporterhelper.WithTimeout(u.cfg.Timeout), exporterhelper.WithRetry(u.cfg.Retry), exporterhelper.WithQueue(u.cfg.Queue),
		exporterhelper.WithStart(u.start), exporterhelper.WithShutdown(u.shutdown),
	}
}
