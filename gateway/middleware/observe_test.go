package middleware

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"weft/internal/sample"
	"weft/internal/telemetry"
)

// through sends raw through all steps that report, and lets act behave as the rest of the chain.
func through(raw *http.Request, act func(c echo.Context, r *Request) error) *sink {
	s := &sink{}
	serve(raw, RequestID(RequestIDConfig{}), Trace(s), Metrics(s), AccessLog(s), Problems(), Recover(), handle(act))
	return s
}

func TestWhatARequestReports(t *testing.T) {
	for name, test := range map[string]struct {
		act            func(c echo.Context, r *Request) error
		status         int64
		failed         bool
		errorType      any
		span, severity string
	}{
		"answered": {func(_ echo.Context, r *Request) error {
			r.Matched = &Matched{Name: "item", Pattern: "/api/items/{id}"}
			_, _ = r.Response.Write([]byte("hello"))
			return nil
		}, 200, false, nil, "GET /api/items/{id}", "INFO"},
		"not found":     {func(echo.Context, *Request) error { return Refuse(404, "no-route", "nothing here") }, 404, false, nil, "GET", "INFO"},
		"service error": {func(_ echo.Context, r *Request) error { r.Response.WriteHeader(503); return nil }, 503, true, "503", "GET", "ERROR"},
		"panic":         {func(echo.Context, *Request) error { panic("boom") }, 500, true, "500", "GET", "ERROR"},
		"broke off": {func(_ echo.Context, r *Request) error {
			r.Response.WriteHeader(200)
			r.Call.Outcome = sample.Error
			return nil
		}, 200, true, "error", "GET", "ERROR"},
		"client left": {func(_ echo.Context, r *Request) error {
			r.Call.Outcome = sample.Aborted
			r.Response.WriteHeader(499)
			return nil
		}, 499, false, nil, "GET", "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			s := through(request("GET", "/api/items/7?token=secret", "User-Agent", "curl", "X-Request-Id", "mine", "Traceparent", traceparent), test.act)
			if len(s.spans) != 1 || len(s.records) != 1 || len(s.durations) != 1 {
				t.Fatalf("%d spans, %d records, %d durations", len(s.spans), len(s.records), len(s.durations))
			}
			span, record := s.spans[0], s.records[0]
			if span.Name != test.span || span.Error != test.failed || span.Kind != telemetry.KindServer || span.End.Before(span.Start) ||
				len(span.Links) != 1 || span.Links[0].SpanID == [8]byte{} {
				t.Fatalf("span %+v", span)
			}
			attrs := values(span.Attrs)
			check(t, attrs, map[string]any{
				"http.request.method": "GET", "url.path": "/api/items/7", "url.scheme": "http", "http.response.status_code": test.status,
				"client.request_id": "mine", "client.trace_id": traceID, "user_agent.original": "curl", "client.address": "192.0.2.1",
				"http.request.header.x-request-id": hexOf(span.TraceID), "error.type": test.errorType, "network.protocol.version": "1.1",
			})
			check(t, s.durations[0], map[string]any{
				"metric": "http.server.request.duration", "http.response.status_code": test.status, "error.type": test.errorType,
				"http.route": attrs["http.route"],
			})
			if record.TraceID != span.TraceID || record.SpanID != span.SpanID || !strings.HasPrefix(record.Body, "GET /api/items/7 ") ||
				strings.Contains(record.Body, "secret") || (record.Severity == telemetry.SeverityError) != (test.severity == "ERROR") {
				t.Fatalf("record %+v", record)
			}
			check(t, values(record.Attrs), map[string]any{"request_id": hexOf(span.TraceID), "http.response.status_code": test.status})
		})
	}
}

func TestNamesAreBounded(t *testing.T) {
	raw := request("FROB", "/")
	raw.TLS = &tls.ConnectionState{}
	s := through(raw, func(_ echo.Context, r *Request) error { r.Response.WriteHeader(200); return nil })
	check(t, values(s.spans[0].Attrs), map[string]any{"http.request.method": "_OTHER", "http.request.method_original": "FROB", "url.scheme": "https"})
	check(t, s.durations[0], map[string]any{"http.request.method": "_OTHER"})
}

// ErrAbortHandler must cut the connection, and still be reported.
func TestAbortPasses(t *testing.T) {
	s := &sink{}
	defer func() {
		if caught := recover(); caught != http.ErrAbortHandler { // the value itself
			t.Fatalf("recovered %v", caught)
		}
		if len(s.spans) != 1 || !s.spans[0].Error {
			t.Fatalf("spans %+v", s.spans)
		}
	}()
	serve(request("GET", "/"), RequestID(RequestIDConfig{}), Trace(s), Problems(), Recover(), handle(func(_ echo.Context, r *Request) error {
		r.Response.WriteHeader(200)
		panic("after the header")
	}))
}

func TestInformationalHeaderIsNotTheStatus(t *testing.T) {
	w := &Response{ResponseWriter: httptest.NewRecorder()}
	w.WriteHeader(http.StatusEarlyHints)
	if w.Status != 0 {
		t.Fatalf("status %d", w.Status)
	}
	w.WriteHeader(http.StatusTeapot)
	w.WriteHeader(http.StatusOK)
	if w.Status != http.StatusTeapot {
		t.Fatalf("status %d", w.Status)
	}
}

func BenchmarkChain(b *testing.B) {
	tel, err := telemetry.New(telemetry.Config{OTLP: "127.0.0.1:1"}, telemetry.Resource{Service: "gateway", Instance: "gateway-1"})
	if err != nil {
		b.Fatal(err)
	}
	e := echo.New()
	matched := &Matched{Name: "item", Pattern: "/api/items/{id}"}
	whole := func(c echo.Context) error {
		r := Of(c)
		r.Matched = matched
		r.Response.WriteHeader(http.StatusNoContent)
		return nil
	}
	for _, step := range []echo.MiddlewareFunc{Recover(), Problems(), AccessLog(tel), Metrics(tel), Trace(tel), RequestID(RequestIDConfig{})} {
		whole = step(whole)
	}
	e.Pre(func(echo.HandlerFunc) echo.HandlerFunc { return whole })
	raw := request("GET", "/api/items/7")
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(httptest.NewRecorder(), raw)
	}
}
