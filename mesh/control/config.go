package control

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"weft/internal/config"
	"weft/internal/identity"
	"weft/internal/sample"
	"weft/mesh/control/registry"
)

// Config is the file that mesh control reads.
type Config struct {
	// Listen serves xDS, Registry and Identity over TLS.
	Listen string `yaml:"listen"`
	// Ops serves /healthz /readyz /metrics /registry /proxies.
	Ops string `yaml:"ops"`
	// Instance is this control's own name.
	Instance string `yaml:"instance"`
	// Data keeps the authority's key (0600), join tokens (hashed) and the registry.
	Data string `yaml:"data"`
	// TrustDomain is the SPIFFE trust domain that the authority signs for.
	TrustDomain string `yaml:"trust_domain"`
	// Socket is the Unix socket on which a peer of the same UID is believed; empty is identity.sock in Data.
	Socket string `yaml:"socket"`
	// Collectors are the lanes to ask for verdicts.
	Collectors []string `yaml:"collectors"`
	// SVIDTTL is the life of a certificate; it is renewed at half of it.
	SVIDTTL time.Duration `yaml:"svid_ttl"`
	// LeaseTTL: an endpoint leaves ¾ of it after its sidecar's stream broke, or twice of it after the last heartbeat.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
	// RestartGrace is how long a restarted control keeps endpoints whose sidecar has not come back yet.
	RestartGrace time.Duration `yaml:"restart_grace"`
	// PanicPercent: never more than max(1, ⌊n·percent/100⌋) of a service's n endpoints are ejected, of a single one none.
	PanicPercent int `yaml:"panic_percent"`
	// Services are endpoints without a sidecar: plain, always there.
	Services map[string]Service `yaml:"services"`
	// Policies say who may see and call whom; none means everyone may.
	Policies []Policy `yaml:"policies"`
}

// Service is a static service.
type Service struct {
	Protocol  string     `yaml:"protocol"` // "http" (default) or "tcp"
	Endpoints []Endpoint `yaml:"endpoints"`
}

// Endpoint is one static address.
type Endpoint struct {
	Instance string `yaml:"instance"`
	Address  string `yaml:"address"`
	Version  string `yaml:"version"`
	Zone     string `yaml:"zone"`
}

// Policy lets each service in From see and call each in To; "*" is any service.
type Policy struct {
	From []string `yaml:"from"`
	To   []string `yaml:"to"`
}

// DefaultConfig is what an empty file means.
func DefaultConfig() *Config {
	return &Config{
		Listen: "127.0.0.1:7071", Ops: "127.0.0.1:0", Instance: "control-1", Data: "./data/control",
		TrustDomain: identity.TrustDomain, SVIDTTL: time.Hour, LeaseTTL: 2 * time.Second, RestartGrace: 15 * time.Second,
		PanicPercent: 50,
	}
}

// Check validates the file at path and starts nothing.
func Check(path string) error { return config.Load(path, DefaultConfig()) }

var word = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// longestSocket is the kernel's limit for the path of a Unix socket.
const longestSocket = 107

// Validate joins all faults.
func (c *Config) Validate() error {
	faults := []error{address("listen", c.Listen), address("ops", c.Ops)}
	fault := func(key, format string, args ...any) { faults = append(faults, config.Faultf(key, format, args...)) }
	if !word.MatchString(c.Instance) {
		fault("instance", "%q is not 1 to 128 of [A-Za-z0-9._-]", c.Instance)
	}
	if c.Data == "" {
		fault("data", "is required: the authority's key lives there")
	}
	if _, err := spiffeid.TrustDomainFromString(c.TrustDomain); err != nil {
		fault("trust_domain", "%v", err)
	}
	if path, err := filepath.Abs(c.socket()); err != nil || len(path) > longestSocket {
		fault("socket", "%s is longer than the %d bytes of a Unix socket's path", path, longestSocket)
	}
	for i, lane := range c.Collectors {
		faults = append(faults, address(fmt.Sprintf("collectors[%d]", i), lane))
	}
	between := func(key string, value, low, high time.Duration) {
		if value < low || value > high {
			fault(key, "%v is outside %v to %v", value, low, high)
		}
	}
	between("svid_ttl", c.SVIDTTL, 10*time.Second, 30*24*time.Hour)
	between("lease_ttl", c.LeaseTTL, time.Second, time.Minute)
	between("restart_grace", c.RestartGrace, time.Second, time.Hour)
	if c.PanicPercent < 0 || c.PanicPercent > 100 {
		fault("panic_percent", "%d is outside 0 to 100", c.PanicPercent)
	}
	return errors.Join(append(faults, c.validateServices(), c.validatePolicies())...)
}

