package middleware

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// Durations is where durations are counted.
type Durations interface {
	Duration(metric string, seconds float64, trace [16]byte, attrs ...telemetry.Attr)
}

// Metrics counts every request in http.server.request.duration: rate, errors and duration, with the trace as exemplar.
func Metrics(durations Durations) echo.MiddlewareFunc {
	observe := func(r *Request, raw *http.Request) {
		method, _ := knownMethod(raw.Method)
		attrs := append(r.attrs[:0],
			telemetry.Str(semconv.HTTPRequestMethod, method),
			telemetry.Str(semconv.URLScheme, scheme(raw)),
		)
		if r.Response.Status != 0 { // 0: cut off before there was a header
			attrs = append(attrs, telemetry.Int(semconv.HTTPResponseStatusCode, int64(r.Response.Status)))
		}
		if r.Matched != nil {
			attrs = append(attrs, telemetry.Str(semconv.HTTPRoute, r.Matched.Pattern), telemetry.Str(semconv.WeftRoute, r.Matched.Name))
		}
		if r.Failed() {
			attrs = append(attrs, telemetry.Str(semconv.ErrorType, r.errorType()))
		}
		durations.Duration(semconv.HTTPServerDuration, r.Duration().Seconds(), r.Call.TraceID, attrs...)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			Of(c).OnEnd(observe)
			return next(c)
		}
	}
}
