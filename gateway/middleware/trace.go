package middleware

import (
	"encoding/hex"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"

	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// Spans is where finished spans go.
type Spans interface{ Span(*telemetry.Span) }

// Trace reports the SERVER span of every request. A 4xx leaves its status unset: the server did its part.
func Trace(spans Spans) echo.MiddlewareFunc {
	observe := func(r *Request, raw *http.Request) { report(spans, r, raw) }
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			Of(c).OnEnd(observe)
			return next(c)
		}
	}
}

func report(spans Spans, r *Request, raw *http.Request) {
	method, known := knownMethod(raw.Method)
	r.span = telemetry.Span{
		TraceID: r.Call.TraceID, SpanID: r.Call.SpanID, ParentID: r.Parent, Name: method, Kind: telemetry.KindServer,
		Start: r.Start, End: r.Start.Add(r.Duration()), Error: r.Failed(),
	}
	span := &r.span
	attrs := append(r.attrs[:0],
		telemetry.Str(semconv.HTTPRequestMethod, method),
		telemetry.Str(semconv.URLPath, raw.URL.Path), // never the query: it may carry credentials
		telemetry.Str(semconv.URLScheme, scheme(raw)),
		telemetry.Str(semconv.ServerAddress, hostname(raw)),
		telemetry.Str(semconv.ClientAddress, r.Client),
		telemetry.Str(semconv.NetworkProtocolVersion, protocolVersion(raw)),
		telemetry.Str(semconv.RequestIDAttribute, r.Call.RequestID),
	)
	if r.Response.Status != 0 {
		attrs = append(attrs, telemetry.Int(semconv.HTTPResponseStatusCode, int64(r.Response.Status)))
	}
	if !known {
		attrs = append(attrs, telemetry.Str("http.request.method_original", raw.Method))
	}
	if agent := raw.UserAgent(); agent != "" {
		attrs = append(attrs, telemetry.Str(semconv.UserAgent, agent))
	}
	if r.Matched != nil {
		span.Name = method + " " + r.Matched.Pattern
		attrs = append(attrs, telemetry.Str(semconv.HTTPRoute, r.Matched.Pattern), telemetry.Str(semconv.WeftRoute, r.Matched.Name))
	}
	if r.Subject != "" {
		attrs = append(attrs, telemetry.Str("enduser.id", r.Subject))
	}
	if r.ClientRequestID != "" {
		attrs = append(attrs, telemetry.Str(semconv.ClientRequestID, r.ClientRequestID))
	}
	if r.ClientTrace != ([16]byte{}) {
		attrs = append(attrs, telemetry.Str(semconv.ClientTraceID, hex.EncodeToString(r.ClientTrace[:])))
		r.links[0] = telemetry.Link{TraceID: r.ClientTrace, SpanID: r.ClientSpan}
		span.Links = r.links[:]
	}
	if span.Error {
		attrs = append(attrs, telemetry.Str(semconv.ErrorType, r.errorType()))
		if r.Call.Cause != "" {
			attrs = append(attrs, telemetry.Str(semconv.WeftCause, r.Call.Cause))
		}
	}
	span.Attrs = attrs
	spans.Span(span)
}

// knownMethod bounds what a client can make of names and labels.
func knownMethod(method string) (string, bool) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method, true
	}
	return "_OTHER", false
}

func scheme(raw *http.Request) string {
	if raw.TLS != nil {
		return "https"
	}
	return "http"
}

func hostname(raw *http.Request) string {
	if host, _, err := net.SplitHostPort(raw.Host); err == nil {
		return host
	}
	return raw.Host
}

func protocolVersion(raw *http.Request) string {
	switch {
	case raw.ProtoMajor == 2:
		return "2"
	case raw.ProtoMajor == 1 && raw.ProtoMinor == 0:
		return "1.0"
	default:
		return "1.1"
	}
}
