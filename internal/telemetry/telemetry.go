// Package telemetry reports what a proxy does to the agent of its node: spans, log records, durations and samples.
//
// A request's path encodes OTLP by hand into queues, without garbage in steady state, and never waits: a slow
// or dead agent costs the oldest items, and every one of them is counted.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"golang.org/x/sync/errgroup"

	"weft/internal/config"
	"weft/internal/semconv"
	"weft/internal/telemetry/delivery"
)

const (
	spanBytes = 8 << 20 // queued spans: some 15,000, the newest seconds of a busy proxy
	logBytes  = 4 << 20

	metricsInterval = 2 * time.Second
	drainTime       = 2 * time.Second // for what is queued when Run is told to stop
)

// Config says where the agent listens. An empty address turns that part off.
type Config struct {
	OTLP string `yaml:"otlp"` // OTLP over gRPC, host:port
	Lane string `yaml:"lane"` // samples over mTLS, host:port
}

// Validate reports addresses that are not host:port; key is the configuration's own YAML key.
func (c Config) Validate(key string) error {
	for name, addr := range map[string]string{"otlp": c.OTLP, "lane": c.Lane} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return config.Faultf(key+"."+name, "%v", err)
		}
	}
	return nil
}

// Resource names who reports.
type Resource struct {
	Service  string
	Instance string
	Version  string
	Proxy    string // "gateway" or "sidecar"; on every span and data point too, so that a proxy's are told from its application's
}

// Telemetry collects and sends. Its methods may be called from any goroutine, before, during and after Run.
type Telemetry struct {
	agent     string
	proxy     string
	resource  []byte // the encoded Resource message
	spans     *delivery.Queue
	logs      *delivery.Queue
	points    points
	durations *histograms
}

// New checks cfg and starts nothing.
func New(cfg Config, r Resource) (*Telemetry, error) {
	if err := cfg.Validate("telemetry"); err != nil {
		return nil, err
	}
	attrs := []Attr{Str(semconv.ServiceName, r.Service), Str(semconv.ServiceInstanceID, r.Instance)}
	if r.Version != "" {
		attrs = append(attrs, Str(semconv.ServiceVersion, r.Version))
	}
	if r.Proxy != "" {
		attrs = append(attrs, Str(semconv.WeftProxy, r.Proxy))
	}
	return &Telemetry{
		agent: cfg.OTLP, proxy: r.Proxy, resource: appendAttrs(nil, resourceAttributes, attrs),
		spans: delivery.NewQueue(spanBytes), logs: delivery.NewQueue(logBytes),
		durations: newHistograms(r.Proxy, time.Now()),
	}, nil
}

// Run sends until ctx ends, then sends what is queued for at most two seconds.
func (t *Telemetry) Run(ctx context.Context) error {
	if t.agent == "" {
		<-ctx.Done()
		return nil
	}
	conn, err := grpc.NewClient("passthrough:///"+t.agent,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// An agent that comes back is found within a second; gRPC's default waits up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return fmt.Errorf("telemetry.otlp %s: %w", t.agent, err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			slog.Warn("closing the connection to the agent", "agent", t.agent, "error", err)
		}
	}()
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })()
	var group errgroup.Group
	for _, e := range []*delivery.Exporter{
		{Queue: t.spans, Send: delivery.NewSend(conn, delivery.TracesMethod, t.resource)},
		{Queue: t.logs, Send: delivery.NewSend(conn, delivery.LogsMethod, t.resource)},
	} {
		group.Go(func() error { return e.Run(ctx, sending) })
	}
	send := delivery.NewSend(conn, delivery.MetricsMethod, t.resource)
	group.Go(func() error { return t.runMetrics(ctx, sending, send) })
	return group.Wait()
}

// Span encodes s into the queue; nothing of s is retained.
func (t *Telemetry) Span(s *Span) {
	if t.agent == "" {
		return
	}
	b := scratch.Get().(*[]byte)
	*b = appendSpan((*b)[:0], s, t.proxy)
	t.spans.Add(*b, s.Error)
	scratch.Put(b)
}

// Log encodes r into the queue; nothing of r is retained.
func (t *Telemetry) Log(r *Record) {
	if t.agent == "" {
		return
	}
	b := scratch.Get().(*[]byte)
	*b = appendRecord((*b)[:0], r)
	t.logs.Add(*b, r.Severity >= SeverityError)
	scratch.Put(b)
}

// Duration counts seconds in the cumulative histogram metric with these attributes (in any order), and keeps trace as
// the newest exemplar of its bucket; a zero trace leaves none.
func (t *Telemetry) Duration(metric string, seconds float64, trace [16]byte, attrs ...Attr) {
	t.durations.observe(metric, seconds, trace, attrs)
}
