package correlate

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

const componentType = "correlate"

// ExtensionFactory makes the extension "correlate".
func (k *Keeper) ExtensionFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType(componentType), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{keeper: k, cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}