func (c *Config) validateServices() error {
	var faults []error
	seen := map[string]string{} // instance → service
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		key, service := "services."+name, c.Services[name]
		if !word.MatchString(name) {
			faults = append(faults, config.Faultf(key, "a service's name is 1 to 128 of [A-Za-z0-9._-]"))
		}
		if !slices.Contains([]string{"", "http", "tcp"}, service.Protocol) {
			faults = append(faults, config.Faultf(key+".protocol", "%q is neither http nor tcp", service.Protocol))
		}
		if len(service.Endpoints) == 0 {
			faults = append(faults, config.Faultf(key+".endpoints", "is required"))
		}
		for i, endpoint := range service.Endpoints {
			at := fmt.Sprintf("%s.endpoints[%d]", key, i)
			faults = append(faults, address(at+".address", endpoint.Address))
			if !word.MatchString(endpoint.Instance) {
				faults = append(faults, config.Faultf(at+".instance", "%q is not 1 to 128 of [A-Za-z0-9._-]", endpoint.Instance))
			} else if other, twice := seen[endpoint.Instance]; twice {
				faults = append(faults, config.Faultf(at+".instance", "%s is also an instance of %s", endpoint.Instance, other))
			}
			seen[endpoint.Instance] = name
		}
	}
	return errors.Join(faults...)
}

func (c *Config) validatePolicies() error {
	var faults []error
	for i, policy := range c.Policies {
		key := fmt.Sprintf("policies[%d]", i)
		if len(policy.From) == 0 {
			faults = append(faults, config.Faultf(key+".from", "is required"))
		}
		if len(policy.To) == 0 {
			faults = append(faults, config.Faultf(key+".to", "is required"))
		}
		for _, name := range slices.Concat(policy.From, policy.To) {
			if name != "*" && !word.MatchString(name) {
				faults = append(faults, config.Faultf(key, "%q is neither a service's name nor *", name))
			}
		}
	}
	return errors.Join(faults...)
}

// sameProcess names the keys of next that need a restart to change.
func (c *Config) sameProcess(next *Config) error {
	var faults []error
	for _, key := range []struct {
		name string
		same bool
	}{
		{"listen", c.Listen == next.Listen}, {"ops", c.Ops == next.Ops}, {"instance", c.Instance == next.Instance},
		{"data", c.Data == next.Data}, {"trust_domain", c.TrustDomain == next.TrustDomain}, {"socket", c.Socket == next.Socket},
		{"collectors", slices.Equal(c.Collectors, next.Collectors)}, {"svid_ttl", c.SVIDTTL == next.SVIDTTL},
	} {
		if !key.same {
			faults = append(faults, config.Faultf(key.name, "needs a restart to change"))
		}
	}
	return errors.Join(faults...)
}

// static are the endpoints of the configuration.
func (c *Config) static() []registry.Endpoint {
	var out []registry.Endpoint
	for name, service := range c.Services {
		protocol := service.Protocol
		if protocol == "" {
			protocol = "http"
		}
		for _, e := range service.Endpoints {
			out = append(out, registry.Endpoint{
				Key:     sample.Key{Service: name, Instance: e.Instance},
				Address: e.Address, Protocol: protocol, Version: e.Version, Zone: e.Zone, Static: true,
			})
		}
	}
	return out
}

// socket is where the Unix socket is.
func (c *Config) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return filepath.Join(c.Data, "identity.sock")
}

// mayCall is the policy: whether service from may see and call service to.
func (c *Config) mayCall(from, to string) bool {
	if len(c.Policies) == 0 {
		return true
	}
	for _, p := range c.Policies {
		if (slices.Contains(p.From, from) || slices.Contains(p.From, "*")) &&
			(slices.Contains(p.To, to) || slices.Contains(p.To, "*")) {
			return true
		}
	}
	return false
}

func address(key, value string) error {
	if _, port, err := net.SplitHostPort(value); err != nil {
		return config.Faultf(key, "want HOST:PORT, got %q", value)
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		return config.Faultf(key, "%q is not a port", port)
	}
	return nil
}
