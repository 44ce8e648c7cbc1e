package sidecar

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/sample"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

const (
	inbound  = "inbound"
	outbound = "outbound"
)

// layer is one step of a chain: it does its part and calls the next.
type layer func(next http.Handler) http.Handler

// chain makes layers, the first one outermost, into a handler.
func chain(end http.Handler, layers ...layer) http.Handler {
	for _, l := range slices.Backward(layers) {
		end = l(end)
	}
	return end
}

// inboundChain is the way of a request from the mesh to the application.
func (s *Sidecar) inboundChain() http.Handler {
	return chain(
		http.HandlerFunc(s.toApplication), // last: the attempt, which is what a witness counts
		s.authenticate,                    // first: no mesh identity, no service
		s.identify,                        // request ID, trace and deadline: believed, since the caller is one of ours
		s.observe,                         // SERVER span and duration, of refusals too
		s.authorize,                       // who may call is this service's own list
		s.track,                           // from here on outbound calls find the request they belong to
	)
}

// serveInbound serves the mesh until ctx ends.
func (s *Sidecar) serveInbound(ctx context.Context) error {
	// Control is let in to see that the certificate is the one that registers; it is served nothing.
	secure := s.source.ServerTLS(identity.Allow(identity.RoleProxy, identity.RoleControl))
	if s.config.Load().Inbound.Protocol == endpoints.TCP {
		secure.NextProtos = append([]string{"weft-tcp"}, secure.NextProtos...) // control's look offers HTTP
		return s.acceptTCP(ctx, tls.NewListener(s.listeners.inbound, secure), s.tcpInbound)
	}
	server := &http.Server{Handler: s.inboundChain(), TLSConfig: secure}
	return serveHTTP(ctx, server, func() error { return server.ServeTLS(s.listeners.inbound, "", "") })
}

type callerKey struct{}

// authenticate finds out who calls. The handshake has verified the certificate.
func (s *Sidecar) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := identity.PeerFromTLS(r.TLS)
		if err != nil || caller.Role != identity.RoleProxy {
			forward.WriteProblem(w, forward.Problem{
				Type: forward.ProblemType("not-a-proxy"), Status: http.StatusForbidden, Detail: "only proxies of the mesh are served here",
			})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// identify makes the request's Call from what the calling proxy sent.
func (s *Sidecar) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace, parent, _, ok := telemetry.ParseTraceparent(r.Header.Get(semconv.HeaderTraceparent))
		if !ok {
			trace = telemetry.NewTraceID()
		}
		in := &exchange{parent: parent, Call: forward.Call{
			TraceID: trace, SpanID: telemetry.NewSpanID(), RequestID: requestID(r, trace),
		}}
		in.Number, _ = strconv.Atoi(r.Header.Get(semconv.HeaderAttempt)) // absent or malformed: the first
		if ms, err := strconv.ParseInt(r.Header.Get(semconv.HeaderTimeout), 10, 32); err == nil && ms > 0 {
			in.Deadline = time.Now().Add(time.Duration(ms) * time.Millisecond)
		}
		w.Header().Set(semconv.HeaderRequestID, in.RequestID)
		ctx := forward.WithCall(context.WithValue(r.Context(), exchangeKey{}, in), &in.Call)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// exchange is a request on its way through the inbound chain.
type exchange struct {
	forward.Call
	parent [8]byte // the calling proxy's attempt
}

type exchangeKey struct{}

// authorize applies inbound.allow.
func (s *Sidecar) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cfg, caller := s.config.Load(), r.Context().Value(callerKey{}).(identity.ID)
		if !allowed(cfg, caller) {
			call := forward.CallFrom(r.Context())
			call.Outcome = sample.Load
			w.Header().Set(semconv.HeaderOutcome, sample.Load.String())
			forward.WriteProblem(w, forward.Problem{
				Type: forward.ProblemType("not-allowed"), Status: http.StatusForbidden, Instance: r.URL.Path, RequestID: call.RequestID,
				Detail: "service " + caller.Service + " may not call service " + cfg.Service,
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func allowed(cfg *Config, caller identity.ID) bool {
	return len(cfg.Inbound.Allow) == 0 || slices.Contains(cfg.Inbound.Allow, caller.Service)
}

// track keeps the request among the flights while the application works on it.
func (s *Sidecar) track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := s.flights.begin(r.Context(), forward.CallFrom(r.Context()))
		defer s.flights.end(x)
		next.ServeHTTP(w, r)
	})
}

func (s *Sidecar) toApplication(w http.ResponseWriter, r *http.Request) {
	s.routes.Load().application.ServeHTTP(w, r)
}

// requestID is the one that came, when it is one, or the trace.
func requestID(r *http.Request, trace [16]byte) string {
	if id := r.Header.Get(semconv.HeaderRequestID); validRequestID(id) {
		return id
	}
	const digits = "0123456789abcdef"
	var b [32]byte
	for i, x := range trace {
		b[2*i], b[2*i+1] = digits[x>>4], digits[x&15]
	}
	return string(b[:])
}

// validRequestID is [A-Za-z0-9._-]{1,128}.
func validRequestID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// tcpInbound carries one connection from the mesh to the application.
func (s *Sidecar) tcpInbound(ctx context.Context, conn net.Conn) {
	secure, cfg := conn.(*tls.Conn), s.config.Load()
	handshake, cancel := context.WithTimeout(ctx, cfg.Inbound.ConnectTimeout)
	defer cancel()
	if secure.HandshakeContext(handshake) != nil {
		_ = conn.Close()
		return
	}
	state := secure.ConnectionState()
	caller, err := identity.PeerFromTLS(&state)
	if err != nil || caller.Role != identity.RoleProxy || !allowed(cfg, caller) {
		_ = conn.Close()
		return
	}
	s.inward.ServeTCP(ctx, conn, &s.routes.Load().tcpApplication)
}
