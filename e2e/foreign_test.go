package e2e

import (
	"context"
	"errors"
	"fmt"
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

	within(t, 5*time.Second, "trace and logs", func() error {
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
	token := strings.TrimSpace(u.weft("join-token", "payment/payment-foreign"))
	sidecar(t, u, token, service.Listener.Addr().String())
	within(t, 20*time.Second, "registered", func() error {
		if len(u.views("payment-foreign")) == 0 {
			return errors.New("no proxy sees it")
		}
		return nil
	})
	u.warmUp()
	u.leaves("payment-foreign", func() { failing.Store(true) })
	u.evidence("payment-foreign", 2)
	u.comesBack("payment-foreign", func() { failing.Store(false) })
}

// sidecar runs bin/mesh sidecar beside a foreign service.
func sidecar(t *testing.T, u *weftUp, token, app string) {
	agent := u.part("agent").Addresses
	config := fmt.Sprintf(`
service: payment
instance: payment-foreign
ops: 127.0.0.1:0
identity: {control: %[1]q, join_token: %[2]q}
control: %[1]q
telemetry: {otlp: %[3]q, lane: %[4]q}
inbound: {listen: %[5]q, app: %[6]q}
outbound: {listen: %[7]q}
`, u.address("control", "grpc"), token, agent["otlp_grpc"], agent["lane"], freeAddress(t), app, freeAddress(t))
	path := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &synced{}
	cmd := exec.Command(binary(t, "mesh"), "sidecar", "--config", path)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the foreign sidecar: %s", out)
		}
	})
}

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
