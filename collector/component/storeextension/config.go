package storeextension

import (
	"go.opentelemetry.io/collector/component"

	"weft/collector/store"
)

// Config is extensions.store in the YAML.
type Config store.Config

// Validate joins all faults.
func (c *Config) Validate() error { return store.Config(*c).Validate() }

func defaultConfig() component.Config {
	cfg := Config(store.DefaultConfig())
	cfg.Dir = "data/collector/store"
	return &cfg
}
