// Package storeconnector is the point of acknowledgement: it appends a batch to the stores, and only what is stored is
// acknowledged and handed on.
package storeconnector

import (
	"errors"
	"time"
)

// Config is connectors.store in the YAML.
type Config struct {
	// RetryAfter is the pause that a sender is asked for when the stores cannot take a batch.
	RetryAfter time.Duration `mapstructure:"retry_after"`
}

// Validate reports a pause under a second.
func (c *Config) Validate() error {
	if c.RetryAfter < time.Second {
		return errors.New("retry_after: at least 1s, for senders over HTTP see whole seconds")
	}
	return nil
}
