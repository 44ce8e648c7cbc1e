package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// TestMain is the collector itself when a test starts this binary again: a process of its own, that can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("WEFT_TEST_COLLECTOR") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := Command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// place is where one collector runs, again and again.
type place struct {
	data, grpc, http, ops, web, overlay string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{data: t.TempDir(), grpc: freePort(t), http: freePort(t), ops: freePort(t), web: freePort(t)}
	p.overlay = filepath.Join(p.data, "overlay.yaml")
	p.configure(t, "")
	return p
}

func (p place) configure(t *testing.T, yaml string) {
	t.Helper()
	if err := os.WriteFile(p.overlay, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// process is one run of the collector.
type process struct {
	place
	cmd *exec.Cmd
	log *bytes.Buffer
}

func (p place) start(t *testing.T) *process {
	t.Helper()
	run := &process{place: p, log: &bytes.Buffer{}, cmd: exec.Command(os.Args[0], "--config", p.overlay)}
	run.cmd.Env = append(os.Environ(), "WEFT_TEST_COLLECTOR=1", "WEFT_COLLECTOR_DATA="+p.data, "WEFT_COLLECTOR_OTLP_GRPC="+p.grpc,
		"WEFT_COLLECTOR_OTLP_HTTP="+p.http, "WEFT_COLLECTOR_OPS="+p.ops, "WEFT_COLLECTOR_HTTP="+p.web, "WEFT_COLLECTOR_LANE=127.0.0.1:0")
	run.cmd.Stderr = run.log
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.end(syscall.SIGKILL) })
	await(t, "ready", func() bool { code, _ := get("http://" + p.ops + "/readyz"); return code == http.StatusOK })
	return run
}

func (r *process) end(sig os.Signal) {
	_ = r.cmd.Process.Signal(sig)
	_ = r.cmd.Wait()
}

func get(url string) (int, []byte) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil
	}
	return answer.StatusCode, body
}

func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in 30 s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// shop sends what two applications that know nothing of Weft would: frontend calls cart, both log, cart counts.
type shop struct {
	conn *grpc.ClientConn
}

func (p place) shop(t *testing.T) shop {
	t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return shop{conn}
}

func traceID(n int) pcommon.TraceID {
	return pcommon.TraceID{0xab, 14: byte(n >> 8), 15: byte(n)}
}

func (s shop) request(ctx context.Context, n int) error {
	now := time.Now()
	traces := ptrace.NewTraces()
	span := func(service, name string, kind ptrace.SpanKind, id, parent byte) ptrace.Span {
		rs := traces.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", service)
		out := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		out.SetTraceID(traceID(n))
		out.SetSpanID(pcommon.SpanID{id})
		if parent > 0 {
			out.SetParentSpanID(pcommon.SpanID{parent})
		}
		out.SetName(name)
		out.SetKind(kind)
		out.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-50 * time.Millisecond)))
		out.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
		out.Attributes().PutStr("http.request.method", "GET")
		out.Attributes().PutInt("http.response.status_code", 200)
		return out
	}
	span("frontend", "GET /home", ptrace.SpanKindServer, 1, 0).Attributes().PutStr("http.route", "/home")
	span("frontend", "GET", ptrace.SpanKindClient, 2, 1)
	span("cart", "GET /cart", ptrace.SpanKindServer, 3, 2)
	if _, err := ptraceotlp.NewGRPCClient(s.conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(traces)); err != nil {
		return err
	}
	logs := plog.NewLogs()
	for i, service := range []string{"frontend", "cart"} {
		rl := logs.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", service)
		record := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		record.SetTraceID(traceID(n))
		record.SetSpanID(pcommon.SpanID{byte(2*i + 1)})
		record.SetTimestamp(pcommon.NewTimestampFromTime(now))
		record.Body().SetStr("handled by " + service)
	}
	_, err := plogotlp.NewGRPCClient(s.conn).Export(ctx, plogotlp.NewExportRequestFromLogs(logs))
	return err
}

func (s shop) count(ctx context.Context, value float64) error {
	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "cart")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("cart.items")
	point := m.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetDoubleValue(value)
	point.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	_, err := pmetricotlp.NewGRPCClient(s.conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(metrics))
	return err
}

