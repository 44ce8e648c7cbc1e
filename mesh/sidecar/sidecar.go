// Package sidecar is the proxy beside one application: it carries what the mesh asks of the application (inbound), and
// what the application asks of the mesh (outbound and TCP routes), and proves to each side who the other is.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"weft/internal/balance"
	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/ops"
	"weft/internal/sample"
	"weft/internal/telemetry"
)

const (
	// leaving is how long a sidecar still serves after it told control goodbye: until every proxy has heard.
	leaving = 1200 * time.Millisecond
	// drain is how long requests may take to end after that.
	drain = 3 * time.Second
)

// Sidecar is one running proxy.
type Sidecar struct {
	path   string
	config atomic.Pointer[Config]

	source     *identity.Source
	telemetry  *telemetry.Telemetry
	table      *endpoints.Table // the services that the application calls
	app        *endpoints.Table // the application itself, as the one endpoint of its service
	subscriber *endpoints.Subscriber
	outward    *forward.Forwarder
	inward     *forward.Forwarder
	vigil      *vigil
	flights    *flights
	routes     atomic.Pointer[routes]
	registered atomic.Bool

	conn      *grpc.ClientConn // to control; nil without one
	ops       *ops.Server
	listeners listeners
}

// listeners are open from the start, so that a port in use is an error before anything runs.
type listeners struct {
	inbound, outbound net.Listener
	tcp               []net.Listener
}

// Run carries requests until ctx ends, then drains.
func Run(ctx context.Context, path string) error {
	cfg := DefaultConfig()
	if err := config.Load(path, cfg); err != nil {
		return err
	}
	s, err := New(cfg, path)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// New opens the listeners and starts nothing. path is the file that is watched for changes; empty: none.
func New(cfg *Config, path string) (*Sidecar, error) {
	id := identity.ID{TrustDomain: cfg.Identity.TrustDomain, Role: identity.RoleProxy, Service: cfg.Service, Instance: cfg.Instance}
	t, err := telemetry.New(cfg.Telemetry, telemetry.Resource{
		Service: cfg.Service, Instance: cfg.Instance, Version: cfg.Version, Proxy: "sidecar",
	})
	if err != nil {
		return nil, err
	}
	s := &Sidecar{path: path, telemetry: t, source: identity.NewSource(cfg.Identity, id), flights: newFlights(), vigil: newVigil()}
	s.config.Store(cfg)
	s.table = endpoints.NewTable(cfg.Services, wanted(cfg)...)
	s.app = endpoints.NewTable(map[string]endpoints.StaticService{cfg.Service: {
		Protocol: cfg.Inbound.Protocol, Endpoints: []endpoints.StaticEndpoint{{Instance: cfg.Instance, Address: cfg.Inbound.App, Version: cfg.Version}},
	}})
	s.outward = forward.New(outwardConfig(cfg), forward.Deps{
		Table: s.table, Recorder: &forward.TelemetryRecorder{Telemetry: t, Direction: outbound}, TLS: s.clientTLS,
		Failed: s.flights.blame, Abandoned: s.flights.waiting,
	})
	s.inward = forward.New(inwardConfig(), forward.Deps{Table: s.app, Cause: s.flights.cause, Failed: s.vigil.heard})
	s.routes.Store(s.newRoutes(cfg))
	if cfg.Control != "" {
		if s.conn, err = s.dial(cfg.Control, identity.RoleControl); err != nil {
			return nil, fmt.Errorf("control %s: %w", cfg.Control, err)
		}
		s.subscriber = endpoints.NewSubscriber(s.table, s.conn, id.Reporter())
	}
	return s, s.open(cfg)
}

// wanted are the services to ask of control from the start.
func wanted(cfg *Config) []string {
	names := append([]string{}, cfg.Outbound.Services...)
	for _, r := range cfg.TCPRoutes {
		names = append(names, r.Service)
	}
	return names
}

func outwardConfig(cfg *Config) forward.Config {
	c := forward.DefaultConfig()
	c.Retry, c.Balance.Breaker = cfg.Retry, cfg.Breaker
	return c
}

// inwardConfig has nothing to choose from, so nothing to retry on or to break.
func inwardConfig() forward.Config {
	return forward.Config{Balance: balance.Config{Breaker: balance.Breaker{Enabled: false}, PanicPercent: 100}}
}

func (s *Sidecar) open(cfg *Config) (err error) {
	listen := func(what, address string) net.Listener {
		if err != nil || address == "" {
			return nil
		}
		l, failed := net.Listen("tcp", address)
		if failed != nil {
			err = fmt.Errorf("%s: %w", what, failed)
		}
		return l
	}
	s.listeners.inbound = listen("inbound.listen", cfg.Inbound.Listen)
	s.listeners.outbound = listen("outbound.listen", cfg.Outbound.Listen)
	for i, route := range cfg.TCPRoutes {
		s.listeners.tcp = append(s.listeners.tcp, listen(fmt.Sprintf("tcp_routes[%d].listen", i), route.Listen))
	}
	if err == nil {
		s.ops, err = ops.Listen(cfg.Ops, s.ready)
	}
	if err != nil {
		s.listeners.close()
		return err
	}
	s.ops.Mux.Handle("GET /endpoints", s.table)
	s.telemetry.Collect(s.ops.Registry)
	count := func(name, help string, read func() uint64) {
		s.ops.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(read()) }))
	}
	count("weft_endpoints_refused_total", "Calls of services that control was not asked for, because there are too many.", s.table.Refused)
	count("weft_flights_untied_total", "Requests that could not be tied to calls of the application, because there are too many.", s.flights.untied.Load)
	return nil
}

