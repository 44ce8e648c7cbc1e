package otlpreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"weft/internal/otlp"
)

type tlsConfig = configtls.ServerConfig

// NewFactory makes the receiver "otlp".
func NewFactory() receiver.Factory {
	return receiver.NewFactory(component.MustNewType("otlp"),
		func() component.Config { return DefaultConfig() },
		receiver.WithTraces(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Traces) (receiver.Traces, error) {
			return join(cfg, set, otlp.SignalTraces, tracesPipeline(next)), nil
		}, component.StabilityLevelStable),
		receiver.WithLogs(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
			return join(cfg, set, otlp.SignalLogs, logsPipeline(next)), nil
		}, component.StabilityLevelStable),
		receiver.WithMetrics(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
			return join(cfg, set, otlp.SignalMetrics, metricsPipeline(next)), nil
		}, component.StabilityLevelStable))
}

func join(cfg component.Config, set receiver.Settings, signal otlp.Signal, next pipeline) *otlpReceiver {
	c := cfg.(*Config)
	r := c.shared.join(signal, func() *otlpReceiver { return newReceiver(c, set) })
	r.pipelines[signal] = next
	return r
}
