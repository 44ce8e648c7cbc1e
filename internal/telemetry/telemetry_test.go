package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/telemetry/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAgent answers OTLP as the test's answer function says, and keeps what it took.
type fakeAgent struct {
	addr   string
	server *grpc.Server
	mu     sync.Mutex
	answer func() error
	spans  []string
	logs   []string
	points int
	// rejects is how many items of a request it leaves out, the first ones, and says so.
	rejects atomic.Int64
}

func startAgent(t *testing.T, addr string) *fakeAgent {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	a := &fakeAgent{addr: listener.Addr().String(), server: grpc.NewServer()}
	ptraceotlp.RegisterGRPCServer(a.server, &traceServer{fake: a})
	plogotlp.RegisterGRPCServer(a.server, &logServer{fake: a})
	pmetricotlp.RegisterGRPCServer(a.server, &metricServer{fake: a})
	done := make(chan struct{})
	go func() { defer close(done); _ = a.server.Serve(listener) }()
	t.Cleanup(func() { a.server.Stop(); <-done })
	return a
}

func (a *fakeAgent) take(keep func()) error {
	a.mu.Lock()
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		if err := answer(); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	keep()
	return nil
}

func (a *fakeAgent) set(answer func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *fakeAgent) count() (spans, logs, points int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.spans), len(a.logs), a.points
}

type traceServer struct {
	ptraceotlp.UnimplementedGRPCServer
	fake *fakeAgent
}

func (s *traceServer) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	answer, reject := ptraceotlp.NewExportResponse(), s.fake.rejects.Load()
	answer.PartialSuccess().SetRejectedSpans(reject)
	return answer, s.fake.take(func() {
		for i, span := range r.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
			if i >= int(reject) {
				s.fake.spans = append(s.fake.spans, span.Name())
			}
		}
	})
}

type logServer struct {
	plogotlp.UnimplementedGRPCServer
	fake *fakeAgent
}

func (s *logServer) Export(_ context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	answer, reject := plogotlp.NewExportResponse(), s.fake.rejects.Load()
	answer.PartialSuccess().SetRejectedLogRecords(reject)
	return answer, s.fake.take(func() {
		for i, record := range r.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			if i >= int(reject) {
				s.fake.logs = append(s.fake.logs, record.Body().Str())
			}
		}
	})
}

type metricServer struct {
	pmetricotlp.UnimplementedGRPCServer
	fake *fakeAgent
}

func (s *metricServer) Export(_ context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	answer, reject := pmetricotlp.NewExportResponse(), s.fake.rejects.Load()
	answer.PartialSuccess().SetRejectedDataPoints(reject)
	return answer, s.fake.take(func() { s.fake.points += r.Metrics().DataPointCount() - int(reject) })
}

