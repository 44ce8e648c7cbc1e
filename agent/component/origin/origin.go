// Package origin is the processor that says where the agent's own measurements come from.
//
// The host metrics receiver leaves service.name and service.instance.id out. Without them two agents would write the
// very same series.
package origin

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"

	"weft/internal/semconv"
)

// Config is processors.origin in the YAML.
type Config struct {
	Service  string `mapstructure:"service"`  // service.name where a resource has none
	Instance string `mapstructure:"instance"` // service.instance.id where a resource has none
}

// Validate reports missing names.
func (c *Config) Validate() error {
	if c.Service == "" || c.Instance == "" {
		return errors.New("service and instance are required")
	}
	return nil
}

// NewFactory makes the processor "origin".
func NewFactory() processor.Factory {
	return processor.NewFactory(component.MustNewType("origin"),
		func() component.Config { return &Config{} },
		processor.WithMetrics(create, component.StabilityLevelStable))
}

func create(ctx context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	c := cfg.(*Config)
	stamp := func(_ context.Context, batch pmetric.Metrics) (pmetric.Metrics, error) {
		for _, rm := range batch.ResourceMetrics().All() {
			attrs := rm.Resource().Attributes()
			if _, named := attrs.Get(semconv.ServiceName); named {
				continue
			}
			attrs.PutStr(semconv.ServiceName, c.Service)
			attrs.PutStr(semconv.ServiceInstanceID, c.Instance)
		}
		return batch, nil
	}
	return processorhelper.NewMetrics(ctx, set, cfg, next, stamp, processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true}))
}
