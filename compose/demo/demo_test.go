package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// town runs every service of the shop behind one proxy, as their sidecars would, on real sockets, a real SQLite file
// and a real JetStream.
func town(t *testing.T) *httptest.Server {
	queue, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	queue.Start()
	t.Cleanup(func() { queue.Shutdown(); queue.WaitForShutdown() })
	if !queue.ReadyForConnections(10 * time.Second) {
		t.Fatal("the queue is not ready")
	}
	s := settings{sqlite: filepath.Join(t.TempDir(), "shop.db"), nats: queue.Addr().(*net.TCPAddr).String()}

	handlers := map[string]http.Handler{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handlers[r.Host].ServeHTTP(w, r) }))
	t.Cleanup(proxy.Close)
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: passOn{&http.Transport{Proxy: http.ProxyURL(at)}}}
	for name, build := range services() {
		d := &deps{log: slog.New(slog.NewTextHandler(io.Discard, nil)), client: client}
		handler, err := build(context.Background(), s, d)
		if err != nil {
			t.Fatal(err)
		}
		handlers[name] = withRequestID(handler)
		t.Cleanup(func() {
			for _, closer := range d.closers {
				_ = closer.Close()
			}
		})
	}
	front := httptest.NewServer(handlers["storefront"])
	t.Cleanup(front.Close)
	return front
}

func TestShop(t *testing.T) {
	front := town(t)
	tests := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"home":            {"GET", "/api/home", "", 200, "Wool, indigo"},
		"item":            {"GET", "/api/items/3", "", 200, "Silk, madder red"},
		"no such item":    {"GET", "/api/items/99", "", 404, "item page failed"},
		"not a number":    {"GET", "/api/items/x", "", 404, "item page failed"},
		"checkout":        {"POST", "/api/checkout", "", 200, "authorised"},
		"two of them":     {"POST", "/api/checkout", `{"item":2,"amount":2}`, 200, "3800"},
		"declined":        {"POST", "/api/checkout", `{"item":2,"amount":1000}`, 502, "checkout failed"},
		"not JSON":        {"POST", "/api/checkout", `{`, 400, "not JSON"},
		"no such address": {"GET", "/api/nothing", "", 404, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest(test.method, front.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || !strings.Contains(string(body), test.want) {
				t.Fatalf("%d %s, want %d with %q", response.StatusCode, body, test.status, test.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	f := &faults{}
	handler := f.wrap(slog.New(slog.NewTextHandler(io.Discard, nil)), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	status := func() int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Code
	}
	tell := func(method, body string) int {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(method, "/fault", strings.NewReader(body)))
		return w.Code
	}
	if got := status(); got != 200 {
		t.Fatalf("healthy: %d", got)
	}
	if got := tell("POST", `{"errors":1}`); got != 204 || status() != 500 {
		t.Fatalf("broken: %d, then %d", got, status())
	}
	for _, bad := range []string{`{"errors":2}`, `{"delay":"soon"}`, `{`} {
		if got := tell("POST", bad); got != 400 {
			t.Errorf("%s: %d", bad, got)
		}
	}
	if got := tell("DELETE", ""); got != 204 || status() != 200 {
		t.Fatalf("healed: %d, then %d", got, status())
	}
}

// TestFileLog proves that a line in the file has what the agent needs to join it to its request.
func TestFileLog(t *testing.T) {
	var line strings.Builder
	log := fileLogger(&line, "catalog", "catalog-1")
	ctx := context.WithValue(context.Background(), requestIDKey{}, "r-1")
	log.InfoContext(ctx, "served item", requestID(ctx))
	var got map[string]string
	if err := json.Unmarshal([]byte(line.String()), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"service": "catalog", "instance": "catalog-1", "level": "INFO", "msg": "served item", "request_id": "r-1"} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
}

// TestBackingSpans: a call of a backing service is a span that names it, and says when it failed.
func TestBackingSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	down := errors.New("connection refused")
	for _, err := range []error{nil, down} {
		got := databaseOf("mariadb", "mysql", "127.0.0.1:3306").span(t.Context(), "SELECT items", func(context.Context) error { return err })
		if !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].SpanKind() != trace.SpanKindClient || spans[0].Status().Code != codes.Unset || spans[1].Status().Code != codes.Error {
		t.Fatalf("spans %+v", spans)
	}
	attributes := attribute.NewSet(spans[0].Attributes()...)
	for key, want := range map[attribute.Key]string{"db.system.name": "mariadb", "peer.service": "mysql", "server.address": "127.0.0.1", "server.port": "3306"} {
		if got, _ := attributes.Value(key); got.String() != want {
			t.Errorf("%s is %q, want %q", key, got.String(), want)
		}
	}
}

// TestServerSpansNameTheirRoute: otelhttp sees the pattern that the service's own mux matched.
func TestServerSpansNameTheirRoute(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(http.ResponseWriter, *http.Request) {})
	request := httptest.NewRequest("GET", "/items/1", nil)
	withRequestID(mux).ServeHTTP(httptest.NewRecorder(), request)
	if request.Pattern != "GET /items/{id}" {
		t.Errorf("pattern %q", request.Pattern)
	}
}
