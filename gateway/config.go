package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"weft/gateway/middleware"
	"weft/internal/balance"
	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/telemetry"
)

// Config is gateway.yaml. A reload applies trusted_hops, breaker, retry, services, routes and the files of tls; the rest
// needs a restart.
type Config struct {
	// Listen takes requests: HTTP/1.1 and HTTP/2, over TLS when there is a certificate and in clear text when not.
	Listen string `yaml:"listen"`
	TLS    TLS    `yaml:"tls"`
	// Ops answers /healthz /readyz /metrics /endpoints, and /debug/pprof on loopback.
	Ops string `yaml:"ops"`
	// Instance is this gateway's name, unique among gateways.
	Instance string `yaml:"instance"`
	// Identity is needed with control or telemetry.lane: they speak mTLS only.
	Identity identity.Config `yaml:"identity"`
	// Control is where endpoints come from (xDS); empty leaves the static services only.
	Control   string           `yaml:"control"`
	Telemetry telemetry.Config `yaml:"telemetry"`
	// TrustedHops are the CIDRs of our own proxies in front of the gateway: their x-request-id, trace context and
	// forwarded headers are kept.
	TrustedHops []string        `yaml:"trusted_hops"`
	Breaker     balance.Breaker `yaml:"breaker"`
	Retry       forward.Retry   `yaml:"retry"`
	// Services names static endpoints, plain and without sidecars. They win over control's of the same name.
	Services map[string]endpoints.StaticService `yaml:"services"`
	Routes   []Route                            `yaml:"routes"`
	// Drain is how long requests may go on after the gateway is told to stop; then their connections are cut.
	Drain time.Duration `yaml:"drain"`
}

