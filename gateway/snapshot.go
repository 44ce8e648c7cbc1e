package gateway

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"weft/gateway/middleware"
	"weft/internal/balance"
	"weft/internal/forward"
)

// snapshot is everything that a reload replaces. Requests go on with the one they began in.
type snapshot struct {
	config      *Config
	table       *table
	trusted     []netip.Prefix
	certificate *tls.Certificate // nil without TLS
	echo        *echo.Echo
}

// build makes a snapshot of a valid configuration; nothing of it is in force yet.
func (g *Gateway) build(cfg *Config) (*snapshot, error) {
	s := &snapshot{config: cfg}
	var err error
	if s.table, err = newTable(cfg.Routes); err != nil {
		return nil, err
	}
	if s.trusted, err = cfg.trustedHops(); err != nil {
		return nil, err
	}
	if s.certificate, err = cfg.TLS.load(); err != nil {
		return nil, err
	}
	for _, e := range s.table.entries {
		e.matched.Handler = g.forwarder.Handler(e.route.forward())
		e.matched.Auth = g.authorizers(e.route.Auth)
	}
	s.echo = echo.New()
	whole := compose(g.chain(s))
	s.echo.Pre(func(echo.HandlerFunc) echo.HandlerFunc { return whole })
	return s, nil
}

// compose joins the steps once; echo would join them again for each request.
func compose(steps []echo.MiddlewareFunc) echo.HandlerFunc {
	whole := echo.NotFoundHandler // never reached: the last step carries the request
	for _, step := range slices.Backward(steps) {
		whole = step(whole)
	}
	return whole
}

// use puts a snapshot in force. Connections, breakers and what is known of endpoints live on.
func (g *Gateway) use(s *snapshot) {
	g.forwarder.Reconfigure(forwarding(s.config))
	g.endpoints.SetStatic(s.config.Services)
	for _, r := range s.config.Routes {
		g.endpoints.Want(r.Service)
	}
	g.current.Store(s)
}

func forwarding(cfg *Config) forward.Config {
	b := balance.DefaultConfig()
	b.Breaker = cfg.Breaker
	return forward.Config{Retry: cfg.Retry, Balance: b}
}

// authorizers of a route; keys that tokens are checked with outlive snapshots.
func (g *Gateway) authorizers(auth Auth) []middleware.Authorizer {
	var out []middleware.Authorizer
	if len(auth.APIKeys) > 0 {
		out = append(out, middleware.APIKeys(auth.APIKeys))
	}
	if auth.JWT != nil {
		keys, _ := g.keys.LoadOrStore(auth.JWT.JWKSURL, middleware.NewKeys(auth.JWT.JWKSURL))
		out = append(out, middleware.Bearer(*auth.JWT, keys.(*middleware.Keys)))
	}
	return out
}

// forward is the route as the forwarder needs it.
func (r *Route) forward() forward.Route {
	strip := strings.TrimSuffix(r.StripPrefix, "/")
	return forward.Route{
		Name: r.Name, Service: r.Service, Pattern: r.pattern(),
		ConnectTimeout:  cmp.Or(r.ConnectTimeout, defaultConnectTimeout),
		ResponseTimeout: cmp.Or(r.ResponseTimeout, defaultResponseTimeout),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetXForwarded() // the request's own have been dropped, unless they are a trusted hop's
			if strip != "" {
				stripPrefix(pr.Out, strip)
			}
		},
	}
}

// stripPrefix cuts whole segments off the path. Repeated slashes before and in the prefix go with it.
func stripPrefix(out *http.Request, prefix string) {
	path, raw := afterPrefix(out.URL.Path, prefix), ""
	if out.URL.RawPath != "" {
		raw = afterPrefix(out.URL.RawPath, prefix)
	}
	out.URL.Path, out.URL.RawPath = path, raw
}

func afterPrefix(path, prefix string) string {
	for _, want := range split(prefix) {
		path = strings.TrimLeft(path, "/")
		got, rest, more := strings.Cut(path, "/")
		if got != want {
			break // an encoded prefix: url.URL ignores a RawPath that does not fit its Path
		}
		if path = rest; more {
			path = "/" + rest
		}
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

// reload reads the file again. A bad one changes nothing.
func (g *Gateway) reload() {
	err := g.tryReload()
	if err != nil {
		g.reloads.WithLabelValues("refused").Inc()
		slog.Error("configuration not reloaded, the old one stays in force", "file", g.path, "error", err)
		return
	}
	g.reloads.WithLabelValues("applied").Inc()
	slog.Info("configuration reloaded", "file", g.path, "routes", len(g.current.Load().config.Routes))
}

func (g *Gateway) tryReload() error {
	cfg, err := load(g.path)
	if err != nil {
		return err
	}
	if keys := g.current.Load().config.needsRestart(cfg); len(keys) > 0 {
		slices.Sort(keys)
		return fmt.Errorf("%s: changed %s, which needs a restart", g.path, strings.Join(keys, ", "))
	}
	s, err := g.build(cfg)
	if err != nil {
		return err
	}
	g.use(s)
	return nil
}
