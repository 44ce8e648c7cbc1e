// Package opsextension serves a distribution's ops port as a Collector extension.
package opsextension

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
)

// Config is extensions.ops in the YAML.
type Config struct {
	// Endpoint is the HOST:PORT that answers /healthz, /readyz, /metrics and, on loopback, /debug/pprof.
	Endpoint string `mapstructure:"endpoint"`
}

// Validate reports an endpoint that is not HOST:PORT.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		return fmt.Errorf("endpoint: want HOST:PORT: %w", err)
	}
	return nil
}

// Server is an open ops port, such as internal/ops serves.
type Server struct {
	Addr     string
	Registry prometheus.Registerer
	Run      func(context.Context) error // serves until ctx ends
}

// Listen opens an ops port; ready says why the role cannot serve yet, or nil.
type Listen func(addr string, ready func() error) (Server, error)

// Waiting is an extension that the role is not ready without; its error says what is missing.
type Waiting interface{ Readiness() error }

// Port is the ops port of a process. It stays open across reloads, on the same number when that was chosen by the
// system, and it goes on answering while pipelines are exchanged.
type Port struct {
	listen  Listen
	metrics prometheus.Collector

	mu       sync.Mutex
	endpoint string // as configured
	stop     func() error
	host     component.Host
	serving  bool
}

// NewPort opens nothing yet; metrics is what /metrics adds to the Go runtime's.
func NewPort(listen Listen, metrics prometheus.Collector) *Port {
	return &Port{listen: listen, metrics: metrics}
}

// Factory makes the extension "ops".
func (p *Port) Factory() extension.Factory {
	return extension.NewFactory(component.MustNewType("ops"),
		func() component.Config { return &Config{Endpoint: "127.0.0.1:0"} },
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &ops{port: p, endpoint: cfg.(*Config).Endpoint, log: set.Logger}, nil
		}, component.StabilityLevelStable)
}

// Close closes the port and waits until it is.
func (p *Port) Close() error {
	p.mu.Lock()
	stop := p.stop
	p.stop = nil
	p.mu.Unlock()
	if stop == nil {
		return nil
	}
	return stop()
}

// open makes the port listen on endpoint, unless it does already.
func (p *Port) open(endpoint string, log *zap.Logger) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil && p.endpoint == endpoint {
		return nil
	}
	server, err := p.listen(endpoint, p.readiness)
	if err != nil {
		return err
	}
	if err := server.Registry.Register(p.metrics); err != nil {
		return fmt.Errorf("register own metrics: %w", err)
	}
	if p.stop != nil {
		if err := p.stop(); err != nil {
			log.Warn("old ops port did not close cleanly", zap.Error(err))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	p.endpoint = endpoint
	p.stop = func() error { cancel(); return <-done }
	log.Info("ops port open", zap.String("address", server.Addr))
	return nil
}

// readiness is nil once the pipelines run and every Waiting extension agrees.
func (p *Port) readiness() error {
	p.mu.Lock()
	host, serving := p.host, p.serving
	p.mu.Unlock()
	if !serving || host == nil {
		return errors.New("pipelines are not running")
	}
	extensions := host.GetExtensions()
	for _, id := range slices.SortedFunc(maps.Keys(extensions), func(a, b component.ID) int { return cmp.Compare(a.String(), b.String()) }) {
		if waiting, ok := extensions[id].(Waiting); ok {
			if err := waiting.Readiness(); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	return nil
}

func (p *Port) set(host component.Host, serving bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if host != nil {
		p.host = host
	}
	p.serving = serving
}

// ops ties the port to the life of one configuration's pipelines.
type ops struct {
	port     *Port
	endpoint string
	log      *zap.Logger
}

func (o *ops) Start(_ context.Context, host component.Host) error {
	if err := o.port.open(o.endpoint, o.log); err != nil {
		return err
	}
	o.port.set(host, false)
	return nil
}

// Ready is called when every pipeline has started, NotReady before they stop.
func (o *ops) Ready() error    { o.port.set(nil, true); return nil }
func (o *ops) NotReady() error { o.port.set(nil, false); return nil }

// Shutdown leaves the port open: the process, not the pipelines, owns it.
func (o *ops) Shutdown(context.Context) error { return nil }
