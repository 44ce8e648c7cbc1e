package intake

import (
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is extensions.intake in the YAML.
type Config struct {
	// RetryAfter is the pause that a sender is asked for when the stores cannot take a batch.
	RetryAfter time.Duration `mapstructure:"retry_after"`
}

func defaultConfig() component.Config { return &Config{RetryAfter: time.Second} }

// Validate reports a pause under a second.
func (c *Config) Validate() error {
	if c.RetryAfter < time.Second {
		return errors.New("retry_after: at least 1s, for senders over HTTP see whole seconds")
	}
	return nil
}
