package sidecar

import (
	"net/http"
	"time"

	"weft/internal/identity"
	"weft/internal/sample"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// observe reports each request to the application as a SERVER span and a duration.
func (s *Sidecar) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &statusWriter{ResponseWriter: w}
		start := time.Now()
		defer func() { // also when the response breaks off, which is a panic
			s.recordInbound(r, seen.status, start)
		}()
		next.ServeHTTP(seen, r)
	})
}

func (s *Sidecar) recordInbound(r *http.Request, status int, start time.Time) {
	in, end := r.Context().Value(exchangeKey{}).(*exchange), time.Now()
	caller := r.Context().Value(callerKey{}).(identity.ID)
	failed := status >= http.StatusInternalServerError || in.Outcome == sample.Error || in.Outcome == sample.Timeout
	attrs := make([]telemetry.Attr, 0, 16)
	attrs = append(attrs, telemetry.Str(semconv.HTTPRequestMethod, r.Method), telemetry.Int(semconv.HTTPResponseStatusCode, int64(status)))
	if failed {
		attrs = append(attrs, telemetry.Str(semconv.ErrorType, in.Outcome.String()))
	}
	s.telemetry.Duration(semconv.HTTPServerDuration, end.Sub(start).Seconds(), in.TraceID, attrs...)
	cfg := s.config.Load()
	attrs = append(attrs,
		telemetry.Str(semconv.URLPath, r.URL.Path),
		telemetry.Str(semconv.RequestIDAttribute, in.RequestID),
		telemetry.Str(semconv.WeftDirection, inbound),
		telemetry.Str(semconv.WeftService, cfg.Service),
		telemetry.Str(semconv.WeftEndpoint, cfg.Instance),
		telemetry.Str(semconv.WeftOutcome, in.Outcome.String()),
		telemetry.Str(semconv.ClientAddress, caller.Reporter()),
		telemetry.Str(semconv.NetworkProtocolVersion, protocolVersion(r)),
	)
	if in.Number > 0 {
		attrs = append(attrs, telemetry.Int(semconv.HTTPResendCount, int64(in.Number)))
	}
	if in.Outcome == sample.Downstream {
		attrs = append(attrs, telemetry.Str(semconv.WeftCause, in.Cause))
	}
	s.telemetry.Span(&telemetry.Span{
		TraceID: in.TraceID, SpanID: in.SpanID, ParentID: in.parent, Name: r.Method + " " + cfg.Service, Kind: telemetry.KindServer,
		Start: start, End: end, Error: failed, Attrs: attrs,
	})
}

func protocolVersion(r *http.Request) string {
	if r.ProtoMajor == 2 {
		return "2"
	}
	return "1.1"
}

// statusWriter remembers the status. Flush and Hijack reach the server's own writer by Unwrap.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
