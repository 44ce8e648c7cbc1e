package correlate

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/extension"
)

// componentType names both halves: the extension that keeps the correlator, and the exporter that feeds it.
const componentType = "correlate"

// ExtensionFactory makes the extension "correlate".
func (k *Keeper) ExtensionFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType(componentType), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{keeper: k, cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// ExporterFactory makes the exporter "correlate", the end of the pipelines.
func ExporterFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType(componentType),
		func() component.Config { return &struct{}{} },
		exporter.WithTraces(func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
			return newFeed(), nil
		}, component.StabilityLevelStable),
		exporter.WithLogs(func(context.Context, exporter.Settings, component.Config) (exporter.Logs, error) {
			return newFeed(), nil
		}, component.StabilityLevelStable),
		exporter.WithMetrics(func(context.Context, exporter.Settings, component.Config) (exporter.Metrics, error) {
			return newFeed(), nil
		}, component.StabilityLevelStable))
}
