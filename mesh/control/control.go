package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"weft/internal/config"
	"weft/internal/identity"
	"weft/internal/ops"
	"weft/internal/wire"
	"weft/mesh/control/authority"
	"weft/mesh/control/bell"
	"weft/mesh/control/registry"
	"weft/mesh/control/steer"
	"weft/mesh/control/xds"
)

const (
	largestMessage = 1 << 20 // what anybody may send to control
	drain          = 2 * time.Second
)

// Control is one running control.
type Control struct {
	path      string // of the configuration; empty = never reloaded
	config    *atomic.Pointer[Config]
	source    *identity.Source
	authority *authority.Authority
	registry  *registry.Registry
	leases    *registry.Service
	ledger    *steer.Ledger
	lanes     []*steer.Lane
	xds       *xds.Server
	publisher *publisher
	keeper    *keeper
	ops       *ops.Server
	stopping  context.Context // ends the streams
	stop      context.CancelFunc
	listener  net.Listener
	socket    net.Listener
}

// Run reads the file at path, serves until ctx ends, and follows changes of the file.
func Run(ctx context.Context, path string) error {
	cfg := DefaultConfig()
	if err := config.Load(path, cfg); err != nil {
		return err
	}
	c, err := New(cfg)
	if err != nil {
		return err
	}
	c.path = path
	return c.Run(ctx)
}

// New opens data folder, ports and socket, so that what is in use or unwritable is an error now; it starts nothing.
func New(cfg *Config) (*Control, error) {
	authority, err := authority.Open(cfg.Data, cfg.TrustDomain, cfg.SVIDTTL)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	c := &Control{
		config: &atomic.Pointer[Config]{}, authority: authority, registry: registry.New(cfg.LeaseTTL), ledger: steer.NewLedger(),
	}
	c.config.Store(cfg)
	c.stopping, c.stop = context.WithCancel(context.Background())
	id := identity.ID{TrustDomain: cfg.TrustDomain, Role: identity.RoleControl, Service: "control", Instance: cfg.Instance}
	c.source = identity.NewLocalSource(id, authority.Own)
	c.wire(cfg)
	if err := c.restore(cfg); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if err := c.open(cfg); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// wire connects the parts; who is told of what is all here.
func (c *Control) wire(cfg *Config) {
	var reporting bell.Bells
	for _, address := range cfg.Collectors {
		l := steer.NewLane(address, c.source.ClientTLS(identity.Allow(identity.RoleCollector)), c.ledger, c.membership)
		c.lanes, reporting = append(c.lanes, l), append(reporting, l.Changed)
	}
	mayCall := func(from, to string) bool { return c.config.Load().mayCall(from, to) }
	c.xds = xds.New(c.stopping, mayCall, reporting)
	c.keeper = &keeper{path: filepath.Join(cfg.Data, "registry.json"), changed: bell.New(), snapshot: func() saved {
		now := time.Now()
		return newSaved(now, c.registry.Endpoints(), c.ledger.At(now))
	}}
	c.publisher = &publisher{
		registry: c.registry, ledger: c.ledger, xds: c.xds, config: c.config,
		changed: append(bell.Bells{c.keeper.changed}, reporting...), services: map[string]pushed{},
	}
	c.leases = registry.NewService(c.stopping, c.registry, c.source, c.list)
}

func (c *Control) list(ctx context.Context) (*wire.ListResponse, error) {
	if err := authority.Operator(ctx); err != nil {
		return nil, err
	}
	return &wire.ListResponse{Endpoints: c.publisher.list()}, nil
}

// restore comes before the first push, so that no proxy ever sees less than the earlier process knew.
func (c *Control) restore(cfg *Config) error {
	earlier, err := c.keeper.load()
	if err != nil {
		return err
	}
	now := time.Now()
	c.registry.Configure(cfg.LeaseTTL, cfg.static())
	c.registry.Restore(now, earlier.Endpoints, cfg.RestartGrace)
	if verdicts, ok := earlier.verdicts(now); ok {
		c.ledger.Restore(now, verdicts)
	}
	return nil
}

func (c *Control) open(cfg *Config) error {
	var err error
	if c.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.socket, err = listenSocket(cfg.socket()); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if c.ops, err = ops.Listen(cfg.Ops, c.ready); err != nil {
		return err
	}
	c.collect(c.ops.Registry)
	mount(c.ops, c.publisher, c.xds.Proxies)
	return nil
}

func (c *Control) close() error {
	var faults []error
	for _, l := range []net.Listener{c.listener, c.socket} {
		if l != nil {
			faults = append(faults, l.Close())
		}
	}
	return errors.Join(faults...)
}

// listenSocket replaces a socket that nobody serves any more.
func listenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("another control serves %s", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func (c *Control) ready() error {
	if c.source.NotAfter().IsZero() {
		return errors.New("no certificate of its own yet")
	}
	if c.publisher.current() == nil && len(c.registry.Endpoints()) > 0 {
		return errors.New("nothing published yet")
	}
	return nil
}

// Addr is the address of the gRPC port.
func (c *Control) Addr() string { return c.listener.Addr().String() }

// OpsAddr is the address of the ops port.
func (c *Control) OpsAddr() string { return c.ops.Addr() }

// Run serves until ctx ends or a part fails.
func (c *Control) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.source.Run(ctx) })
	group.Go(func() error { return c.publisher.Run(ctx) })
	group.Go(func() error { return c.keeper.Run(ctx) })
	group.Go(func() error { return c.ops.Run(ctx) })
	for _, l := range c.lanes {
		group.Go(func() error { return l.Run(ctx) })
	}
	context.AfterFunc(ctx, c.stop)
	network := c.networkServer()
	local := grpc.NewServer(grpc.Creds(identity.SameUser()), grpc.MaxRecvMsgSize(largestMessage))
	wire.RegisterIdentityServer(local, c.authority)
	wire.RegisterRegistryServer(local, c.leases)
	group.Go(func() error { return serve(ctx, network, c.listener) })
	group.Go(func() error { return serve(ctx, local, c.socket) })
	if c.path != "" {
		group.Go(func() error { return config.Watch(ctx, c.path, c.reload) })
	}
	slog.InfoContext(ctx, "control serves", "listen", c.Addr(), "socket", c.config.Load().socket(), "ops", c.OpsAddr(),
		"trust_domain", c.config.Load().TrustDomain)
	return group.Wait()
}

