package sidecar

import (
	"errors"
	"fmt"
	"net"
	"time"

	"weft/internal/balance"
	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/telemetry"
)

// Config is a sidecar's YAML file. Addresses, service, instance and identity are read at start; a reload applies the
// rest.
type Config struct {
	// Service and Instance are who the application is; the certificate is for them.
	Service  string `yaml:"service"`
	Instance string `yaml:"instance"`
	// Version is the application's; verdicts tell versions apart.
	Version string `yaml:"version"`
	Zone    string `yaml:"zone"`
	// Ops is the address of /healthz, /readyz, /metrics and /endpoints.
	Ops      string          `yaml:"ops"`
	Identity identity.Config `yaml:"identity"`
	// Control is where endpoints come from and where this one registers; empty: static services only.
	Control   string           `yaml:"control"`
	Telemetry telemetry.Config `yaml:"telemetry"`
	Breaker   balance.Breaker  `yaml:"breaker"`
	Retry     forward.Retry    `yaml:"retry"`
	Inbound   Inbound          `yaml:"inbound"`
	Outbound  Outbound         `yaml:"outbound"`
	TCPRoutes []TCPRoute       `yaml:"tcp_routes"`
	// Services are plain endpoints without a sidecar; they win over control's of the same name.
	Services map[string]endpoints.StaticService `yaml:"services"`
}

// Inbound is the way from the mesh to the application.
type Inbound struct {
	Listen   string `yaml:"listen"`   // mTLS, for the mesh; on an address that other nodes reach, not on all
	App      string `yaml:"app"`      // the application: HOST:PORT, or unix:///PATH
	Protocol string `yaml:"protocol"` // "http" or "tcp"
	// Allow are the services that may call; empty: every service of the mesh.
	Allow           []string      `yaml:"allow"`
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`
	ResponseTimeout time.Duration `yaml:"response_timeout"`
}

// Outbound is the application's way to the mesh: a plain HTTP proxy on loopback.
type Outbound struct {
	Listen string `yaml:"listen"` // empty: the application calls nobody
	// Services are asked of control at start; others when they are first called.
	Services        []string      `yaml:"services"`
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`
	ResponseTimeout time.Duration `yaml:"response_timeout"` // also less, when the application's own caller waits less
}

// TCPRoute carries connections on a loopback address to a service.
type TCPRoute struct {
	Listen         string        `yaml:"listen"`
	Service        string        `yaml:"service"`
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
}

const defaultConnectTimeout = time.Second

// DefaultConfig is what a file leaves out.
func DefaultConfig() *Config {
	return &Config{
		Ops: "127.0.0.1:0", Breaker: balance.DefaultBreaker(), Retry: forward.DefaultRetry(),
		Inbound: Inbound{
			Listen: "127.0.0.1:0", Protocol: endpoints.HTTP, ConnectTimeout: defaultConnectTimeout, ResponseTimeout: 30 * time.Second,
		},
		// Less than what callers further up usually wait, a gateway's 5 s among them: whoever is nearest to an endpoint that
		// hangs must be the first to give up, or a service in between gets the blame.
		Outbound: Outbound{ConnectTimeout: defaultConnectTimeout, ResponseTimeout: 3 * time.Second},
	}
}

// Check validates a file and starts nothing.
func Check(path string) error { return config.Load(path, DefaultConfig()) }

// Validate joins all faults.
func (c *Config) Validate() error {
	faults := []error{c.Identity.Validate("identity"), c.Telemetry.Validate("telemetry")}
	fault := func(key, format string, args ...any) { faults = append(faults, config.Faultf(key, format, args...)) }
	for key, name := range map[string]string{"service": c.Service, "instance": c.Instance} {
		if !endpoints.ValidName(name) {
			fault(key, "is %q, want 1 to 128 of [A-Za-z0-9._-]", name)
		}
	}
	listen := func(key, address string) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			fault(key, "%q: want HOST:PORT", address)
		}
	}
	listen("ops", c.Ops)
	listen("inbound.listen", c.Inbound.Listen)
	if c.Control != "" {
		listen("control", c.Control)
	}
	if c.Outbound.Listen != "" {
		listen("outbound.listen", c.Outbound.Listen)
		if !onLoopback(c.Outbound.Listen) {
			fault("outbound.listen", "%q is not on loopback: whoever reaches it acts as this service", c.Outbound.Listen)
		}
	}
	faults = append(faults, c.Inbound.validate()...)
	faults = append(faults, c.Outbound.validate()...)
	for i, route := range c.TCPRoutes {
		faults = append(faults, route.validate(fmt.Sprintf("tcp_routes[%d]", i))...)
	}
	faults = append(faults, c.Breaker.Validate("breaker")...)
	faults = append(faults, c.Retry.Validate("retry")...)
	faults = append(faults, endpoints.ValidateStatic("services", c.Services)...)
	return errors.Join(faults...)
}

