// Package samplelane relays the proxies' own counts to the collector, on a lane that no disk queue delays.
package samplelane

import (
	"errors"
	"fmt"
	"net"

	"go.opentelemetry.io/collector/component"

	"weft/internal/identity"
)

// Config is extensions.samplelane in the YAML.
type Config struct {
	// Endpoint is the HOST:PORT on which proxies stream their reports, with mTLS.
	Endpoint string `mapstructure:"endpoint"`
	// Collector is the HOST:PORT of the collector's lane; empty takes reports and sends them nowhere.
	Collector string `mapstructure:"collector"`
	// Instance is this agent's name in its identity, unique in the mesh.
	Instance string `mapstructure:"instance"`
	// Identity says where the agent's certificate comes from. Without socket and control there is no mesh, and the lane
	// stays closed.
	Identity identity.Config `mapstructure:"identity"`
}

func defaultConfig() component.Config {
	return &Config{Endpoint: "127.0.0.1:4319", Collector: "127.0.0.1:14319", Instance: "agent-1"}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		faults = append(faults, fmt.Errorf("endpoint: want HOST:PORT: %w", err))
	}
	if c.Collector != "" {
		if _, _, err := net.SplitHostPort(c.Collector); err != nil {
			faults = append(faults, fmt.Errorf("collector: want HOST:PORT: %w", err))
		}
	}
	if err := c.id().Validate(); err != nil {
		faults = append(faults, fmt.Errorf("instance: %w", err))
	}
	if c.Identity.Enabled() {
		faults = append(faults, c.Identity.Validate("identity"))
	}
	return errors.Join(faults...)
}

func (c *Config) id() identity.ID {
	domain := c.Identity.TrustDomain
	if domain == "" {
		domain = identity.TrustDomain
	}
	return identity.ID{TrustDomain: domain, Role: identity.RoleAgent, Service: "agent", Instance: c.Instance}
}
