package samplelane

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"weft/internal/identity"
)

// NewFactory makes the extension "samplelane".
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType("samplelane"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			c := cfg.(*Config)
			if !c.Identity.Enabled() {
				return closed{set.Logger}, nil
			}
			return newLane(c, identity.NewSource(c.Identity, c.id()), set.TelemetrySettings)
		}, component.StabilityLevelStable)
}

// closed is the lane of an agent outside a mesh: an app without proxies sends no samples.
type closed struct{ log *zap.Logger }

func (c closed) Start(context.Context, component.Host) error {
	c.log.Info("no identity configured, the sample lane stays closed")
	return nil
}

func (c closed) Shutdown(context.Context) error { return nil }
