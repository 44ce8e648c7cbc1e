package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/collector/correlate"
	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/sample"
	"weft/internal/semconv"
)

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stores keep signals in memory; broken ones answer with an error.
type spanStore struct {
	spans  []signal.Span
	broken error
}

func (s *spanStore) ByTrace(_ context.Context, id signal.TraceID) (out []signal.Span, err error) {
	for _, sp := range s.spans {
		if sp.TraceID == id && s.broken == nil {
			out = append(out, sp)
		}
	}
	return out, s.broken
}

func (s *spanStore) TracesOf(_ context.Context, id string) (out []signal.TraceID, err error) {
	for _, sp := range s.spans {
		names := []string{sp.RequestID, sp.ClientRequestID, sp.TraceID.String(), sp.Attributes.Text(semconv.ClientTraceID)}
		if slices.Contains(names, id) && !slices.Contains(out, sp.TraceID) && s.broken == nil {
			out = append(out, sp.TraceID)
		}
	}
	return out, s.broken
}

type logStore struct {
	logs   []signal.Log
	broken error
}

func (s *logStore) ByTrace(_ context.Context, id signal.TraceID) (out []signal.Log, err error) {
	for _, l := range s.logs {
		if l.TraceID == id && s.broken == nil {
			out = append(out, l)
		}
	}
	return out, s.broken
}

func (s *logStore) ByRequest(_ context.Context, id string) (out []signal.Log, err error) {
	for _, l := range s.logs {
		if l.RequestID == id && s.broken == nil {
			out = append(out, l)
		}
	}
	return out, s.broken
}

type verdictList struct{ current, history []sample.Verdict }

func (v verdictList) Verdicts() []sample.Verdict { return v.current }
func (v verdictList) History(key sample.Key) (out []sample.Verdict) {
	for _, h := range v.history {
		if h.Endpoint == key {
			out = append(out, h)
		}
	}
	return out
}

type alertList []Alert

func (a alertList) Alerts() []Alert { return a }
func (a alertList) Outbox() any     { return map[string]int{"queued": 1} }

func traceID(n byte) signal.TraceID { return signal.TraceID{0: 0xab, 15: n} }

func spanOf(trace, id, parent byte, service string, kind signal.Kind, attrs signal.Attributes) signal.Span {
	return signal.Span{TraceID: traceID(trace), SpanID: parentID(id), ParentID: parentID(parent), Name: "op", Kind: kind, Service: service, Instance: service + "-1",
		Start: epoch.UnixNano() + int64(id)*1e6, End: epoch.UnixNano() + int64(id)*1e6 + 20e6, Attributes: attrs,
		RequestID: attrs.Text(semconv.RequestIDAttribute), ClientRequestID: attrs.Text(semconv.ClientRequestID), Resource: signal.Attributes{}}
}

func parentID(n byte) (id signal.SpanID) {
	id[7] = n
	return id
}

