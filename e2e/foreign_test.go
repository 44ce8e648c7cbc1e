package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// app is an application that knows nothing of Weft: the ordinary SDK, sending to the agent's ordinary port.
type app struct {
	tracer trace.Tracer
	logger log.Logger
	stop   func()
}

func newApp(t *testing.T, name, endpoint string) *app {
	ctx := context.Background()
	described := resource.NewSchemaless(attribute.String("service.name", name), attribute.String("service.instance.id", name+"-1"))
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	records, err := otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(endpoint), otlploggrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(described))
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(records)), sdklog.WithResource(described))
	return &app{traces.Tracer("app"), logs.Logger("app"), func() {
		if err := errors.Join(traces.Shutdown(ctx), logs.Shutdown(ctx)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}}
}

// TestForeignApp sends plain OTLP: it shows up with traces, logs, RED metrics and an edge, and moves no traffic.
func TestForeignApp(t *testing.T) {
	u := start(t, "", "--no-traffic", "--no-demo")
	endpoint := u.address("agent", "otlp_grpc")
	front, back := newApp(t, "alien-front", endpoint), newApp(t, "alien-back", endpoint)
	var id string
	for range 20 {
		ctx, server := front.tracer.Start(context.Background(), "GET /", trace.WithSpanKind(trace.SpanKindServer))
		called, client := front.tracer.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient))
		inner, remote := back.tracer.Start(called, "POST /work", trace.WithSpanKind(trace.SpanKindServer))
		var line log.Record
		line.SetBody(log.StringValue("working"))
		line.SetTimestamp(time.Now())
		back.logger.Emit(inner, line)
		remote.End()
		client.End()
		server.End()
		id = server.SpanContext().TraceID().String()
	}
	front.stop()
	back.stop()

	within(t, 15*time.Second, "trace and logs", func() error {
		var s story
		if err := u.get("/api/requests/"+id, &s); err != nil {
			return err
		}
		if len(s.Spans) != 3 || len(s.Logs) != 1 {
			return fmt.Errorf("%d spans and %d logs", len(s.Spans), len(s.Logs))
		}
		return nil
	})
	for query, want := range map[string]string{
		`traces_spanmetrics_calls_total{service="alien-back"}`:                                "20",
		`traces_service_graph_request_total{client="alien-front",server="alien-back"}`:        "20",
		`traces_service_graph_request_failed_total{client="alien-front",server="alien-back"}`: "0",
	} {
		within(t, 20*time.Second, query, func() error { return u.metric(query, want) })
	}
	var verdicts []verdict
	if err := u.verdicts(&verdicts); err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		if strings.HasPrefix(v.Service, "alien") && v.State != "healthy" {
			t.Errorf("plain OTLP made a verdict: %+v", v)
		}
	}
}

// metric asks Prometheus' own API for the sum of a query; no series at all counts as 0.
func (u *weftUp) metric(query, want string) error {
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := u.get("/prometheus/api/v1/query?query="+url.QueryEscape("sum("+query+") or vector(0)"), &answer); err != nil {
		return err
	}
	if len(answer.Data.Result) != 1 || fmt.Sprint(answer.Data.Result[0].Value[1]) != want {
		return fmt.Errorf("%v, want %s", answer.Data.Result, want)
	}
	return nil
}

// TestForeignEndpoint registers a process that Weft did not start, which then fails by itself.
func TestForeignEndpoint(t *testing.T) {
	u := start(t, "", "--no-traffic")
	var failing atomic.Bool
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() && rand.Float64() < 0.3 {
			http.Error(w, "by itself", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"status":"authorised"}`)
	}))
	t.Cleanup(service.Close)
	u.sidecar("payment", "payment-foreign", service.Listener.Addr().String())
	within(t, 20*time.Second, "registered", func() error {
		if len(u.views("payment-foreign")) == 0 {
			return errors.New("no proxy sees it")
		}
		return nil
	})
	charge := u.tills()
	u.warmUp(charge)
	u.leaves("payment-foreign", charge, func() { failing.Store(true) })
	u.evidence("payment-foreign", 2)
	u.comesBack("payment-foreign", charge, func() { failing.Store(false) })
}

// sidecar runs bin/mesh sidecar beside a process that weft up did not start, and returns the address of its outbound.
// Its identity comes by a join token, as on another machine.
func (u *weftUp) sidecar(service, instance, app string) string {
	u.t.Helper()
	token := strings.TrimSpace(u.weft("join-token", service+"/"+instance))
	agent, outbound := u.part("agent").Addresses, freeAddress(u.t)
	config := fmt.Sprintf(`
service: %[8]s
instance: %[9]s
ops: 127.0.0.1:0
identity: {control: %[1]q, join_token: %[2]q}
control: %[1]q
telemetry: {otlp: %[3]q, lane: %[4]q}
breaker: {enabled: false}
inbound: {listen: %[5]q, app: %[6]q}
outbound: {listen: %[7]q, services: [payment]}
`, u.address("control", "grpc"), token, agent["otlp_grpc"], agent["lane"], freeAddress(u.t), app, outbound, service, instance)
	path := filepath.Join(u.t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		u.t.Fatal(err)
	}
	out := &synced{}
	cmd := exec.Command(binary(u.t, "mesh"), "sidecar", "--config", path)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if u.t.Failed() {
			u.t.Logf("%s: %s", instance, out)
		}
	})
	return outbound
}

// tills are three callers of payment that are not part of the shop, each behind a sidecar of its own: they put hundreds of
// requests a second on payment without the cost of a whole checkout for each.
func (u *weftUp) tills() (charge func() (int, string, error)) {
	u.t.Helper()
	app := httptest.NewServer(http.NotFoundHandler())
	u.t.Cleanup(app.Close)
	var clients []*http.Client
	for n := 1; n <= 3; n++ {
		at := &url.URL{Scheme: "http", Host: u.sidecar("till", fmt.Sprintf("till-%d", n), app.Listener.Addr().String())}
		clients = append(clients, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(at), MaxIdleConnsPerHost: 64}})
	}
	var turn atomic.Uint64
	charge = func() (int, string, error) {
		request, err := http.NewRequest(http.MethodPost, "http://payment/charges", strings.NewReader(`{"order":1,"cents":1900}`))
		if err != nil {
			return 0, "", err
		}
		response, err := clients[turn.Add(1)%uint64(len(clients))].Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, response.Header.Get("X-Request-Id"), err
	}
	within(u.t, 30*time.Second, "the tills reach payment", func() error {
		for range clients {
			if status, _, err := charge(); err != nil || status != http.StatusOK {
				return fmt.Errorf("status %d, %v", status, err)
			}
		}
		return nil
	})
	return charge
}

func freeAddress(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