// running starts t and returns a function that stops it and waits.
func running(t *testing.T, tel *Telemetry) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tel.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func newTelemetry(t testing.TB, addr string) *Telemetry {
	t.Helper()
	tel, err := New(Config{OTLP: addr}, Resource{Service: "gateway", Instance: "gateway-1", Version: "1", Proxy: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestEverySignalReachesTheAgent(t *testing.T) {
	agent := startAgent(t, "127.0.0.1:0")
	tel := newTelemetry(t, agent.addr)
	running(t, tel)
	for i := range 10 {
		tel.Span(&Span{Name: fmt.Sprint("span ", i), TraceID: NewTraceID(), SpanID: NewSpanID()})
		tel.Log(&Record{Time: time.Now(), Body: fmt.Sprint("record ", i), Severity: SeverityInfo})
		tel.Duration("http.server.request.duration", 0.1, NewTraceID(), Str("http.route", "/"))
	}
	eventually(t, "10 spans, 10 records, a point", func() bool {
		spans, logs, points := agent.count()
		return spans == 10 && logs == 10 && points >= 1
	})
	eventually(t, "all counted as sent", func() bool {
		return tel.spans.Ledger().Sent == 10 && tel.logs.Ledger().Sent == 10
	})
}

func TestStoppingSendsWhatIsQueued(t *testing.T) {
	agent := startAgent(t, "127.0.0.1:0")
	tel := newTelemetry(t, agent.addr)
	stop := running(t, tel)
	for range 5000 {
		tel.Span(&Span{Name: "late"})
	}
	stop()
	if spans, _, _ := agent.count(); spans != 5000 {
		t.Fatalf("%d of 5000 spans", spans)
	}
}

func TestARefusalIsRetriedOrCounted(t *testing.T) {
	agent := startAgent(t, "127.0.0.1:0")
	refusals := make(chan error, 3)
	refusals <- status.Error(codes.Unavailable, "full")
	refusals <- status.Error(codes.DeadlineExceeded, "slow")
	agent.set(func() error {
		select {
		case err := <-refusals:
			return err
		default:
			return nil
		}
	})
	tel := newTelemetry(t, agent.addr)
	running(t, tel)
	tel.Span(&Span{Name: "kept"})
	eventually(t, "the span, after two refusals", func() bool { spans, _, _ := agent.count(); return spans == 1 })
	agent.set(func() error { return status.Error(codes.InvalidArgument, "bad") })
	tel.Span(&Span{Name: "refused"})
	eventually(t, "the refusal counted", func() bool { return tel.spans.Ledger().Dropped[delivery.Refused] == 1 })
	agent.set(nil)
	tel.Span(&Span{Name: "after"})
	eventually(t, "the next span", func() bool { spans, _, _ := agent.count(); return spans == 2 })
}

// A dead agent costs the oldest items only, never a caller's time, and every one is counted.
func TestADeadAgentCostsTheOldest(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	tel := newTelemetry(t, addr)
	stop := running(t, tel)
	const total = 60_000
	padding := strings.Repeat("x", 400)
	for i := range total {
		tel.Span(&Span{Name: fmt.Sprint(i), Attrs: []Attr{Str("padding", padding)}})
		if i%5000 == 0 {
			runtime.Gosched() // let batches fail on the way
		}
	}
	if queued := tel.spans.Bytes(); queued > spanBytes {
		t.Fatalf("%d bytes queued", queued)
	}
	agent := startAgent(t, addr)
	eventually(t, "the newest span", func() bool {
		agent.mu.Lock()
		defer agent.mu.Unlock()
		return len(agent.spans) > 0 && agent.spans[len(agent.spans)-1] == fmt.Sprint(total-1)
	})
	stop()
	l := tel.spans.Ledger()
	if l.Sent+l.Dropped[delivery.Overflow] != total || l.Dropped[delivery.Overflow] == 0 {
		t.Fatalf("not %d: %+v", total, l)
	}
	if spans, _, _ := agent.count(); uint64(spans) != l.Sent {
		t.Fatalf("agent has %d, sent %d", spans, l.Sent)
	}
}

// An agent that accepts connections and never answers must not hold anything up either.
func TestASilentAgentDoesNotBlock(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tel := newTelemetry(t, listener.Addr().String())
	stop := running(t, tel)
	for range 40_000 {
		tel.Span(&Span{Name: "silence", Attrs: []Attr{Str("padding", strings.Repeat("x", 400))}})
	}
	stop()
	if l := tel.spans.Ledger(); l.Dropped[delivery.Overflow]+l.Dropped[delivery.Unfinished] != 40_000 {
		t.Fatalf("not 40000: %+v", l)
	}
}

func TestOversizedSpanIsCounted(t *testing.T) {
	tel := newTelemetry(t, "127.0.0.1:1")
	attrs := make([]Attr, 20)
	for i := range attrs {
		attrs[i] = Str(fmt.Sprint(i), strings.Repeat("x", maxText))
	}
	tel.Span(&Span{Attrs: attrs})
	if n := tel.spans.Ledger().Dropped[delivery.Oversized]; n != 1 {
		t.Fatalf("%d oversized", n)
	}
}

func TestAttributeSetsAreBounded(t *testing.T) {
	tel := newTelemetry(t, "")
	for i := range maxSets + 100 {
		tel.Duration("http.server.request.duration", 0.1, [16]byte{}, Str("http.route", fmt.Sprint(i)))
	}
	all := tel.durations.read()
	if len(all) != maxSets+1 || tel.durations.overflow.Load() != 100 {
		t.Fatalf("%d sets, %d overflowed", len(all), tel.durations.overflow.Load())
	}
	var counted uint64
	for _, s := range all {
		counted += s.count()
	}
	if counted != maxSets+100 {
		t.Fatalf("%d counted", counted)
	}
}

func TestMetricsEndpoint(t *testing.T) {
	tel := newTelemetry(t, "127.0.0.1:1")
	tel.Duration("http.server.request.duration", 0.02, NewTraceID(), Str("http.route", "/a"), Int("http.response.status_code", 200))
	tel.Duration("http.server.request.duration", 0.02, NewTraceID(), Str("http.route", "/b"))
	registry := prometheus.NewRegistry()
	tel.Collect(registry)
	NewLane(nil, nil).Collect(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, f := range families {
		names[f.GetName()] = len(f.GetMetric())
	}
	if names["http_server_request_duration_seconds"] != 2 || names["weft_telemetry_dropped_items_total"] != 18 || names["weft_lane_reports_total"] != 1 {
		t.Fatalf("families %v", names)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Fatalf("lint: %v %v", problems, err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	_, err := New(Config{OTLP: "nowhere"}, Resource{})
	if err == nil || !strings.Contains(err.Error(), "telemetry.otlp") {
		t.Fatalf("error %v", err)
	}
	if err := errors.Join(Config{OTLP: "127.0.0.1:4317", Lane: "agent:4319"}.Validate("telemetry")); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSpan(b *testing.B) {
	tel := newTelemetry(b, "127.0.0.1:1")
	s := sampleSpan()
	b.ReportAllocs()
	for b.Loop() {
		tel.Span(s)
	}
}

func BenchmarkSpanParallel(b *testing.B) {
	tel := newTelemetry(b, "127.0.0.1:1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := sampleSpan()
		for pb.Next() {
			tel.Span(s)
		}
	})
}

func BenchmarkLog(b *testing.B) {
	tel := newTelemetry(b, "127.0.0.1:1")
	r := &Record{Time: time.Now(), Body: "GET /api/home 200", Severity: SeverityInfo, Attrs: []Attr{Str("request_id", "abc"), Int("status", 200)}}
	b.ReportAllocs()
	for b.Loop() {
		tel.Log(r)
	}
}

func BenchmarkDuration(b *testing.B) {
	tel := newTelemetry(b, "127.0.0.1:1")
	trace := NewTraceID()
	b.ReportAllocs()
	for b.Loop() {
		tel.Duration("http.server.request.duration", 0.02, trace,
			Str("http.request.method", "GET"), Str("http.route", "/api/items/{id}"), Int("http.response.status_code", 200))
	}
}
