// Package healthextension runs the health engine inside the collector: reports in and verdicts out over the mTLS lane.
//
//	keeper.go           one judge a process, kept across reloads
//	healthextension.go  the extension: what other components see of it
//	judge.go            the engine's clock: ticks, listeners, what a restart must know
//	lane.go             the gRPC services Samples (agents, proxies) and Health (control)
//	ledger.go           lease term and verdicts on disk
//	diary.go            every change of a verdict as a record in the log store
package healthextension

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"

	"weft/collector/health"
	"weft/internal/config"
	"weft/internal/identity"
)

// Config is extensions.health in the YAML.
type Config struct {
	// Lane is the HOST:PORT that agents and proxies report to and control takes verdicts from, with mTLS.
	Lane string `mapstructure:"lane"`
	// Instance is this collector's name in its identity, unique in the mesh.
	Instance string `mapstructure:"instance"`
	// Identity says where the collector's certificate comes from. Without socket and control there is no mesh, and the
	// lane stays closed.
	Identity identity.Config `mapstructure:"identity"`
	// Data is the folder that keeps the lease term and the verdicts in force.
	Data string `mapstructure:"data"`
	// DefaultTrust is how far a verdict may go: observe, weight or eject. Trust names services with another.
	DefaultTrust string            `mapstructure:"default_trust"`
	Trust        map[string]string `mapstructure:"trust"`
	// Percent of a service that may be ejected at once, at least one endpoint, never all.
	Percent int `mapstructure:"percent"`
	// BetweenFalseAlarms is the mean time between two false alarms of one service; shorter is faster.
	BetweenFalseAlarms time.Duration `mapstructure:"between_false_alarms"`
	// Settle is how long a started collector listens before it judges and speaks.
	Settle time.Duration `mapstructure:"settle"`
	// Backoff is the time from an ejection to the probe; it doubles with every failed probe, to MaxBackoff.
	Backoff    time.Duration `mapstructure:"backoff"`
	MaxBackoff time.Duration `mapstructure:"max_backoff"`
	// Expiry ends a verdict that no attempt has supported for as long.
	Expiry time.Duration `mapstructure:"expiry"`
}

func defaultConfig() component.Config {
	h := health.DefaultConfig()
	return &Config{
		Lane: "127.0.0.1:14319", Instance: "collector-1", Data: "data/collector/health",
		DefaultTrust: string(h.DefaultTrust), Percent: h.Percent, BetweenFalseAlarms: h.BetweenFalseAlarms,
		Settle: h.Settle, Backoff: h.Backoff, MaxBackoff: h.MaxBackoff, Expiry: h.Expiry,
	}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	faults := c.engine().Validate("")
	if _, _, err := net.SplitHostPort(c.Lane); err != nil {
		faults = append(faults, config.Faultf("lane", "want HOST:PORT: %v", err))
	}
	if err := c.id().Validate(); err != nil {
		faults = append(faults, fmt.Errorf("instance: %w", err))
	}
	if c.Data == "" {
		faults = append(faults, config.Faultf("data", "is required: the lease term must survive a restart"))
	}
	if c.Identity.Enabled() {
		faults = append(faults, c.Identity.Validate("identity"))
	}
	return errors.Join(faults...)
}

func (c *Config) engine() health.Config {
	trust := make(map[string]health.Trust, len(c.Trust))
	for service, level := range c.Trust {
		trust[service] = health.Trust(level)
	}
	return health.Config{
		Trust: trust, DefaultTrust: health.Trust(c.DefaultTrust), Percent: c.Percent, BetweenFalseAlarms: c.BetweenFalseAlarms,
		Settle: c.Settle, Backoff: c.Backoff, MaxBackoff: c.MaxBackoff, Expiry: c.Expiry,
	}
}

func (c *Config) id() identity.ID {
	domain := c.Identity.TrustDomain
	if domain == "" {
		domain = identity.TrustDomain
	}
	return identity.ID{TrustDomain: domain, Role: identity.RoleCollector, Service: "collector", Instance: c.Instance}
}
