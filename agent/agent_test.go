package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"weft/collector/signal"
)

// TestMain is the agent itself when a test starts this binary again: a process of its own, that can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("WEFT_TEST_AGENT") == "" {
		os.Exit(m.Run())
	}
	if err := Command(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// collector is the far end: it keeps what it got.
type collector struct {
	mu      sync.Mutex
	spans   []signal.Span
	logs    []signal.Log
	sources map[string]bool // service/instance of metrics
	hanging bool            // it takes nothing
}

func (c *collector) hang(hanging bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hanging = hanging
}

type traceServer struct {
	ptraceotlp.UnimplementedGRPCServer
	*collector
}
type logServer struct {
	plogotlp.UnimplementedGRPCServer
	*collector
}
type metricServer struct {
	pmetricotlp.UnimplementedGRPCServer
	*collector
}

func (c *traceServer) Export(_ context.Context, in ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hanging {
		return ptraceotlp.NewExportResponse(), status.Error(codes.ResourceExhausted, "not now")
	}
	c.spans = append(c.spans, signal.Spans(in.Traces())...)
	return ptraceotlp.NewExportResponse(), nil
}

func (c *logServer) Export(_ context.Context, in plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs = append(c.logs, signal.Logs(in.Logs())...)
	return plogotlp.NewExportResponse(), nil
}

func (c *metricServer) Export(_ context.Context, in pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rm := range in.Metrics().ResourceMetrics().All() {
		service, _ := rm.Resource().Attributes().Get("service.name")
		instance, _ := rm.Resource().Attributes().Get("service.instance.id")
		c.sources[service.AsString()+"/"+instance.AsString()] = true
	}
	return pmetricotlp.NewExportResponse(), nil
}

func (c *collector) names() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		names = append(names, s.Name)
	}
	return names
}

func serveCollector(t *testing.T, addr string) *collector {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{sources: map[string]bool{}}
	server := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, &traceServer{collector: c})
	plogotlp.RegisterGRPCServer(server, &logServer{collector: c})
	pmetricotlp.RegisterGRPCServer(server, &metricServer{collector: c})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c
}

// node is the environment of one agent.
type node struct {
	data, grpc, http, ops, collector string
}

