package forward

import (
	"context"
	"net"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"weft/internal/endpoints"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// agent keeps the spans it is sent.
type agent struct {
	ptraceotlp.UnimplementedGRPCServer
	mu    sync.Mutex
	spans []ptrace.Span
}

func (a *agent) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, resource := range r.Traces().ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				a.spans = append(a.spans, span)
			}
		}
	}
	return ptraceotlp.NewExportResponse(), nil
}

func TestEachAttemptIsASpan(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	kept, server := &agent{}, grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, kept)
	tel, err := telemetry.New(telemetry.Config{OTLP: l.Addr().String()}, telemetry.Resource{Service: "orders", Instance: "orders-1", Proxy: "sidecar"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	running.Go(func() { _ = tel.Run(ctx) })
	t.Cleanup(func() { stop(); server.Stop(); running.Wait() })

	r := &rig{t: t, table: endpoints.NewTable(map[string]endpoints.StaticService{"shop": {Endpoints: []endpoints.StaticEndpoint{
		{Instance: "shop-1", Address: refuses(t)}, {Instance: "shop-2", Address: endpoint(t, ok)},
	}}}), route: Route{Name: "buy", Service: "shop", Pattern: "/buy/{id}", ConnectTimeout: 1e9, ResponseTimeout: 1e9}}
	cfg := DefaultConfig()
	cfg.Balance.ProbeShare = 0
	r.start(cfg, Deps{Table: r.table, Recorder: both{r, &TelemetryRecorder{Telemetry: tel, Direction: "outbound"}}})
	_, _, attempts := r.until("GET", "")

	find := func(id [8]byte) (found ptrace.Span, ok bool) {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		for _, s := range kept.spans {
			if s.SpanID() == id {
				return s, true
			}
		}
		return found, false
	}
	var first, second ptrace.Span
	eventually(t, func() bool {
		var one, two bool
		first, one = find(attempts[0].SpanID)
		second, two = find(attempts[1].SpanID)
		return one && two
	})
	for span, want := range map[ptrace.Span]map[string]any{
		first: {
			semconv.WeftEndpoint: "shop-1", semconv.WeftOutcome: "connect_failure", semconv.ErrorType: "connect_failure", semconv.HTTPResendCount: nil,
			semconv.HTTPResponseStatusCode: nil, semconv.WeftWeight: int64(100), semconv.WeftPick: "p2c",
		},
		second: {
			semconv.WeftEndpoint: "shop-2", semconv.WeftOutcome: "ok", semconv.ErrorType: nil, semconv.HTTPResendCount: int64(1),
			semconv.HTTPResponseStatusCode: int64(200), semconv.WeftPick: "retry",
		},
	} {
		for key, value := range map[string]any{
			semconv.WeftService: "shop", semconv.WeftRoute: "buy", semconv.HTTPRoute: "/buy/{id}", semconv.WeftDirection: "outbound",
			semconv.RequestIDAttribute: "req-1", semconv.HTTPRequestMethod: "GET", semconv.URLPath: "/x", semconv.WeftProxy: "sidecar",
		} {
			want[key] = value
		}
		for key, value := range want {
			got, there := span.Attributes().Get(key)
			if value == nil && there || value != nil && (!there || got.AsRaw() != value) {
				t.Errorf("%s is %v, want %v", key, got.AsRaw(), value)
			}
		}
		if span.TraceID() != (pcommon.TraceID{1}) || span.ParentSpanID() != (pcommon.SpanID{2}) || span.Kind() != ptrace.SpanKindClient || span.Name() != "GET shop" {
			t.Errorf("span %v %v %v %q", span.TraceID(), span.ParentSpanID(), span.Kind(), span.Name())
		}
	}
	if first.Status().Code() != ptrace.StatusCodeError || second.Status().Code() != ptrace.StatusCodeUnset {
		t.Errorf("status %v and %v", first.Status().Code(), second.Status().Code())
	}
}

// both tells two recorders.
type both struct{ a, b Recorder }

func (b both) Record(x *Attempt) { b.a.Record(x); b.b.Record(x) }