// shop is one checkout of trace n: gateway to orders to payment, where payment-2 failed and payment-3 answered.
func shop(n byte, requestID string) []signal.Span {
	r := func(more signal.Attributes) signal.Attributes {
		a := signal.Attributes{semconv.RequestIDAttribute: requestID, semconv.HTTPRequestMethod: "POST", semconv.HTTPResponseStatusCode: int64(200)}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	attempt := func(proxy, service, endpoint string, resend int64) signal.Attributes {
		return r(signal.Attributes{semconv.WeftProxy: proxy, semconv.WeftService: service, semconv.WeftEndpoint: endpoint, semconv.WeftAddress: "127.0.0.1:4",
			semconv.WeftPick: "p2c", semconv.WeftWeight: int64(100), semconv.WeftVerdictVersion: int64(16), semconv.WeftOutcome: "ok", semconv.HTTPResendCount: resend})
	}
	failed := spanOf(n, 5, 4, "orders", signal.KindClient, attempt("sidecar", "payment", "payment-2", 0))
	failed.Status, failed.Attributes[semconv.HTTPResponseStatusCode], failed.Attributes[semconv.WeftOutcome] = signal.StatusError, int64(503), "error"
	failed.Attributes[semconv.WeftCause] = "cart/cart-1" // whose alert belongs to this request, too
	return []signal.Span{
		spanOf(n, 1, 0, "gateway", signal.KindServer, r(signal.Attributes{semconv.WeftProxy: "gateway", semconv.HTTPRoute: "/api/checkout", semconv.ClientRequestID: "client-" + requestID})),
		spanOf(n, 2, 1, "gateway", signal.KindClient, attempt("gateway", "orders", "orders-1", 0)),
		spanOf(n, 3, 2, "orders", signal.KindServer, r(signal.Attributes{semconv.WeftProxy: "sidecar"})),
		spanOf(n, 4, 3, "orders", signal.KindServer, signal.Attributes{"odd": math.NaN(), "deep": map[string]any{"x": []any{math.Inf(1)}}}),
		failed,
		spanOf(n, 6, 4, "orders", signal.KindClient, attempt("sidecar", "payment", "payment-3", 1)),
		spanOf(n, 7, 6, "payment", signal.KindServer, r(signal.Attributes{semconv.WeftProxy: "sidecar"})),
		spanOf(n, 8, 4, "orders", signal.KindClient, signal.Attributes{"db.system.name": "mysql"}),
	}
}

func verdictOn(service, instance string, state sample.State, version uint64, since time.Duration) sample.Verdict {
	return sample.Verdict{Endpoint: sample.Key{Service: service, Instance: instance}, State: state, Weight: 100, Version: version, Enforced: true,
		Reason: "because", Since: epoch.Add(since), Evidence: sample.Evidence{Attempts: 10, Failures: 3, ErrorRatio: 0.3}}
}

type world struct {
	t          *testing.T
	spans      *spanStore
	logs       *logStore
	correlator *correlate.Correlator
	handler    http.Handler
}

func newWorld(t *testing.T, spans []signal.Span, logs []signal.Log) *world {
	w := &world{t: t, spans: &spanStore{spans: spans}, logs: &logStore{logs: logs}, correlator: correlate.New(correlate.DefaultConfig())}
	w.correlator.Spans(epoch.Add(time.Second), facts.Spans(spans))
	w.correlator.Logs(epoch.Add(time.Second), facts.Logs(logs))
	w.use(verdictList{
		current: []sample.Verdict{
			verdictOn("payment", "payment-2", sample.Healthy, 30, time.Hour), verdictOn("payment", "payment-3", sample.Healthy, 2, -time.Hour),
			verdictOn("orders", "orders-1", sample.Healthy, 1, -time.Hour), verdictOn("mysql", "mysql-1", sample.Degraded, 9, -time.Minute)},
		history: []sample.Verdict{verdictOn("payment", "payment-2", sample.Healthy, 3, -time.Hour), verdictOn("payment", "payment-2", sample.Ejected, 17, -time.Second),
			verdictOn("payment", "payment-2", sample.Healthy, 30, time.Hour)},
	}, alertList{
		{Fingerprint: "a", Name: "EndpointUnhealthy", Status: "firing", Endpoint: "payment/payment-2", StartsAt: epoch.Add(2 * time.Second)},
		{Fingerprint: "b", Name: "EndpointUnhealthy", Status: "resolved", Endpoint: "payment/payment-2", StartsAt: epoch.Add(-2 * time.Hour), EndsAt: new(epoch.Add(-time.Hour))},
		{Fingerprint: "c", Name: "EndpointUnhealthy", Status: "firing", Endpoint: "cart/cart-1", StartsAt: epoch},
	})
	return w
}

func (w *world) use(v Verdicts, a Alerts) {
	w.handler = New(Deps{Spans: w.spans, Logs: w.logs, Exchanges: w.correlator, RED: w.correlator, Verdicts: v, Alerts: a,
		Hosts: []string{"collector"}, Now: func() time.Time { return epoch.Add(time.Second) },
		APIs:    map[string]http.Handler{"/prometheus/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "prometheus "+r.URL.Path) })},
		Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "console "+r.URL.Path) })})
}

