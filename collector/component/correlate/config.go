// Package correlate runs the correlator inside the collector: fed by the intake, filled from the stores at start,
// its metrics written to the metric store.
package correlate

import (
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"

	"weft/collector/correlate"
)

// Config is extensions.correlate in the YAML.
type Config struct {
	// Replay is how far back the stores are read at start, so that exchanges survive a restart.
	Replay time.Duration `mapstructure:"replay"`
	// ReplayBytes bounds what is read then of each signal, the newest first: a start must not take long because a sender
	// sent much. 0 = no bound.
	ReplayBytes int64 `mapstructure:"replay_bytes"`
	// FlushInterval is how often RED metrics and the service graph are written to the metric store.
	FlushInterval time.Duration `mapstructure:"flush_interval"`
	// Limits bound the correlator's memory and the label sets of the metrics it generates; see docs/operations.md.
	Limits correlate.Config `mapstructure:"limits"`
}

func defaultConfig() component.Config {
	return &Config{Replay: 10 * time.Minute, ReplayBytes: 256 << 20, FlushInterval: 2 * time.Second, Limits: correlate.DefaultConfig()}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	if c.Replay < 0 {
		faults = append(faults, errors.New("replay: must not be negative"))
	}
	if c.ReplayBytes < 0 {
		faults = append(faults, errors.New("replay_bytes: must not be negative"))
	}
	if c.FlushInterval <= 0 {
		faults = append(faults, errors.New("flush_interval: must be positive"))
	}
	return errors.Join(faults...)
}