// networkServer ends a connection before the certificate it was opened with can end: renewal is at half life, so one
// opened at any time is good for half a life more. Streams move to a new connection within the lease's grace.
func (c *Control) networkServer() *grpc.Server {
	life := c.config.Load().SVIDTTL
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(c.source.ServerTLSOptional())),
		grpc.MaxRecvMsgSize(largestMessage), grpc.MaxConcurrentStreams(64),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 5 * time.Second, Timeout: 5 * time.Second,
			MaxConnectionAge: life * 35 / 100, MaxConnectionAgeGrace: life * 5 / 100,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	wire.RegisterIdentityServer(server, c.authority)
	wire.RegisterRegistryServer(server, c.leases)
	c.xds.Register(server)
	return server
}

// serve stops gracefully when ctx ends, and hard when that takes too long.
func serve(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	running, over := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-running.Done()
		force := time.AfterFunc(drain, server.Stop)
		defer force.Stop()
		server.GracefulStop()
	}()
	err := server.Serve(listener)
	asked := ctx.Err() != nil
	over()
	<-stopped
	if asked {
		return nil
	}
	return fmt.Errorf("serve %s: %w", listener.Addr(), err)
}

// reload takes up what may change while running; a bad file changes nothing.
func (c *Control) reload() {
	next := DefaultConfig()
	err := config.Load(c.path, next)
	if err == nil {
		err = c.config.Load().sameProcess(next)
	}
	if err != nil {
		slog.Error("configuration not taken", "file", c.path, "error", err)
		return
	}
	c.config.Store(next)
	c.registry.Configure(next.LeaseTTL, next.static())
	if err := c.xds.Refresh(); err != nil {
		slog.Error("policy not pushed", "error", err)
	}
	slog.Info("configuration taken", "file", c.path, "services", len(next.Services), "policies", len(next.Policies))
}
