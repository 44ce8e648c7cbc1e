package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/internal/endpoints"
	"weft/internal/forward"
	"weft/internal/identity"
	"weft/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func valid(t *testing.T) *Config {
	c := DefaultConfig()
	c.Service, c.Instance = "orders", "orders-1"
	c.Identity = identity.Config{Socket: filepath.Join(t.TempDir(), "id.sock")} // where nobody listens
	c.Inbound.App, c.Outbound.Listen = "127.0.0.1:1", "127.0.0.1:0"
	return c
}

func TestConfigJudgesItself(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":                 {func(*Config) {}, ""},
		"no service":           {func(c *Config) { c.Service = "" }, "service:"},
		"no application":       {func(c *Config) { c.Inbound.App = "" }, "inbound.app:"},
		"open outbound":        {func(c *Config) { c.Outbound.Listen = "0.0.0.0:1" }, "outbound.listen:"},
		"open TCP route":       {func(c *Config) { c.TCPRoutes = []TCPRoute{{Listen: ":1", Service: "mysql"}} }, "tcp_routes[0].listen:"},
		"route to nothing":     {func(c *Config) { c.TCPRoutes = []TCPRoute{{Listen: "127.0.0.1:1"}} }, "tcp_routes[0].service:"},
		"protocol":             {func(c *Config) { c.Inbound.Protocol = "udp" }, "inbound.protocol:"},
		"no time":              {func(c *Config) { c.Outbound.ResponseTimeout = 0 }, "outbound.response_timeout:"},
		"no identity":          {func(c *Config) { c.Identity = identity.Config{} }, "identity:"},
		"too many retries":     {func(c *Config) { c.Retry.Attempts = 9 }, "retry.attempts:"},
		"breaker that can't":   {func(c *Config) { c.Breaker.ConsecutiveFailures = 0 }, "breaker.consecutive_failures:"},
		"allow of a non-name":  {func(c *Config) { c.Inbound.Allow = []string{"a b"} }, "inbound.allow[0]:"},
		"control without port": {func(c *Config) { c.Control = "here" }, "control:"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := valid(t)
			test.change(c)
			err := c.Validate()
			if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhatNeedsARestart(t *testing.T) {
	old, next := valid(t), valid(t)
	next.Identity = old.Identity
	next.Inbound.Allow, next.Outbound.ResponseTimeout = []string{"cart"}, time.Second
	if err := old.fixed(next); err != nil {
		t.Fatal(err)
	}
	next.Inbound.Listen = "127.0.0.1:2"
	if err := old.fixed(next); err == nil || !strings.Contains(err.Error(), "inbound.listen") {
		t.Fatal(err)
	}
}

func TestPortInUseIsAnErrorAtOnce(t *testing.T) {
	first, err := New(valid(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer first.listeners.close()
	c := valid(t)
	c.Outbound.Listen = first.listeners.outbound.Addr().String()
	if _, err := New(c, ""); err == nil || !strings.Contains(err.Error(), "outbound.listen") {
		t.Fatal(err)
	}
}

// A sidecar whose control never answers still stops, with every goroutine home.
func TestRunEndsWithItsContext(t *testing.T) {
	c := valid(t)
	c.Control, c.TCPRoutes = "127.0.0.1:1", []TCPRoute{{Listen: "127.0.0.1:0", Service: "mysql"}}
	c.Telemetry.OTLP, c.Telemetry.Lane = "127.0.0.1:1", "127.0.0.1:1"
	path := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(c, path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for {
		res, err := http.Get("http://" + s.ops.Addr() + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("ready without an identity: %d", res.StatusCode)
			}
			break
		}
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still running")
	}
	http.DefaultClient.CloseIdleConnections()
}

func call(trace byte, id string) *forward.Call {
	return &forward.Call{TraceID: [16]byte{trace}, SpanID: [8]byte{trace}, RequestID: id}
}

func TestFlights(t *testing.T) {
	f := newFlights()
	one, two, other := call(1, "r1"), call(1, "r2"), call(2, "r2")
	ctx, leave := context.WithCancel(context.Background())
	a, b, c := f.begin(ctx, one), f.begin(ctx, two), f.begin(context.Background(), other)
	f.end(a)
	if told, ok := f.ofTrace([16]byte{1}); !ok || told.RequestID != "r2" {
		t.Fatal("the second request of the trace is still in flight")
	}
	if told, ok := f.ofRequest("r2"); !ok || told.TraceID != other.TraceID {
		t.Fatal("the newest request with an ID answers for it")
	}
	f.blame(&forward.Call{TraceID: [16]byte{1}, RequestID: "r2", Cause: "payment/payment-2"})
	if f.cause(two) != "payment/payment-2" || f.cause(other) != "" || f.cause(one) != "" {
		t.Fatal("a failure belongs to the requests of its trace that are in flight")
	}
	f.blame(&forward.Call{TraceID: [16]byte{1}, RequestID: "r2", Cause: "cart/cart-1", Outcome: sample.Aborted})
	if f.cause(two) != "payment/payment-2" {
		t.Fatal("what was cancelled after a failure is not its cause")
	}
	if !f.waiting(call(1, "")) || f.waiting(call(9, "")) {
		t.Fatal("waiting: trace 1 is, trace 9 is unknown")
	}
	leave()
	if f.waiting(call(1, "")) {
		t.Fatal("its client left")
	}
	f.blame(&forward.Call{Cause: "mysql/mysql-1"}) // a TCP connection
	if f.cause(other) != "mysql/mysql-1" || f.cause(two) != "payment/payment-2" {
		t.Fatal("a TCP failure just now is the cause where no other is known")
	}
	f.end(b)
	f.end(c)
	f.end(nil)
	if len(f.byTrace) != 0 || len(f.byRequest) != 0 {
		t.Fatalf("left over: %v %v", f.byTrace, f.byRequest)
	}
}

func TestTyingACallToItsRequest(t *testing.T) {
	s := &Sidecar{flights: newFlights()}
	in := call(1, "in.1")
	in.Deadline = time.Now().Add(time.Second)
	s.flights.begin(context.Background(), in)
	known := "00-01000000000000000000000000000000-00000000000000aa-01"
	foreign := "00-09000000000000000000000000000000-00000000000000aa-01"
	tests := map[string]struct {
		traceparent, requestID string
		trace                  byte // 0: a new one
		id                     string
		repaired               bool
	}{
		"both kept":                 {known, "in.1", 1, "in.1", false},
		"request ID dropped":        {known, "", 1, "in.1", false},
		"request ID changed":        {known, "mine", 1, "in.1", false},
		"trace dropped":             {"", "in.1", 1, "in.1", true},
		"trace malformed":           {"00-zz", "in.1", 1, "in.1", true},
		"both dropped":              {"", "", 0, "", false},
		"a trace of its own":        {foreign, "", 9, "09000000000000000000000000000000", false},
		"an unknown request ID":     {"", "mine", 0, "mine", false},
		"not a request ID":          {foreign, "a b", 9, "09000000000000000000000000000000", false},
		"a trace and ID of its own": {foreign, "mine", 9, "mine", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://payment/", nil)
			r.Header.Set("Traceparent", test.traceparent)
			r.Header.Set("X-Request-Id", test.requestID)
			got := s.callFor(r)
			id := test.id
			if test.trace == 0 && id == "" {
				id = fmt.Sprintf("%x", got.TraceID)
			}
			if test.trace != 0 && got.TraceID != [16]byte{test.trace} || test.trace == 0 && (got.TraceID == [16]byte{1} || got.TraceID == [16]byte{}) ||
				got.RequestID != id || got.Repaired != test.repaired || got.Deadline.IsZero() == (test.trace == 1) {
				t.Fatalf("%+v", got)
			}
			if test.repaired && got.SpanID != in.SpanID {
				t.Fatal("a repaired call hangs below the inbound span")
			}
		})
	}
}

func TestOutboundAddresses(t *testing.T) {
	s, err := New(valid(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.listeners.close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) }))
	defer app.Close()
	s.table.SetStatic(map[string]endpoints.StaticService{"catalog": {Endpoints: []endpoints.StaticEndpoint{{Instance: "catalog-1", Address: app.Listener.Addr().String()}}}})
	chain := s.outboundChain()
	for name, test := range map[string]struct {
		method, target, host string
		status               int
		body                 string
	}{
		"proxy form":           {"GET", "http://catalog/items", "catalog", 200, "catalog/items"},
		"with a port":          {"GET", "http://Catalog:8080/items", "Catalog:8080", 200, "Catalog:8080/items"},
		"origin form":          {"GET", "/items", "catalog", 200, "catalog/items"},
		"no mesh inside TLS":   {"CONNECT", "//catalog:443", "catalog:443", 405, "not-http"},
		"nobody serves it":     {"GET", "http://nobody/", "nobody", 503, "no-endpoint"},
		"a name that is none":  {"GET", "http://a_b!c/", "a_b!c", 503, "no-endpoint"},
		"the weft of a client": {"GET", "http://catalog/x", "catalog", 200, "catalog/x"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, nil)
			r.Host = test.host
			w := httptest.NewRecorder()
			chain.ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) || test.status != 405 && w.Header().Get("X-Request-Id") == "" {
				t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
			}
		})
	}
	if err := s.outward.Run(canceled()); err != nil { // closes the idle connections
		t.Fatal(err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
