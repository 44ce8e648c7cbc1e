package middleware

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"weft/internal/telemetry"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// sink keeps what the steps report.
type sink struct {
	spans     []telemetry.Span
	records   []telemetry.Record
	durations []map[string]any
}

func (s *sink) Span(span *telemetry.Span) {
	kept := *span
	kept.Attrs = append([]telemetry.Attr(nil), span.Attrs...)
	kept.Links = append([]telemetry.Link(nil), span.Links...)
	s.spans = append(s.spans, kept)
}

func (s *sink) Log(record *telemetry.Record) {
	kept := *record
	kept.Attrs = append([]telemetry.Attr(nil), record.Attrs...)
	s.records = append(s.records, kept)
}

func (s *sink) Duration(metric string, _ float64, _ [16]byte, attrs ...telemetry.Attr) {
	s.durations = append(s.durations, values(attrs))
	s.durations[len(s.durations)-1]["metric"] = metric
}

func values(attrs []telemetry.Attr) map[string]any {
	out := map[string]any{}
	for _, a := range attrs {
		out[a.Key] = a.Value()
	}
	return out
}

// serve sends raw through the steps; the last of them does not call next.
func serve(raw *http.Request, steps ...echo.MiddlewareFunc) *httptest.ResponseRecorder {
	e := echo.New()
	e.Pre(steps...)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, raw)
	return w
}

// handle is a last step.
func handle(f func(c echo.Context, r *Request) error) echo.MiddlewareFunc {
	return func(echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { return f(c, Of(c)) }
	}
}

func request(method, path string, header ...string) *http.Request {
	raw := httptest.NewRequest(method, path, nil) // from 192.0.2.1
	for i := 0; i < len(header); i += 2 {
		raw.Header.Add(header[i], header[i+1])
	}
	return raw
}

func check(t *testing.T, got map[string]any, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s = %#v, want %#v (all: %v)", key, got[key], value, got)
		}
	}
}
