package queryextension

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is extensions.query in the YAML.
type Config struct {
	// Endpoint is the HOST:PORT of the console and of every query API.
	Endpoint string `mapstructure:"endpoint"`
	// Hosts are the names, besides loopback's, that a browser may reach this port under. It protects against DNS
	// rebinding: a page elsewhere cannot make its own name point here.
	Hosts []string `mapstructure:"hosts"`
	// Drain bounds how long a stop waits for answers under way.
	Drain time.Duration `mapstructure:"drain"`
}

func defaultConfig() component.Config {
	return &Config{Endpoint: "127.0.0.1:7070", Drain: 5 * time.Second}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		faults = append(faults, fmt.Errorf("endpoint: want HOST:PORT: %w", err))
	}
	if c.Drain <= 0 {
		faults = append(faults, errors.New("drain: must be positive"))
	}
	return errors.Join(faults...)
}
