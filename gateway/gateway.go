// Package gateway is the edge proxy: it gives every request its identity, finds its route, lets it in, and carries it
// to an endpoint of the route's service.
//
// Read chain.go first: it is the way of a request. Then route.go, and internal/forward for what follows.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/ops"
	"weft/internal/sample"
	"weft/internal/telemetry"
)

// serviceName is the gateway's own service, in identities and telemetry.
const serviceName = "gateway"

// version is the service.version that the gateway reports.
const version = "0.1"

// Gateway is one running edge proxy.
type Gateway struct {
	path      string
	loaded    [32]byte // digest of the file that New read
	id        identity.ID
	source    *identity.Source // nil without an identity
	telemetry *telemetry.Telemetry
	endpoints *endpoints.Table
	forwarder *forward.Forwarder
	current   atomic.Pointer[snapshot]
	keys      sync.Map // JWKS URL → *middleware.Keys

	listener net.Listener
	ops      *ops.Server
	reloads  *prometheus.CounterVec
	reading  atomic.Pointer[endpoints.Subscriber] // nil without control
	draining atomic.Bool
}

// Check validates the configuration file and starts nothing.
func Check(path string) error {
	_, err := load(path)
	return err
}

// Run serves with the configuration file at path until ctx ends and requests have drained.
func Run(ctx context.Context, path string) error {
	g, err := New(path)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// New reads the configuration and opens both ports, so that one in use is an error at once. It starts nothing.
func New(path string) (*Gateway, error) {
	loaded := config.Digest(path)
	cfg, err := load(path)
	if err != nil {
		return nil, err
	}
	g := &Gateway{path: path, loaded: loaded, endpoints: endpoints.NewTable(nil)}
	g.id = identity.ID{TrustDomain: cfg.Identity.TrustDomain, Role: identity.RoleProxy, Service: serviceName, Instance: cfg.Instance}
	if cfg.Identity.Enabled() {
		g.source = identity.NewSource(cfg.Identity, g.id)
	}
	resource := telemetry.Resource{Service: serviceName, Instance: cfg.Instance, Version: version, Proxy: "gateway"}
	if g.telemetry, err = telemetry.New(cfg.Telemetry, resource); err != nil {
		return nil, err
	}
	g.forwarder = forward.New(forwarding(cfg), forward.Deps{
		Table: g.endpoints, Recorder: &forward.TelemetryRecorder{Telemetry: g.telemetry}, TLS: g.endpointTLS(),
	})
	s, err := g.build(cfg)
	if err != nil {
		return nil, err
	}
	g.use(s)
	return g, g.listen(cfg)
}

// listen opens the ports; on an error none stays open.
func (g *Gateway) listen(cfg *Config) error {
	var err error
	if g.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return fmt.Errorf("%s: listen: %w", g.path, err)
	}
	if g.ops, err = ops.Listen(cfg.Ops, g.ready); err != nil {
		_ = g.listener.Close()
		return fmt.Errorf("%s: ops: %w", g.path, err)
	}
	g.ops.Mux.Handle("GET /endpoints", g.endpoints)
	g.telemetry.Collect(g.ops.Registry)
	g.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_config_reloads_total", Help: "Reloads of the configuration file, by result: applied or refused.",
	}, []string{"result"})
	g.ops.Registry.MustRegister(g.reloads)
	return nil
}

// endpointTLS makes sure that exactly the picked instance answers. Endpoints with TLS need our own identity.
func (g *Gateway) endpointTLS() func(*endpoints.Endpoint) *tls.Config {
	if g.source == nil {
		return nil
	}
	return func(e *endpoints.Endpoint) *tls.Config {
		return g.source.ClientTLS(identity.Exactly(identity.RoleProxy, e.Service, e.Instance))
	}
}

// Addr is where requests go; OpsAddr the ops port.
func (g *Gateway) Addr() string { return g.listener.Addr().String() }

// OpsAddr is the address of the ops port.
func (g *Gateway) OpsAddr() string { return g.ops.Addr() }

// ready says why requests cannot be served yet, or any more.
func (g *Gateway) ready() error {
	switch {
	case g.draining.Load():
		return errors.New("draining")
	case g.source != nil && g.source.NotAfter().Before(time.Now()):
		return errors.Join(fmt.Errorf("no valid certificate for %s", g.id.URI()), g.source.Err())
	}
	if g.current.Load().config.Control != "" {
		subscriber := g.reading.Load()
		if subscriber == nil {
			return errors.New("not connected to control yet")
		}
		return subscriber.Ready()
	}
	return nil
}

// Run serves until ctx ends, lets requests finish, then stops everything they needed.
func (g *Gateway) Run(ctx context.Context) error {
	cfg := g.current.Load().config
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	run := func(part func(context.Context) error) { group.Go(func() error { return part(work) }) }
	run(g.ops.Run)
	run(g.telemetry.Run)
	run(g.forwarder.Run)
	run(func(ctx context.Context) error { return config.WatchSince(ctx, g.path, g.loaded, g.reload) })
	if g.source != nil {
		run(g.source.Run)
	}
	if cfg.Control != "" {
		run(func(ctx context.Context) error { return g.subscribe(ctx, cfg.Control) })
	}
	if cfg.Telemetry.Lane != "" {
		run(func(ctx context.Context) error { return g.report(ctx, cfg.Telemetry.Lane) })
	}
	slog.Info("gateway serves", "http", g.Addr(), "ops", g.OpsAddr(), "instance", cfg.Instance, "routes", len(cfg.Routes))

	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(work, cancel)() // a part that failed ends the serving too
	err := g.serve(serving, cfg.Drain)
	stop()
	return errors.Join(err, group.Wait())
}

// subscribe takes endpoints from control.
func (g *Gateway) subscribe(ctx context.Context, address string) error {
	conn, err := g.dial(address, identity.RoleControl)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	subscriber := endpoints.NewSubscriber(g.endpoints, conn, g.id.Reporter())
	g.reading.Store(subscriber)
	if err := g.source.WaitReady(ctx); err != nil {
		return nil // told to stop first
	}
	return subscriber.Run(ctx)
}

// report streams what the gateway saw of endpoints to the agent's lane.
func (g *Gateway) report(ctx context.Context, address string) error {
	lane := telemetry.NewLane(
		func(ctx context.Context) (*grpc.ClientConn, error) {
			if err := g.source.WaitReady(ctx); err != nil {
				return nil, err
			}
			return g.dial(address, identity.RoleAgent)
		},
		func() sample.Report {
			report := g.endpoints.Report(time.Now())
			report.Reporter = g.id.Reporter()
			return report
		})
	lane.Collect(g.ops.Registry)
	return lane.Run(ctx)
}

// dial connects over mTLS to a peer of the role, and finds a peer that comes back within a second.
func (g *Gateway) dial(address string, role identity.Role) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(g.source.ClientTLS(identity.Allow(role)))),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", role, address, err)
	}
	return conn, nil
}