// get asks and decodes; numbers come as float64.
func (w *world) get(path string) (int, map[string]any) {
	w.t.Helper()
	answer := httptest.NewRecorder()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "127.0.0.1:7070"
	w.handler.ServeHTTP(answer, r)
	var body map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		w.t.Fatalf("GET %s: %d %q: %v", path, answer.Code, answer.Body, err)
	}
	want := "application/json"
	if answer.Code >= 400 {
		want = "application/problem+json"
	}
	if got := answer.Header().Get("Content-Type"); got != want {
		w.t.Errorf("GET %s: %s, want %s", path, got, want)
	}
	return answer.Code, body
}

// pluck collects a key of every object of a list, as text.
func pluck(list any, key string) string {
	var out []string
	for _, item := range list.([]any) {
		out = append(out, fmt.Sprint(item.(map[string]any)[key]))
	}
	return strings.Join(out, " ")
}

func TestRequestByAnyID(t *testing.T) {
	logs := []signal.Log{
		{Time: epoch.UnixNano() + 5, TraceID: traceID(1), SpanID: parentID(4), Service: "orders", Body: "placed", Severity: "INFO"},
		{Time: epoch.UnixNano() + 6, RequestID: "r1", Service: "audit", Body: "noted"},
		{Time: epoch.UnixNano() + 7, RequestID: "elsewhere", Service: "other", Body: "not ours"},
	}
	w := newWorld(t, append(shop(1, "r1"), shop(2, "r2")...), logs)
	for _, id := range []string{"r1", traceID(1).String(), "client-r1"} {
		status, got := w.get("/api/requests/" + id)
		if status != 200 {
			t.Fatalf("%s: %d %v", id, status, got)
		}
		for key, want := range map[string]any{"request_id": "r1", "trace_id": traceID(1).String(), "client_request_id": "client-r1", "duration_ms": 20.0, "status": 200.0,
			"method": "POST", "route": "/api/checkout", "service": "gateway", "error": false, "attempts": 2.0, "start": "2026-11-22T12:00:00.001Z"} {
			if got[key] != want {
				t.Errorf("%s: %s = %v, want %v", id, key, got[key], want)
			}
		}
		if n := len(got["spans"].([]any)); n != 8 {
			t.Errorf("%s: %d spans", id, n)
		}
		if bodies := pluck(got["logs"], "body"); bodies != "placed noted" {
			t.Errorf("%s: logs %q", id, bodies)
		}
		if services := pluck(got["services"], "service"); services != "audit gateway mysql orders payment" {
			t.Errorf("%s: services %q", id, services)
		}
		// payment-2 was ejected then; healthy endpoints that it touched are named too, and what was wrong with its database.
		if v := pluck(got["verdicts"], "endpoint") + " " + pluck(got["verdicts"], "state"); v != "payment/payment-2 mysql/mysql-1 orders/orders-1 payment/payment-3 ejected degraded healthy healthy" {
			t.Errorf("%s: verdicts %q", id, v)
		}
		if a := pluck(got["alerts"], "fingerprint"); a != "a c" {
			t.Errorf("%s: alerts %q", id, a)
		}
	}
}

