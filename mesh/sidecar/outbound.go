package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"weft/internal/forward"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// outboundChain is the way of a request from the application to the mesh. The attempts report themselves as CLIENT
// spans, so nothing is observed here.
func (s *Sidecar) outboundChain() http.Handler {
	return chain(
		http.HandlerFunc(s.toMesh), // last: the attempts
		s.address,                  // first: which service is called
		s.tie,                      // to the request that the application is working on
	)
}

// serveOutbound serves the application until ctx ends.
func (s *Sidecar) serveOutbound(ctx context.Context) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC clients
	server := &http.Server{Handler: s.outboundChain(), Protocols: protocols}
	return serveHTTP(ctx, server, func() error { return server.Serve(s.listeners.outbound) })
}

type serviceKey struct{}

// address reads the service from the URL of a proxy request, or from Host; a port says nothing here.
func (s *Sidecar) address(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Host
		if name == "" {
			name = r.Host
		}
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		if r.Method == http.MethodConnect || r.URL.Scheme == "https" {
			forward.WriteProblem(w, forward.Problem{
				Type: forward.ProblemType("not-http"), Status: http.StatusMethodNotAllowed,
				Detail: "the sidecar makes the connection secure: call http://" + name + " instead",
			})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), serviceKey{}, strings.ToLower(name))))
	})
}

// tie makes the request's Call: the application's own trace context when it kept it, and what its inbound request says
// when it lost some of it.
func (s *Sidecar) tie(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := s.callFor(r)
		w.Header().Set(semconv.HeaderRequestID, call.RequestID)
		next.ServeHTTP(w, r.WithContext(forward.WithCall(r.Context(), call)))
	})
}

func (s *Sidecar) callFor(r *http.Request) *forward.Call {
	trace, parent, _, ok := telemetry.ParseTraceparent(r.Header.Get(semconv.HeaderTraceparent))
	if ok {
		call := &forward.Call{TraceID: trace, SpanID: parent}
		if flight, found := s.flights.ofTrace(trace); found {
			call.RequestID, call.Deadline = flight.RequestID, flight.Deadline
		} else {
			call.RequestID = requestID(r, trace)
		}
		return call
	}
	if id := r.Header.Get(semconv.HeaderRequestID); id != "" {
		if flight, found := s.flights.ofRequest(id); found {
			flight.Repaired = true
			return &flight
		}
	}
	trace = telemetry.NewTraceID()
	return &forward.Call{TraceID: trace, RequestID: requestID(r, trace)}
}

func (s *Sidecar) toMesh(w http.ResponseWriter, r *http.Request) {
	service := r.Context().Value(serviceKey{}).(string)
	s.routes.Load().service(r.Context(), service).ServeHTTP(w, r)
}

// routes are the ways that follow from one configuration.
type routes struct {
	sidecar        *Sidecar
	config         *Config
	application    http.Handler
	tcpApplication forward.Route
	services       sync.Map // service name → http.Handler; only services that somebody serves
}

func (s *Sidecar) newRoutes(cfg *Config) *routes {
	way := forward.Route{
		Service: cfg.Service, ConnectTimeout: cfg.Inbound.ConnectTimeout, ResponseTimeout: cfg.Inbound.ResponseTimeout, Local: true,
	}
	return &routes{sidecar: s, config: cfg, application: s.inward.Handler(way), tcpApplication: way}
}

// service is the way to one service. One that nobody serves is not kept, since its name is the application's invention.
func (r *routes) service(ctx context.Context, name string) http.Handler {
	if h, ok := r.services.Load(name); ok {
		return h.(http.Handler)
	}
	out := r.config.Outbound
	h := r.sidecar.outward.Handler(forward.Route{Service: name, ConnectTimeout: out.ConnectTimeout, ResponseTimeout: out.ResponseTimeout})
	if _, served := r.sidecar.table.Await(ctx, name); served {
		r.services.Store(name, h)
	}
	return h
}

// serveTCP carries connections of one TCP route until ctx ends.
func (s *Sidecar) serveTCP(ctx context.Context, i int) error {
	return s.acceptTCP(ctx, s.listeners.tcp[i], func(ctx context.Context, conn net.Conn) {
		route := s.config.Load().TCPRoutes[i]
		if route.ConnectTimeout == 0 {
			route.ConnectTimeout = defaultConnectTimeout
		}
		s.outward.ServeTCP(ctx, conn, &forward.Route{Service: route.Service, ConnectTimeout: route.ConnectTimeout})
	})
}

// maxTCP bounds the connections of one listener; beyond it new ones wait in the kernel.
const maxTCP = 4096

// acceptTCP serves each connection until ctx ends and all of them have ended.
func (s *Sidecar) acceptTCP(ctx context.Context, listener net.Listener, serve func(context.Context, net.Conn)) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	var open sync.WaitGroup
	defer open.Wait()
	slots := make(chan struct{}, maxTCP)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil { // out of file descriptors, most likely: it passes
			sleep(ctx, firstTry)
			continue
		}
		slots <- struct{}{}
		open.Go(func() {
			defer func() { <-slots }()
			serve(ctx, conn)
		})
	}
}