// story is GET /api/requests/{id}, as far as the tests look.
type story struct {
	RequestID string `json:"request_id"`
	Spans     []struct {
		Service string `json:"service"`
	} `json:"spans"`
	Logs []struct {
		Body string `json:"body"`
	} `json:"logs"`
	Services []struct {
		Service string  `json:"service"`
		Rate    float64 `json:"rate"`
	} `json:"services"`
}

func (p place) story(t *testing.T, n int) (story, int) {
	t.Helper()
	var s story
	code, body := get("http://" + p.web + "/api/requests/" + traceID(n).String())
	if code == http.StatusOK {
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
	}
	return s, code
}

func (p place) list(t *testing.T) int {
	t.Helper()
	var l struct{ Requests []any }
	code, body := get("http://" + p.web + "/api/requests?limit=1000")
	if code != http.StatusOK || json.Unmarshal(body, &l) != nil {
		t.Fatalf("%d %s", code, body)
	}
	return len(l.Requests)
}

// promql is the value of an instant query with one result; ok is false without a result.
func (p place) promql(t *testing.T, query string) (value string, ok bool) {
	t.Helper()
	code, body := get("http://" + p.web + "/prometheus/api/v1/query?query=" + url.QueryEscape(query))
	var v struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if code != http.StatusOK || json.Unmarshal(body, &v) != nil {
		t.Fatalf("%s: %d %s", query, code, body)
	}
	if len(v.Data.Result) != 1 {
		return "", false
	}
	return fmt.Sprint(v.Data.Result[0].Value[1]), true
}

func (p place) awaitPromQL(t *testing.T, query, want string) {
	t.Helper()
	got := ""
	deadline := time.Now().Add(30 * time.Second)
	for got != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q", query, got, want)
		}
		got, _ = p.promql(t, query)
		time.Sleep(50 * time.Millisecond)
	}
}

