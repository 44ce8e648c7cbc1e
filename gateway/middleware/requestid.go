package middleware

import (
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"weft/internal/forward"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// RequestIDConfig says whom to believe.
type RequestIDConfig struct {
	// TrustedHops are proxies of ours in front of the gateway: their trace context, request ID and forwarded headers
	// are kept. Everybody else's are not.
	TrustedHops []netip.Prefix
}

// maxClientID bounds what is kept of an untrusted request ID.
const maxClientID = 256

// strippedHeaders count only from trusted hops: trace context in any dialect, and who the caller says it forwards for.
var strippedHeaders = []string{
	semconv.HeaderTraceparent, semconv.HeaderTracestate, semconv.HeaderBaggage,
	"B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "Uber-Trace-Id",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Real-Ip",
}

// RequestID gives the request its identity and the rest of the chain its Request. The identity is the W3C trace; the
// request ID is the trace ID in hex unless a trusted hop brought one, and every response carries it.
func RequestID(cfg RequestIDConfig) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			raw := c.Request()
			r := &Request{Start: time.Now()}
			r.Call.SpanID = telemetry.NewSpanID()
			cfg.identify(r, raw)
			for name := range raw.Header {
				if strings.HasPrefix(name, semconv.HeaderPrefix) {
					delete(raw.Header, name)
				}
			}
			raw = raw.WithContext(forward.WithCall(raw.Context(), &r.Call))
			r.Response = Response{ResponseWriter: c.Response().Writer, upgraded: func() { r.finish(raw) }}
			r.Response.Header().Set(semconv.HeaderRequestID, r.Call.RequestID)
			c.SetRequest(raw)
			c.Response().Writer = &r.Response
			c.Set(requestKey, r)
			defer r.finish(raw)
			return next(c)
		}
	}
}

// identify decides on trace and request ID.
func (cfg RequestIDConfig) identify(r *Request, raw *http.Request) {
	header := raw.Header
	trace, span, _, traced := telemetry.ParseTraceparent(header.Get(semconv.HeaderTraceparent))
	id := header.Get(semconv.HeaderRequestID)
	peer := peerOf(raw)
	r.Client = peer.String()
	if cfg.trusts(peer) {
		r.Client = cfg.client(peer, header).String()
		if traced {
			r.Call.TraceID, r.Parent = trace, span
		} else {
			header.Del(semconv.HeaderTracestate) // of no trace
		}
	} else {
		if traced {
			r.ClientTrace, r.ClientSpan = trace, span
		}
		for _, name := range strippedHeaders {
			delete(header, name)
		}
	}
	if r.Call.TraceID == ([16]byte{}) {
		r.Call.TraceID = telemetry.NewTraceID()
	}
	if cfg.trusts(peer) && validID(id) {
		r.Call.RequestID = id
	} else {
		r.Call.RequestID = hex.EncodeToString(r.Call.TraceID[:])
		r.ClientRequestID = id[:min(len(id), maxClientID)]
	}
	header.Set(semconv.HeaderRequestID, r.Call.RequestID)
}

func (cfg RequestIDConfig) trusts(addr netip.Addr) bool {
	for _, prefix := range cfg.TrustedHops {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// client is the nearest address in X-Forwarded-For that is not a hop of ours: what is left of it anyone may have written.
func (cfg RequestIDConfig) client(peer netip.Addr, header http.Header) netip.Addr {
	hops := strings.Split(strings.Join(header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && cfg.trusts(peer); i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = addr.Unmap()
	}
	return peer
}

func peerOf(raw *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(raw.RemoteAddr)
	if err != nil { // a Unix socket has no address
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// validID is [A-Za-z0-9._-]{1,128}.
func validID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