// TLS names PEM files. Both or none.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Route maps requests to a service. The most specific route wins: an exact host before a wildcard before any; then,
// segment by segment, a literal before a parameter before the rest of a path; then one with methods.
type Route struct {
	Name string `yaml:"name"` // for logs, spans and metrics; unique
	// Host is a name, "*.example.com", or empty for any.
	Host string `yaml:"host"`
	// Path is a template: "/api/items/{id}", "/files/{path...}". PathPrefix matches whole segments: "/api" is /api and
	// what lies under it. One of the two.
	Path       string `yaml:"path"`
	PathPrefix string `yaml:"path_prefix"`
	// Methods are those the route takes; empty is any. GET includes HEAD.
	Methods []string `yaml:"methods"`
	Service string   `yaml:"service"`
	// ConnectTimeout is for TCP and TLS together (default 1s), ResponseTimeout from the end of the request to the
	// response's header (default 15s). A body may take as long as it likes.
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`
	ResponseTimeout time.Duration `yaml:"response_timeout"`
	// StripPrefix is cut off the path that the service sees.
	StripPrefix string `yaml:"strip_prefix"`
	Auth        Auth   `yaml:"auth"`
}

// Auth says which credentials a route takes; any one of them will do. Empty leaves it open.
type Auth struct {
	APIKeys []middleware.APIKey `yaml:"api_keys"` // in X-Api-Key
	JWT     *middleware.JWT     `yaml:"jwt"`      // in Authorization: Bearer
}

const (
	defaultConnectTimeout  = time.Second
	defaultResponseTimeout = 15 * time.Second
)

// DefaultConfig is what a file starts from.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080", Ops: "127.0.0.1:0", Instance: "gateway-1",
		Breaker: balance.DefaultBreaker(), Retry: forward.DefaultRetry(), Drain: 10 * time.Second,
	}
}

// load reads and validates the file at path.
func load(path string) (*Config, error) {
	cfg := DefaultConfig()
	if err := config.Load(path, &cfg); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// Validate joins every fault; each names its key.
func (c *Config) Validate() error {
	var faults []error
	check := func(key string, err error) {
		if err != nil {
			faults = append(faults, config.Faultf(key, "%v", err))
		}
	}
	check("listen", hostPort(c.Listen))
	check("ops", hostPort(c.Ops))
	if c.Control != "" {
		check("control", hostPort(c.Control))
	}
	if !endpoints.ValidName(c.Instance) {
		faults = append(faults, config.Faultf("instance", "%q is not 1 to 128 of [A-Za-z0-9._-]", c.Instance))
	}
	if c.Identity.Enabled() {
		faults = append(faults, c.Identity.Validate("identity"))
	} else if c.Control != "" || c.Telemetry.Lane != "" {
		faults = append(faults, config.Faultf("identity", "is required with control or telemetry.lane, which speak mTLS"))
	}
	if c.Drain < 0 {
		faults = append(faults, config.Faultf("drain", "is %v, want 0 or more", c.Drain))
	}
	_, err := c.trustedHops()
	_, tlsErr := c.TLS.load()
	faults = append(faults, c.Telemetry.Validate("telemetry"), err, tlsErr)
	faults = append(faults, c.Breaker.Validate("breaker")...)
	faults = append(faults, c.Retry.Validate("retry")...)
	faults = append(faults, endpoints.ValidateStatic("services", c.Services)...)
	faults = append(faults, c.validateRoutes()...)
	return errors.Join(faults...)
}

func hostPort(address string) error {
	_, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want HOST:PORT: %w", err)
	}
	return nil
}

func (c *Config) trustedHops() ([]netip.Prefix, error) {
	var out []netip.Prefix
	var faults []error
	for i, text := range c.TrustedHops {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			faults = append(faults, config.Faultf(fmt.Sprintf("trusted_hops[%d]", i), "%q is not a CIDR such as 10.0.0.0/8", text))
			continue
		}
		out = append(out, prefix.Masked())
	}
	return out, errors.Join(faults...)
}

// load reads the certificate; nil when none is configured.
func (t TLS) load() (*tls.Certificate, error) {
	switch {
	case t == TLS{}:
		return nil, nil
	case t.Cert == "" || t.Key == "":
		return nil, config.Faultf("tls", "needs both cert and key")
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, config.Faultf("tls", "%v", err)
	}
	return &pair, nil
}

func (c *Config) validateRoutes() []error {
	var faults []error
	names := map[string]bool{}
	for i, r := range c.Routes {
		key := fmt.Sprintf("routes[%d]", i)
		if r.Name == "" || names[r.Name] {
			faults = append(faults, config.Faultf(key+".name", "%q is empty or used twice", r.Name))
		}
		names[r.Name] = true
		faults = append(faults, r.validate(key)...)
	}
	if len(faults) == 0 { // two routes for the same requests show only when the table is built
		if _, err := newTable(c.Routes); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

func (r *Route) validate(key string) []error {
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, config.Faultf(key+"."+name, format, args...))
	}
	if (r.Path == "") == (r.PathPrefix == "") {
		fault("path", "give either path or path_prefix")
	} else if _, err := parsePattern(r.pattern()); err != nil {
		fault(r.pathKey(), "%v", err)
	} else if !r.stripsWhole() {
		fault("strip_prefix", "%q is not the literal first segments of %q", r.StripPrefix, r.Path+r.PathPrefix)
	}
	if err := validateHost(r.Host); err != nil {
		fault("host", "%v", err)
	}
	for i, m := range r.Methods {
		if m == "" || strings.ToUpper(m) != m || strings.ContainsAny(m, " \t\r\n,;:/\"") {
			fault(fmt.Sprintf("methods[%d]", i), "%q is not a method such as GET", m)
		}
	}
	if !endpoints.ValidName(r.Service) {
		fault("service", "%q is not 1 to 128 of [A-Za-z0-9._-]", r.Service)
	}
	if r.ConnectTimeout < 0 || r.ResponseTimeout < 0 {
		fault("response_timeout", "timeouts are 0 (the default) or more")
	}
	return append(faults, r.Auth.validate(key+".auth")...)
}

func (a *Auth) validate(key string) []error {
	var faults []error
	for i, k := range a.APIKeys {
		if k.Name == "" || k.Key == "" {
			faults = append(faults, config.Faultf(fmt.Sprintf("%s.api_keys[%d]", key, i), "needs name and key"))
		}
	}
	if a.JWT != nil {
		u, err := url.Parse(a.JWT.JWKSURL)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
			faults = append(faults, config.Faultf(key+".jwt.jwks_url", "%q is not an http or https URL", a.JWT.JWKSURL))
		}
	}
	return faults
}

// stripsWhole says whether strip_prefix is made of whole segments that every request of the route has.
func (r *Route) stripsWhole() bool {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(r.Path+r.PathPrefix, "/")+"/", strings.TrimSuffix(r.StripPrefix, "/"))
	return ok && strings.HasPrefix(rest, "/") && !strings.Contains(r.StripPrefix, "{")
}

func (r *Route) pathKey() string {
	if r.Path == "" {
		return "path_prefix"
	}
	return "path"
}

// methods with what they include.
func (r *Route) methods() []string {
	for _, m := range r.Methods {
		if m == http.MethodGet {
			return append([]string{http.MethodHead}, r.Methods...)
		}
	}
	return r.Methods
}

// needsRestart names the keys that differ and that a running gateway cannot change.
func (c *Config) needsRestart(next *Config) []string {
	var keys []string
	for key, differs := range map[string]bool{
		"listen": c.Listen != next.Listen, "ops": c.Ops != next.Ops, "instance": c.Instance != next.Instance,
		"identity": c.Identity != next.Identity, "control": c.Control != next.Control, "telemetry": c.Telemetry != next.Telemetry,
		"tls": (c.TLS == TLS{}) != (next.TLS == TLS{}), "drain": c.Drain != next.Drain,
	} {
		if differs {
			keys = append(keys, key)
		}
	}
	return keys
}
