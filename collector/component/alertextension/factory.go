package alertextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// Type is the extension's name in the collector's YAML.
const Type = "alert"

// NewFactory makes the extension known to the collector.
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType(Type),
		func() component.Config { return defaultConfig() },
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return newAlert(set, cfg.(*Config)), nil
		},
		component.StabilityLevelBeta)
}