func (i *Inbound) validate() []error {
	var faults []error
	if err := endpoints.ValidateAddress(i.App); err != nil {
		faults = append(faults, config.Faultf("inbound.app", "%v", err))
	}
	if i.Protocol != endpoints.HTTP && i.Protocol != endpoints.TCP {
		faults = append(faults, config.Faultf("inbound.protocol", "is %q, want http or tcp", i.Protocol))
	}
	for n, name := range i.Allow {
		if !endpoints.ValidName(name) {
			faults = append(faults, config.Faultf(fmt.Sprintf("inbound.allow[%d]", n), "%q is not a service name", name))
		}
	}
	return append(faults, positive("inbound", i.ConnectTimeout, i.ResponseTimeout)...)
}

func (o *Outbound) validate() []error {
	var faults []error
	for n, name := range o.Services {
		if !endpoints.ValidName(name) {
			faults = append(faults, config.Faultf(fmt.Sprintf("outbound.services[%d]", n), "%q is not a service name", name))
		}
	}
	return append(faults, positive("outbound", o.ConnectTimeout, o.ResponseTimeout)...)
}

func positive(key string, connect, response time.Duration) []error {
	var faults []error
	if connect <= 0 {
		faults = append(faults, config.Faultf(key+".connect_timeout", "is %v, want more than 0", connect))
	}
	if response <= 0 {
		faults = append(faults, config.Faultf(key+".response_timeout", "is %v, want more than 0", response))
	}
	return faults
}

// validate lets a connect timeout be left out: a list has no defaults to start from.
func (r *TCPRoute) validate(key string) []error {
	var faults []error
	if !onLoopback(r.Listen) {
		faults = append(faults, config.Faultf(key+".listen", "%q: want HOST:PORT on loopback", r.Listen))
	}
	if !endpoints.ValidName(r.Service) {
		faults = append(faults, config.Faultf(key+".service", "%q is not a service name", r.Service))
	}
	if r.ConnectTimeout < 0 {
		faults = append(faults, config.Faultf(key+".connect_timeout", "is %v, want more than 0", r.ConnectTimeout))
	}
	return faults
}

// onLoopback also refuses what is not HOST:PORT.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip.IsLoopback())
}

// fixed says which of the settings that are read at start differ.
func (c *Config) fixed(next *Config) error {
	var faults []error
	for key, same := range map[string]bool{
		"service": c.Service == next.Service, "instance": c.Instance == next.Instance, "version": c.Version == next.Version,
		"zone": c.Zone == next.Zone, "ops": c.Ops == next.Ops, "identity": c.Identity == next.Identity, "control": c.Control == next.Control,
		"telemetry": c.Telemetry == next.Telemetry, "inbound.listen": c.Inbound.Listen == next.Inbound.Listen,
		"inbound.app": c.Inbound.App == next.Inbound.App, "inbound.protocol": c.Inbound.Protocol == next.Inbound.Protocol,
		"outbound.listen": c.Outbound.Listen == next.Outbound.Listen, "tcp_routes": sameListeners(c.TCPRoutes, next.TCPRoutes),
	} {
		if !same {
			faults = append(faults, config.Faultf(key, "needs a restart to change"))
		}
	}
	return errors.Join(faults...)
}

func sameListeners(a, b []TCPRoute) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Listen != b[i].Listen {
			return false
		}
	}
	return true
}
