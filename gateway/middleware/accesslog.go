package middleware

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// Records is where log records go.
type Records interface{ Log(*telemetry.Record) }

// AccessLog writes one record per request, with trace, span and request ID, so that it is found from any of them.
func AccessLog(records Records) echo.MiddlewareFunc {
	observe := func(r *Request, raw *http.Request) { record(records, r, raw) }
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			Of(c).OnEnd(observe)
			return next(c)
		}
	}
}

func record(records Records, r *Request, raw *http.Request) {
	method, _ := knownMethod(raw.Method)
	took := r.Duration()
	attrs := append(r.attrs[:0],
		telemetry.Str(semconv.RequestIDLog, r.Call.RequestID),
		telemetry.Str(semconv.HTTPRequestMethod, method),
		telemetry.Str(semconv.URLPath, raw.URL.Path),
		telemetry.Int(semconv.HTTPResponseStatusCode, int64(r.Response.Status)),
		telemetry.Int("http.response.body.size", r.Response.Bytes),
		telemetry.Float("duration_ms", float64(took)/float64(time.Millisecond)),
		telemetry.Str(semconv.ClientAddress, r.Client),
	)
	if r.Matched != nil {
		attrs = append(attrs, telemetry.Str(semconv.WeftRoute, r.Matched.Name))
	}
	if e := r.Call.Endpoint; e != nil {
		attrs = append(attrs, telemetry.Str(semconv.WeftEndpoint, e.Instance), telemetry.Int("weft.attempts", int64(r.Call.Attempts)))
	}
	if r.Subject != "" {
		attrs = append(attrs, telemetry.Str("enduser.id", r.Subject))
	}
	if r.ClientRequestID != "" {
		attrs = append(attrs, telemetry.Str(semconv.ClientRequestID, r.ClientRequestID))
	}
	severity := uint8(telemetry.SeverityInfo)
	if r.Failed() {
		severity = telemetry.SeverityError
	}
	r.record = telemetry.Record{
		Time: r.Start.Add(took), TraceID: r.Call.TraceID, SpanID: r.Call.SpanID, Severity: severity,
		Body: line(method, raw.URL.Path, r.Response.Status, took), Attrs: attrs,
	}
	records.Log(&r.record)
}

// line is for people: "GET /api/home 200 12.3ms".
func line(method, path string, status int, took time.Duration) string {
	b := make([]byte, 0, len(method)+len(path)+24)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = strconv.AppendFloat(b, float64(took)/float64(time.Millisecond), 'f', 1, 64)
	b = append(b, "ms"...)
	return string(b)
}