func TestAnAppThatKnowsNothingOfWeftShowsUp(t *testing.T) {
	p := newPlace(t)
	p.start(t)
	app := p.shop(t)
	if err := app.request(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := app.count(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	// Acknowledged means findable, at once.
	s, code := p.story(t, 1)
	if code != http.StatusOK || len(s.Spans) != 3 || len(s.Logs) != 2 {
		t.Fatalf("status %d, %d spans, %d logs", code, len(s.Spans), len(s.Logs))
	}
	if n := p.list(t); n != 1 {
		t.Errorf("%d requests listed", n)
	}
	if _, code := p.story(t, 2); code != http.StatusNotFound {
		t.Errorf("an unknown request is %d", code)
	}
	p.awaitPromQL(t, `cart_items{job="cart"}`, "7")
	p.awaitPromQL(t, `sum(traces_service_graph_request_total{client="frontend",server="cart"})`, "1")
	p.awaitPromQL(t, `sum(traces_spanmetrics_calls_total{service="cart",span_kind="SPAN_KIND_SERVER"})`, "1")
	code, body := get("http://" + p.web + "/api/services")
	if code != http.StatusOK || !strings.Contains(string(body), `"frontend"`) || !strings.Contains(string(body), `"cart"`) {
		t.Errorf("services: %d %s", code, body)
	}
	if code, body := get("http://" + p.web + "/"); code != http.StatusOK || !strings.Contains(string(body), "<html") {
		t.Errorf("console: %d", code)
	}
	code, body = get("http://" + p.ops + "/metrics")
	for _, line := range []string{`weft_store_ledger_items{signal="traces",state="accepted"} 3`, `weft_store_ledger_items{signal="logs",state="accepted"} 2`, `weft_correlate_exchanges 1`, `weft_receiver_accepted_items_total{signal="traces",transport="grpc"}`} {
		if code != http.StatusOK || !strings.Contains(string(body), line) {
			t.Errorf("own metrics lack %s", line)
		}
	}
}

func TestWhatIsAcknowledgedSurvivesKill(t *testing.T) {
	p := newPlace(t)
	run := p.start(t)
	app := p.shop(t)
	acknowledged := make(chan int, 1)
	killed := make(chan struct{})
	go func() {
		n := 0
		for app.request(context.Background(), n) == nil {
			n++
		}
		<-killed
		acknowledged <- n
	}()
	await(t, "busy", func() bool { _, code := p.story(t, 100); return code == http.StatusOK })
	if err := app.count(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	p.awaitPromQL(t, `sum(traces_spanmetrics_calls_total{service="cart"}) > bool 50`, "1")
	run.end(syscall.SIGKILL)
	close(killed)
	n := <-acknowledged
	p.start(t)
	for i := range n {
		if s, code := p.story(t, i); code != http.StatusOK || len(s.Spans) != 3 || len(s.Logs) != 2 {
			t.Fatalf("request %d of %d: status %d, %d spans, %d logs", i, n, code, len(s.Spans), len(s.Logs))
		}
	}
	if listed := p.list(t); listed < min(n, 1000) {
		t.Errorf("%d of %d requests listed after the restart", listed, n)
	}
	if value, _ := p.promql(t, `cart_items`); value != "3" {
		t.Errorf("metric is %q", value)
	}
	// What was counted before is not counted again: one request now is one in RED.
	if err := p.shop(t).request(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	p.awaitPromQL(t, `sum(traces_spanmetrics_calls_total{service="cart",span_kind="SPAN_KIND_SERVER"})`, "1")
	t.Logf("%d requests survived", n)
}

func TestAReloadKeepsStoresExchangesAndThePort(t *testing.T) {
	p := newPlace(t)
	run := p.start(t)
	if err := p.shop(t).request(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p.configure(t, "processors: {memory_limiter: {limit_mib: 1000, nonsense: 1}}")
	await(t, "rejected", func() bool {
		return strings.Contains(run.log.String(), "processors.memory_limiter.nonsense: unknown key")
	})
	if err := p.shop(t).request(t.Context(), 2); err != nil {
		t.Fatalf("a bad file changed something: %v", err)
	}
	p.configure(t, "processors: {memory_limiter: {limit_mib: 1000}}")
	await(t, "reloaded", func() bool { return strings.Contains(run.log.String(), "configuration reloaded") })
	if err := p.shop(t).request(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if n := p.list(t); n != 3 {
		t.Errorf("%d requests listed", n)
	}
	if opened := strings.Count(run.log.String(), "ops port open"); opened != 1 {
		t.Errorf("the ops port was opened %d times", opened)
	}
	if filled := strings.Count(run.log.String(), "correlator filled"); filled != 1 {
		t.Errorf("the correlator was filled %d times", filled)
	}
	run.end(syscall.SIGTERM)
	if code := run.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: %s", code, run.log)
	}
}

func TestAFullDiskAsksSendersToComeAgain(t *testing.T) {
	p := newPlace(t)
	p.configure(t, "extensions: {store: {reserve_percent: 90}}")
	var disk syscall.Statfs_t
	if err := syscall.Statfs(p.data, &disk); err != nil {
		t.Fatal(err)
	}
	if disk.Bavail*100/disk.Blocks >= 90 {
		t.Skip("this disk is nearly empty: a reserve of 90 % cannot be hit")
	}
	p.start(t)
	err := p.shop(t).request(t.Context(), 1)
	refusal := status.Convert(err)
	if refusal.Code() != codes.Unavailable || len(refusal.Details()) != 1 {
		t.Fatalf("answered %v", err)
	}
	if retry := refusal.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration(); retry < time.Second {
		t.Errorf("retry after %v", retry)
	}
	answer, err := http.Post("http://"+p.http+"/v1/traces", "application/json", strings.NewReader(
		`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01000000000000000000000000000000","spanId":"0200000000000000","name":"x"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("HTTP answer %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
	if _, code := p.story(t, 1); code != http.StatusNotFound {
		t.Errorf("a refused request is %d", code)
	}
}

func TestCheckNamesTheKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	tests := map[string]struct{ yaml, want string }{
		"store":     {"extensions:\n  store:\n    reserve_percent: 99\n", ":3: extensions.store.reserve_percent: must be between 0 and 90"},
		"intake":    {"extensions:\n  intake:\n    retry_after: 1ms\n", ":3: extensions.intake.retry_after: at least 1s, for senders over HTTP see whole seconds"},
		"correlate": {"extensions:\n  correlate:\n    flush_interval: 0s\n", ":3: extensions.correlate.flush_interval: must be positive"},
		"query":     {"extensions:\n  query:\n    endpoint: here\n", ":3: extensions.query.endpoint: want HOST:PORT: address here: missing port in address"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Command(t.Context(), []string{"check", "--config", file})
			if want := file + test.want; err == nil || err.Error() != want {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
		})
	}
	if err := Command(t.Context(), []string{"check"}); err != nil {
		t.Fatal(err)
	}
}