func TestAttemptsShowTheirRouting(t *testing.T) {
	w := newWorld(t, shop(1, "r1"), nil)
	_, got := w.get("/api/requests/r1")
	var lines []string
	for _, item := range got["spans"].([]any) {
		s := item.(map[string]any)
		if routing, ok := s["routing"].(map[string]any); ok {
			lines = append(lines, fmt.Sprint(s["kind"], " ", s["attempt"], " ", s["endpoint"], " ", routing["outcome"], " ", routing["verdict_version"], " ", routing["weight"]))
		}
	}
	want := []string{"client 0 orders-1 ok 16 100", "client 0 payment-2 error 16 100", "client 1 payment-3 ok 16 100"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestRequestFromTheStoresAlone(t *testing.T) {
	w := newWorld(t, shop(1, "r1"), nil)
	w.correlator = correlate.New(correlate.DefaultConfig())
	w.use(nil, nil)
	if status, got := w.get("/api/requests/r1"); status != 200 || len(got["spans"].([]any)) != 8 || len(got["verdicts"].([]any)) != 0 {
		t.Errorf("%d %v", status, got)
	}
}

func TestDroppedTraceparentIsFollowedAndNamed(t *testing.T) {
	spans := shop(1, "r1")
	for i := 4; i < len(spans); i++ { // the onward calls of orders are in a trace of their own
		spans[i].TraceID = traceID(9)
		if spans[i].ParentID == parentID(4) {
			spans[i].ParentID = signal.SpanID{}
		}
	}
	w := newWorld(t, spans, nil)
	_, got := w.get("/api/requests/" + traceID(1).String())
	if n := len(got["spans"].([]any)); n != 8 || fmt.Sprint(got["dropped_traceparent_by"]) != "[orders]" || len(got["trace_ids"].([]any)) != 2 {
		t.Errorf("%d spans, dropped by %v, traces %v", n, got["dropped_traceparent_by"], got["trace_ids"])
	}
	if adopted := got["spans"].([]any)[4].(map[string]any)["adopted_parent_span_id"]; adopted != parentID(4).String() {
		t.Errorf("adopted by %v", adopted)
	}
}

func TestSeveralRequestsInOneTrace(t *testing.T) {
	second := shop(1, "r2")
	for i := range second {
		second[i].SpanID[0], second[i].Start, second[i].End = 1, second[i].Start+1e9, second[i].End+1e9
		if !second[i].ParentID.IsZero() {
			second[i].ParentID[0] = 1
		}
	}
	w := newWorld(t, append(shop(1, "r1"), second...), nil)
	_, all := w.get("/api/requests/" + traceID(1).String())
	if ids := pluck(all["requests"], "request_id"); ids != "r1 r2" || len(all["spans"].([]any)) != 16 {
		t.Fatalf("requests %q, %d spans", ids, len(all["spans"].([]any)))
	}
	for path, want := range map[string]string{"/api/requests/r2": "r2", all["requests"].([]any)[0].(map[string]any)["href"].(string): "r1"} {
		_, one := w.get(path)
		if one["request_id"] != want || len(one["spans"].([]any)) != 8 || len(one["requests"].([]any)) != 0 {
			t.Errorf("%s: %v with %d spans", path, one["request_id"], len(one["spans"].([]any)))
		}
	}
	if status, got := w.get("/api/requests/" + traceID(1).String() + "?span=zz"); status != 400 || got["parameter"] != "span" {
		t.Errorf("bad span: %d %v", status, got)
	}
}

// A stranger who sends a known request ID as his own must not get into its picture.
func TestAStrangersIDIsNotMixedIn(t *testing.T) {
	stranger := shop(3, "r3")
	stranger[0].ClientRequestID = "r1"
	w := newWorld(t, append(shop(1, "r1"), stranger...), nil)
	if _, got := w.get("/api/requests/r1"); got["request_id"] != "r1" || len(got["spans"].([]any)) != 8 || len(got["requests"].([]any)) != 0 {
		t.Errorf("%v with %d spans", got["request_id"], len(got["spans"].([]any)))
	}
}

func TestLogsAlone(t *testing.T) {
	w := newWorld(t, nil, []signal.Log{{Time: epoch.UnixNano(), RequestID: "job-7", Service: "cron", Body: "done"}})
	if status, got := w.get("/api/requests/job-7"); status != 200 || got["request_id"] != "job-7" || pluck(got["logs"], "body") != "done" {
		t.Errorf("%d %v", status, got)
	}
}

func TestUnknownAndBroken(t *testing.T) {
	w := newWorld(t, shop(1, "r1"), nil)
	for _, path := range []string{"/api/requests/nobody", "/api/services/nobody", "/api/nothing"} {
		if status, got := w.get(path); status != 404 || got["status"] != 404.0 || got["detail"] == "" {
			t.Errorf("%s: %d %v", path, status, got)
		}
	}
	if _, got := w.get("/api/requests/r1"); got["truncated"] != false || len(got["incomplete"].([]any)) != 0 {
		t.Errorf("a whole answer says truncated %v, incomplete %v", got["truncated"], got["incomplete"])
	}
	w.logs.broken = fmt.Errorf("%w: more than 100000", signal.ErrTruncated)
	if _, got := w.get("/api/requests/r1"); got["truncated"] != true || len(got["incomplete"].([]any)) != 1 {
		t.Errorf("a cut answer says truncated %v, incomplete %v", got["truncated"], got["incomplete"])
	}
	w.logs.broken = errors.New("disk on fire")
	if status, got := w.get("/api/requests/r1"); status != 200 || fmt.Sprint(got["incomplete"]) != "[logs: disk on fire]" {
		t.Errorf("one store broken: %d %v", status, got["incomplete"])
	}
	w.spans.broken = errors.New("gone")
	if status, got := w.get("/api/requests/r1"); status != 503 {
		t.Errorf("both broken: %d %v", status, got)
	}
}

func TestRequestsFilter(t *testing.T) {
	var spans []signal.Span
	for n := range byte(9) {
		one := shop(n+1, fmt.Sprintf("r%d", n+1))
		one[0].Start += int64(n) * 1e9
		one[0].End = one[0].Start + int64(n+1)*10e6
		if n%2 == 1 {
			one[0].Attributes[semconv.HTTPResponseStatusCode] = int64(502)
		}
		spans = append(spans, one...)
	}
	w := newWorld(t, spans, nil)
	for query, want := range map[string]string{
		"":                            "r9 r8 r7 r6 r5 r4 r3 r2 r1",
		"limit=2":                     "r9 r8",
		"status=5xx":                  "r8 r6 r4 r2",
		"status=502&limit=1":          "r8",
		"status=error":                "r8 r6 r4 r2",
		"min_duration=80ms":           "r9 r8",
		"min_duration=90":             "r9",
		"service=payment&limit=1":     "r9",
		"service=nobody":              "",
		"route=/api/checkout&limit=1": "r9",
		"status=&limit=":              "r9 r8 r7 r6 r5 r4 r3 r2 r1",
	} {
		if status, got := w.get("/api/requests?" + query); status != 200 || pluck(got["requests"], "request_id") != want {
			t.Errorf("%q: %d %q, want %q", query, status, pluck(got["requests"], "request_id"), want)
		}
	}
	for query, parameter := range map[string]string{"status=9": "status", "status=teapot": "status", "status=6xx": "status", "min_duration=soon": "min_duration",
		"min_duration=-1s": "min_duration", "limit=0": "limit", "limit=1001": "limit", "limit=many": "limit", "sort=asc": "sort"} {
		if status, got := w.get("/api/requests?" + query); status != 400 || got["parameter"] != parameter || !strings.Contains(fmt.Sprint(got["detail"]), parameter) {
			t.Errorf("%q: %d %v", query, status, got)
		}
	}
}

func TestServices(t *testing.T) {
	w := newWorld(t, shop(1, "r1"), nil)
	_, got := w.get("/api/services")
	if names := pluck(got["services"], "service"); names != "gateway mysql orders payment" {
		t.Fatalf("services %q", names)
	}
	if states := pluck(got["services"], "state"); states != "unknown degraded healthy healthy" {
		t.Errorf("states %q", states)
	}
	if n := pluck(got["services"], "endpoints"); n != "1 1 1 3" {
		t.Errorf("endpoints %q", n)
	}
	_, payment := w.get("/api/services/payment")
	if e := pluck(payment["endpoints"], "endpoint") + pluck(payment["endpoints"], "state"); e != "payment/payment-1 payment/payment-2 payment/payment-3unknown healthy healthy" {
		t.Errorf("endpoints %q", e)
	}
	if v := pluck(payment["verdicts"], "version"); v != "30 17 3 2" && v != "30 17 2 3" {
		t.Errorf("verdicts %q", v)
	}
	if payment["called_by"].([]any)[0] != "orders" || pluck(payment["alerts"], "fingerprint") != "a b" {
		t.Errorf("%v", payment)
	}
}

func TestVerdictsAndAlerts(t *testing.T) {
	w := newWorld(t, nil, nil)
	_, got := w.get("/api/verdicts")
	if v := pluck(got["verdicts"], "endpoint"); !strings.HasPrefix(v, "mysql/mysql-1 ") || len(got["verdicts"].([]any)) != 4 {
		t.Errorf("verdicts %q", v)
	}
	for _, name := range []string{"payment-2", "payment/payment-2"} {
		_, got = w.get("/api/verdicts?history=true&endpoint=" + name)
		if v := pluck(got["verdicts"], "version") + " " + pluck(got["verdicts"], "current"); v != "30 17 3 true false false" {
			t.Errorf("%s: %q", name, v)
		}
	}
	if status, got := w.get("/api/verdicts?history=perhaps"); status != 400 || got["parameter"] != "history" {
		t.Errorf("%d %v", status, got)
	}
	if _, got = w.get("/api/alerts"); pluck(got["alerts"], "fingerprint") != "a b c" || got["outbox"] == nil {
		t.Errorf("alerts %v", got)
	}
}

func TestGuard(t *testing.T) {
	w := newWorld(t, nil, nil)
	for name, tc := range map[string]struct {
		method, host, path string
		headers            []string
		status             int
	}{
		"curl":                    {"GET", "127.0.0.1:7070", "/api/services", nil, 200},
		"localhost":               {"GET", "localhost:7070", "/api/services", nil, 200},
		"IPv6":                    {"GET", "[::1]:7070", "/api/services", nil, 200},
		"a configured name":       {"GET", "collector:7070", "/api/services", nil, 200},
		"a rebound name":          {"GET", "evil.example:7070", "/api/services", nil, 403},
		"a rebound name, console": {"GET", "evil.example", "/", nil, 403},
		"our page":                {"GET", "127.0.0.1:7070", "/api/services", []string{"Origin", "http://127.0.0.1:7070"}, 200},
		"another port's page":     {"GET", "127.0.0.1:7070", "/api/services", []string{"Origin", "http://127.0.0.1:9999"}, 403},
		"another site's form":     {"POST", "127.0.0.1:7070", "/prometheus/api/v1/query", []string{"Origin", "https://evil.example"}, 403},
		"a sandboxed page":        {"POST", "127.0.0.1:7070", "/prometheus/api/v1/query", []string{"Origin", "null"}, 403},
		"another site's image":    {"GET", "127.0.0.1:7070", "/api/services", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		"a link in a page":        {"GET", "127.0.0.1:7070", "/requests/x", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"a frame":                 {"GET", "127.0.0.1:7070", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		"Grafana asks by POST":    {"POST", "127.0.0.1:7070", "/prometheus/api/v1/query", nil, 200},
		"a write":                 {"POST", "127.0.0.1:7070", "/api/services", nil, 405},
		"a write to one":          {"DELETE", "127.0.0.1:7070", "/api/requests/x", nil, 405},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Host = tc.host
			for i := 0; i < len(tc.headers); i += 2 {
				r.Header.Set(tc.headers[i], tc.headers[i+1])
			}
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, r)
			body, _ := io.ReadAll(answer.Body)
			if answer.Code != tc.status {
				t.Errorf("%d %s, want %d", answer.Code, body, tc.status)
			}
			if csp := answer.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("policy %q", csp)
			}
		})
	}
}

func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"status=5xx", "limit=1&min_duration=1s", "min_duration=9999999999h", "limit=%00", "status=０００"} {
		f.Add(seed, "r1")
	}
	f.Fuzz(func(t *testing.T, query, id string) {
		w := newWorld(t, nil, nil)
		for _, path := range []string{"/api/requests", "/api/verdicts", "/api/requests/x"} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery, r.Host = query, "127.0.0.1"
			r.SetPathValue("id", id)
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, r)
			if answer.Code >= 500 || !json.Valid(answer.Body.Bytes()) {
				t.Fatalf("%s?%s: %d %s", path, query, answer.Code, answer.Body)
			}
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	spans := &spanStore{spans: shop(1, "r1")}
	c := correlate.New(correlate.DefaultConfig())
	h := New(Deps{Spans: spans, Logs: &logStore{}, Exchanges: c, RED: c})
	r := httptest.NewRequest("GET", "/api/requests/r1", nil)
	r.Host = "127.0.0.1"
	b.ReportAllocs()
	for b.Loop() {
		answer := httptest.NewRecorder()
		if h.ServeHTTP(answer, r); answer.Code != 200 {
			b.Fatal(answer.Body)
		}
	}
}