func newNode(t testing.TB) node {
	t.Helper()
	n := node{t.TempDir(), freePort(t), freePort(t), freePort(t), freePort(t)}
	for name, value := range map[string]string{
		"WEFT_AGENT_INSTANCE": "agent-7", "WEFT_AGENT_DATA": n.data, "WEFT_AGENT_OTLP_GRPC": n.grpc, "WEFT_AGENT_OTLP_HTTP": n.http,
		"WEFT_AGENT_OPS": n.ops, "WEFT_AGENT_COLLECTOR": n.collector, "WEFT_AGENT_FILELOG": filepath.Join(n.data, "*.log"),
	} {
		t.Setenv(name, value)
	}
	return n
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// start runs the agent until the test ends, or stop is called.
func (n node) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Command(ctx, args) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("agent: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	n.awaitReady(t)
	return stop
}

func (n node) awaitReady(t testing.TB) {
	t.Helper()
	await(t, "ready", func() bool {
		answer, err := http.Get("http://" + n.ops + "/readyz")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func (n node) export(t *testing.T, name string) error {
	t.Helper()
	conn, err := grpc.NewClient(n.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetName(name)
	span.SetTraceID(pcommon.TraceID{1})
	span.SetSpanID(pcommon.SpanID{2})
	_, err = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(traces))
	return err
}

func await(t testing.TB, what string, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in 30 s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestBuiltInConfigurationIsValid(t *testing.T) {
	newNode(t)
	if err := Command(t.Context(), []string{"check"}); err != nil {
		t.Fatal(err)
	}
}

func TestAcknowledgedItemsOutliveTheCollectorsAndTheAgentsAbsence(t *testing.T) {
	n := newNode(t)
	stop := n.start(t)
	if err := n.export(t, "while the collector is away"); err != nil {
		t.Fatal(err)
	}
	stop()
	far := serveCollector(t, n.collector)
	n.start(t)
	await(t, "delivered", func() bool { return strings.Join(far.names(), ",") == "while the collector is away" })
	if err := n.export(t, "now"); err != nil {
		t.Fatal(err)
	}
	await(t, "delivered", func() bool { return len(far.names()) == 2 })
	await(t, "measured", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		return far.sources["agent/agent-7"]
	})
	await(t, "accounted for", func() bool {
		answer, err := http.Get("http://" + n.ops + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(text), "weft_queue_recovered_items_total{signal=\"traces\"} 1\n") &&
			strings.Contains(string(text), "weft_queue_sent_items_total{signal=\"traces\"} 2\n")
	})
}

// process starts the agent as a process of its own; kill is kill -9.
func (n node) process(t testing.TB, args ...string) (kill func()) {
	t.Helper()
	run := exec.Command(os.Args[0], args...)
	run.Env = append(os.Environ(), "WEFT_TEST_AGENT=1")
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	kill = func() { once.Do(func() { _ = run.Process.Kill(); _ = run.Wait() }) }
	t.Cleanup(kill)
	n.awaitReady(t)
	return kill
}

// awaitAll waits until the collector has each of these spans.
func (c *collector) awaitAll(t *testing.T, acknowledged []string) {
	t.Helper()
	await(t, "delivered", func() bool {
		got := map[string]bool{}
		for _, name := range c.names() {
			got[name] = true
		}
		for _, name := range acknowledged {
			if !got[name] {
				return false
			}
		}
		return true
	})
}

// Five kills under load, at whatever moment they come, the collector there or not.
func TestAcknowledgedItemsSurviveKill(t *testing.T) {
	n := newNode(t)
	far := serveCollector(t, n.collector)
	var acknowledged []string
	for life := range 5 {
		kill := n.process(t)
		var sending sync.WaitGroup
		var mu sync.Mutex
		here := 0
		for sender := range 4 {
			sending.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("%d-%d-%d", life, sender, i)
					if n.export(t, name) != nil {
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, name)
					if here++; here == 100+17*life {
						go kill()
					}
					mu.Unlock()
				}
			})
		}
		sending.Wait()
		if life == 2 {
			far.hang(true) // what is queued then stays so for two lives
		}
	}
	far.hang(false)
	n.start(t)
	far.awaitAll(t, acknowledged)
	if len(acknowledged) < 500 {
		t.Errorf("only %d acknowledged", len(acknowledged))
	}
}

// Reloads under load, of the queue itself and of what is around it: nothing is lost and nothing arrives twice.
func TestAReloadNeitherLosesNorDoubles(t *testing.T) {
	n := newNode(t)
	far := serveCollector(t, n.collector)
	overlay := filepath.Join(t.TempDir(), "overlay.yaml")
	reload := func(text string) {
		if err := os.WriteFile(overlay, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reload("")
	n.start(t, "--config", overlay)
	acknowledged := map[string]bool{}
	sent := 0
	for _, text := range []string{
		"service: {telemetry: {logs: {level: warn}}}", // the queue stays open
		"extensions: {queue: {in_flight: 1}}",         // it is closed and opened
		"extensions: {queue: {request_bytes: 2000}}",
		"extensions: {queue: {no_such_key: 1}}", // nothing happens
	} {
		for before := len(acknowledged); len(acknowledged) < before+300; sent++ {
			if len(acknowledged) == before+20 {
				reload(text)
			}
			if name := fmt.Sprint(sent); n.export(t, name) == nil {
				acknowledged[name] = true
			}
		}
	}
	await(t, "delivered", func() bool { return len(far.names()) >= len(acknowledged) })
	got := map[string]int{}
	for _, name := range far.names() {
		got[name]++
	}
	for name := range acknowledged {
		if got[name] != 1 {
			t.Errorf("%q arrived %d times", name, got[name])
		}
	}
}

// A disk that is really full, and kill -9: exporterhelper's queue lost 500 of 6,450 acknowledged items here.
func TestAFullDiskAndAKillLoseNothing(t *testing.T) {
	n := newNode(t)
	if err := syscall.Mount("tmpfs", n.data, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(n.data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	overlay := filepath.Join(t.TempDir(), "full.yaml")
	if err := os.WriteFile(overlay, []byte("extensions: {queue: {reserve_percent: 0}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	fill := func(life int) {
		for refused := 0; refused < 20; {
			name := fmt.Sprintf("%d-%d %s", life, len(acknowledged), strings.Repeat("x", 5000))
			switch err := n.export(t, name); status.Code(err) {
			case codes.OK:
				acknowledged = append(acknowledged, name)
			case codes.Unavailable:
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	for life := range 3 {
		kill := n.process(t, "--config", overlay)
		fill(life)
		kill()
	}
	far := serveCollector(t, n.collector)
	n.process(t, "--config", overlay)
	far.awaitAll(t, acknowledged)
	await(t, "taken again", func() bool { return n.export(t, "room again") == nil })
	far.awaitAll(t, []string{"room again"})
	if len(acknowledged) < 100 {
		t.Errorf("only %d fitted", len(acknowledged))
	}
}

func TestFileLogsBecomeRecordsOfTheirService(t *testing.T) {
	n := newNode(t)
	far := serveCollector(t, n.collector)
	file := filepath.Join(n.data, "cart.log")
	lines := `{"time":"2026-11-22T22:50:00.123456789+01:00","level":"WARN","msg":"slow","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","request_id":"r-1","service":"cart-api","instance":"cart-1","items":3}
{"time":"2026-11-22T22:50:01Z","level":"INFO","msg":"no service named"}
plain text
{"time":"garbage","level":"odd","msg":"kept all the same","trace_id":"zz"}
{"broken":
`
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := n.start(t)
	got := map[string]signal.Log{}
	await(t, "read", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		for _, l := range far.logs {
			got[l.Body] = l
		}
		return len(far.logs) >= 5
	})
	first := got["slow"]
	want := fmt.Sprint("cart-api cart-1 WARN 13 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 r-1 ", time.Date(2026, 11, 22, 21, 50, 0, 123456789, time.UTC).UnixNano())
	if have := fmt.Sprint(first.Service, " ", first.Instance, " ", first.Severity, " ", first.SeverityNumber, " ", first.TraceID, " ", first.SpanID, " ", first.RequestID, " ", first.Time); have != want {
		t.Errorf("got  %s\nwant %s", have, want)
	}
	if first.Attributes.Text("items") == "3" || fmt.Sprint(first.Attributes["items"]) != "3" {
		t.Errorf("attributes %v", first.Attributes)
	}
	for _, body := range []string{"no service named", "plain text", "kept all the same", `{"broken":`} {
		if l, ok := got[body]; !ok || l.Service != "cart" {
			t.Errorf("%q: found %v, service %q, want the file's name", body, ok, l.Service)
		}
	}
	// After a restart the file goes on where it was left.
	stop()
	n.start(t)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("after the restart\n"); err != nil {
		t.Fatal(err)
	}
	await(t, "read on", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		return far.logs[len(far.logs)-1].Body == "after the restart"
	})
	if len(far.logs) != 6 {
		t.Errorf("%d records, want 6: lines were read twice", len(far.logs))
	}
}

func TestAFullQueueAsksSendersToComeAgain(t *testing.T) {
	n := newNode(t)
	overlay := filepath.Join(n.data, "small.yaml")
	if err := os.WriteFile(overlay, []byte("extensions: {queue: {limit_bytes: 2000}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t, "--config", overlay)
	var refused error
	await(t, "full", func() bool {
		refused = n.export(t, strings.Repeat("x", 100))
		return refused != nil
	})
	if status.Code(refused) != codes.Unavailable || len(status.Convert(refused).Details()) != 1 {
		t.Fatalf("refused with %v", refused)
	}
	if retry := status.Convert(refused).Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration(); retry < time.Second {
		t.Errorf("retry after %v", retry)
	}
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01000000000000000000000000000000","spanId":"0200000000000000","name":"` + strings.Repeat("x", 700) + `"}]}]}]}`
	answer, err := http.Post("http://"+n.http+"/v1/traces", "application/json", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("HTTP answer %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
}
