package otlpreceiver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"weft/internal/otlp"
)

var signals = []otlp.Signal{otlp.SignalTraces, otlp.SignalLogs, otlp.SignalMetrics}

// otlpReceiver is one pair of servers, shared by all signals that the YAML gives a pipeline from it.
type otlpReceiver struct {
	cfg       *Config
	set       receiver.Settings
	pipelines map[otlp.Signal]pipeline
	budget    *budget

	start, stop sync.Once // each signal's pipeline asks for both
	err         error     // of the start
	started     atomic.Bool
	meters      *meters
	grpc        *grpc.Server
	http        *http.Server
	serving     sync.WaitGroup
	// Requests over HTTP share it; they can outlive their server, when that is closed and not drained.
	running sync.RWMutex
	closed  bool
}

func newReceiver(cfg *Config, set receiver.Settings) *otlpReceiver {
	return &otlpReceiver{cfg: cfg, set: set, pipelines: map[otlp.Signal]pipeline{}, budget: &budget{limit: cfg.InFlightBytes}}
}

func (r *otlpReceiver) begun() bool { return r.started.Load() }

// Start listens. By then every pipeline has joined, and extensions, which Sinks are, have started.
func (r *otlpReceiver) Start(ctx context.Context, host component.Host) error {
	r.start.Do(func() {
		r.started.Store(true)
		if r.err = r.listen(ctx, host); r.err != nil {
			r.err = errors.Join(r.err, r.Shutdown(ctx))
		}
	})
	return r.err
}

func (r *otlpReceiver) listen(ctx context.Context, host component.Host) (err error) {
	if r.meters, err = newMeters(r.set.MeterProvider, r.budget); err != nil {
		return err
	}
	if r.cfg.Protocols.GRPC.HasValue() {
		if err := r.listenGRPC(ctx, host); err != nil {
			return err
		}
	}
	if r.cfg.Protocols.HTTP.HasValue() {
		return r.listenHTTP(ctx, host)
	}
	return nil
}

// intakes are those of the signals that somebody takes; the others are unimplemented.
func (r *otlpReceiver) intakes(transport string, host component.Host) []*intake {
	var out []*intake
	for _, signal := range signals {
		in := newIntake(signal, transport, r.meters)
		if in.pipeline = r.pipelines[signal]; in.pipeline == nil {
			in.sink = sinkFor(host, signal)
		}
		if in.pipeline != nil || in.sink != nil {
			out = append(out, in)
		}
	}
	return out
}

func (r *otlpReceiver) listenGRPC(ctx context.Context, host component.Host) error {
	cfg := r.cfg.Protocols.GRPC.Get()
	server, err := cfg.ToServer(ctx, host.GetExtensions(), r.set.TelemetrySettings, grpcOptions()...)
	if err != nil {
		return err
	}
	for _, in := range r.intakes("grpc", host) {
		server.RegisterService(grpcService(in, r.budget, grpcLimit(cfg)), nil)
	}
	listener, err := cfg.NetAddr.Listen(ctx)
	if err != nil {
		return err
	}
	r.grpc = server
	r.serve("gRPC", listener, host, server.Serve)
	return nil
}

func (r *otlpReceiver) listenHTTP(ctx context.Context, host component.Host) error {
	cfg := r.cfg.Protocols.HTTP.Get()
	mux := http.NewServeMux()
	for _, in := range r.intakes("http", host) {
		mux.Handle(cfg.path(in.signal), r.waited(&httpIntake{intake: in, budget: r.budget, limit: int(httpLimit(cfg))}))
	}
	server, err := cfg.ToServer(ctx, host.GetExtensions(), r.set.TelemetrySettings, mux, httpOptions()...)
	if err != nil {
		return err
	}
	listener, err := cfg.ToListener(ctx)
	if err != nil {
		return err
	}
	r.http = server
	r.serve("HTTP", listener, host, server.Serve)
	return nil
}

// waited makes Shutdown wait for a request.
func (r *otlpReceiver) waited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.running.RLock()
		defer r.running.RUnlock()
		if !r.closed { // else nobody is there to be answered
			next.ServeHTTP(w, req)
		}
	})
}

func (r *otlpReceiver) serve(protocol string, listener net.Listener, host component.Host, serve func(net.Listener) error) {
	r.set.Logger.Info("receives OTLP", zap.String("protocol", protocol), zap.String("address", listener.Addr().String()))
	r.serving.Go(func() {
		err := serve(listener)
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(err))
		}
	})
}

// Shutdown answers what has come in, until ctx ends; then what is left is cancelled. Nothing runs any more when it returns.
func (r *otlpReceiver) Shutdown(ctx context.Context) (err error) {
	r.stop.Do(func() {
		var stopping sync.WaitGroup
		if r.grpc != nil {
			stopping.Go(func() { stopGRPC(ctx, r.grpc) })
		}
		if r.http != nil {
			if err = r.http.Shutdown(ctx); err != nil {
				err = errors.Join(err, r.http.Close())
			}
		}
		stopping.Wait()
		r.running.Lock()
		r.closed = true
		r.running.Unlock()
		r.serving.Wait()
		if r.meters != nil && r.meters.inFlight != nil {
			err = errors.Join(err, r.meters.inFlight.Unregister())
		}
	})
	return err
}

func stopGRPC(ctx context.Context, server *grpc.Server) {
	cut := context.AfterFunc(ctx, server.Stop)
	defer cut()
	server.GracefulStop() // returns when every handler has, whoever stops it
}
