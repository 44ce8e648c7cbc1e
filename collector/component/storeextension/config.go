package storeextension

import (
	"go.opentelemetry.io/collector/component"

	"weft/collector/store"
)

// Config is extensions.store in the YAML.
type Config struct {
	store.Config `mapstructure:",squash"`
}

func defaultConfig() component.Config {
	cfg := store.DefaultConfig()
	cfg.Dir = "data/collector/store"
	return &Config{cfg}
}