func (l *listeners) close() {
	for _, one := range append([]net.Listener{l.inbound, l.outbound}, l.tcp...) {
		if one != nil {
			_ = one.Close()
		}
	}
}

// ready says why the sidecar cannot serve yet. It does not wait for the application, which may start after it.
func (s *Sidecar) ready() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.source.WaitReady(now); err != nil {
		return err
	}
	if s.subscriber != nil {
		return s.subscriber.Ready()
	}
	return nil
}

// Run serves until ctx ends. It leaves in three steps: out of the registry, then no new connections, then the rest of
// the requests.
func (s *Sidecar) Run(ctx context.Context) error {
	defer s.listeners.close()
	cfg := s.config.Load()
	slog.InfoContext(ctx, "sidecar starts", "endpoint", cfg.Service+"/"+cfg.Instance, "inbound", s.listeners.inbound.Addr().String(),
		"outbound", address(s.listeners.outbound), "ops", s.ops.Addr())
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	support, stopSupport := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSupport()

	front, supporting := errgroup.Group{}, errgroup.Group{}
	// What requests need runs until the last request has ended.
	for _, run := range s.supporters() {
		supporting.Go(func() error {
			defer stop() // one that fails ends the sidecar
			return run(support)
		})
	}
	front.Go(func() error {
		err := s.register(serving, ctx)
		stop()
		return err
	})
	for _, run := range s.servers() {
		front.Go(func() error {
			defer stop()
			return run(serving)
		})
	}
	err := front.Wait()
	stopSupport()
	return errors.Join(err, supporting.Wait(), s.close())
}

// supporters run beneath the servers.
func (s *Sidecar) supporters() []func(context.Context) error {
	list := []func(context.Context) error{s.source.Run, s.telemetry.Run, s.ops.Run, s.outward.Run, s.inward.Run, s.keepVigil}
	if s.path != "" {
		list = append(list, func(ctx context.Context) error { return config.Watch(ctx, s.path, func() { s.reload(ctx) }) })
	}
	if s.subscriber != nil {
		list = append(list, s.afterIdentity(s.subscriber.Run))
	}
	if lane := s.config.Load().Telemetry.Lane; lane != "" {
		l := telemetry.NewLane(func(context.Context) (*grpc.ClientConn, error) { return s.dial(lane, identity.RoleAgent) }, s.report)
		l.Collect(s.ops.Registry)
		list = append(list, s.afterIdentity(l.Run))
	}
	return list
}

// afterIdentity spares a conversation its first failures: it cannot begin without a certificate.
func (s *Sidecar) afterIdentity(run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.source.WaitReady(ctx) != nil {
			return nil // ctx ended first
		}
		return run(ctx)
	}
}

func (s *Sidecar) servers() []func(context.Context) error {
	list := []func(context.Context) error{s.serveInbound}
	if s.listeners.outbound != nil {
		list = append(list, s.serveOutbound)
	}
	for i := range s.listeners.tcp {
		list = append(list, func(ctx context.Context) error { return s.serveTCP(ctx, i) })
	}
	return list
}

// serveHTTP runs one server until ctx ends, then lets its requests end.
func serveHTTP(ctx context.Context, server *http.Server, serve func() error) error {
	server.ReadHeaderTimeout, server.IdleTimeout, server.MaxHeaderBytes = 10*time.Second, 2*time.Minute, 64<<10
	server.ErrorLog = slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug) // handshakes that fail are not ours to log
	// Upgraded connections are nobody's to the server: they end with this context, after the drain.
	base, cut := context.WithCancel(context.Background())
	defer cut()
	server.BaseContext = func(net.Listener) context.Context { return base }
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close() // what is left after the drain is cut
		}
	}()
	err := serve()
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// report is what the lane carries: what the application's calls met, and as a witness what its callers met.
func (s *Sidecar) report() sample.Report {
	now, cfg := time.Now(), s.config.Load()
	report := s.table.Report(now)
	for _, own := range s.app.Report(now).Samples {
		own.Witness, own.Address, own.Version = true, s.listeners.inbound.Addr().String(), cfg.Version
		report.Samples = append(report.Samples, own)
	}
	report.Reporter = cfg.Service + "/" + cfg.Instance
	return report
}

// reload applies a changed file, or keeps everything as it is and says why.
func (s *Sidecar) reload(ctx context.Context) {
	next := DefaultConfig()
	err := config.Load(s.path, next)
	if err == nil {
		err = s.config.Load().fixed(next)
	}
	if err != nil {
		slog.ErrorContext(ctx, "configuration not applied", "error", err)
		return
	}
	s.config.Store(next)
	s.table.SetStatic(next.Services)
	for _, name := range wanted(next) {
		s.table.Want(name)
	}
	s.outward.Reconfigure(outwardConfig(next))
	s.routes.Store(s.newRoutes(next))
	slog.InfoContext(ctx, "configuration applied", "file", s.path)
}

func (s *Sidecar) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
