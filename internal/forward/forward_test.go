package forward

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/semconv"
)

func TestMain(m *testing.M) {
	if os.Getenv("FORWARD_TEST_ENDPOINT") != "" {
		serveAsProcess() // this process is an endpoint that a test will kill or stop
		return
	}
	goleak.VerifyTestMain(m)
}

// rig is a proxy on a real listener before real endpoints.
type rig struct {
	t       *testing.T
	table   *endpoints.Table
	forward *Forwarder
	front   *httptest.Server
	client  *http.Client
	route   Route

	mu       sync.Mutex
	attempts []Attempt
	calls    []Call
}

func (r *rig) Record(a *Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, *a)
}

// recorded waits for n attempts: the last one ends with its response, just after the client has it.
func (r *rig) recorded(n int) []Attempt {
	r.t.Helper()
	var got []Attempt
	eventually(r.t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		got = append([]Attempt(nil), r.attempts...)
		return len(got) >= n
	})
	return got
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("did not happen within 10 s")
}

// newRig serves service "shop" at addresses, as shop-1, shop-2, …
func newRig(t *testing.T, change func(*Config, *Route), addresses ...string) *rig {
	t.Helper()
	var list []endpoints.StaticEndpoint
	for i, a := range addresses {
		list = append(list, endpoints.StaticEndpoint{Instance: fmt.Sprintf("shop-%d", i+1), Address: a})
	}
	r := &rig{t: t, table: endpoints.NewTable(map[string]endpoints.StaticService{"shop": {Endpoints: list}})}
	cfg := DefaultConfig()
	cfg.Balance.ProbeShare = 0
	r.route = Route{Service: "shop", ConnectTimeout: time.Second, ResponseTimeout: 5 * time.Second}
	if change != nil {
		change(&cfg, &r.route)
	}
	r.start(cfg, Deps{Table: r.table, Recorder: r})
	return r
}

func (r *rig) start(cfg Config, deps Deps) {
	deps.Failed = func(c *Call) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, *c)
	}
	r.forward = New(cfg, deps)
	handler := r.forward.Handler(r.route)
	r.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		call := &Call{RequestID: "req-1", TraceID: [16]byte{1}, SpanID: [8]byte{2}}
		handler.ServeHTTP(w, q.WithContext(WithCall(q.Context(), call)))
	}))
	r.front.Config.Protocols = new(http.Protocols)
	r.front.Config.Protocols.SetHTTP1(true)
	r.front.Config.Protocols.SetUnencryptedHTTP2(true)
	r.front.Start()
	r.client = &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.forward.Run(ctx) }()
	r.t.Cleanup(func() {
		r.client.CloseIdleConnections()
		r.front.Close()
		stop()
		<-done
	})
}

func (r *rig) do(method, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.front.URL+"/x?a=1;b=2", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

func endpoint(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// broken is an endpoint that does something else than HTTP with each connection.
func broken(t *testing.T, with func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				with(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String()
}

// refuses is an address at which nobody listens.
func refuses(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// diesAfterRequest reads a request and cuts the connection, as a process that is killed does.
func diesAfterRequest(conn net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
}

// hangs reads and never answers, as a process that is stopped does.
func hangs(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func ok(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, "ok")
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, "no")
	}
}

// until repeats a request until one of its first attempts met the bad endpoint shop-1, and returns that request's answer.
func (r *rig) until(method, body string) (code int, answer string, attempts []Attempt) {
	r.t.Helper()
	for range 200 {
		r.mu.Lock()
		r.attempts = nil
		r.mu.Unlock()
		code, answer = r.do(method, body)
		attempts = r.recorded(1)
		if e := attempts[0].Pick.Endpoint; e != nil && e.Instance == "shop-1" {
			if attempts[0].Number == 0 && code == http.StatusOK && attempts[0].Outcome != sample.OK {
				attempts = r.recorded(2)
			}
			return code, answer, attempts
		}
	}
	r.t.Fatal("shop-1 was never picked first")
	return 0, "", nil
}

func TestAnEndpointThatFails(t *testing.T) {
	tests := map[string]struct {
		bad     func(*testing.T) string
		method  string
		body    string
		want    int
		outcome sample.Outcome
		retried bool
	}{
		"refused GET":               {refuses, "GET", "", 200, sample.ConnectFailure, true},
		"refused POST sent nothing": {refuses, "POST", "body", 200, sample.ConnectFailure, true},
		"killed before the response, GET": {
			func(t *testing.T) string { return broken(t, diesAfterRequest) }, "GET", "", 200, sample.Error, true},
		"killed before the response, PUT with a small body": {
			func(t *testing.T) string { return broken(t, diesAfterRequest) }, "PUT", "body", 200, sample.Error, true},
		"killed before the response, POST may have been done": {
			func(t *testing.T) string { return broken(t, diesAfterRequest) }, "POST", "body", 502, sample.Error, false},
		"stopped, GET": {
			func(t *testing.T) string { return broken(t, hangs) }, "GET", "", 200, sample.Timeout, true},
		"stopped, POST": {
			func(t *testing.T) string { return broken(t, hangs) }, "POST", "body", 504, sample.Timeout, false},
		"500 GET": {
			func(t *testing.T) string { return endpoint(t, status(500)) }, "GET", "", 200, sample.Error, true},
		"500 POST": {
			func(t *testing.T) string { return endpoint(t, status(500)) }, "POST", "", 500, sample.Error, false},
		"503 with Retry-After is load": {
			func(t *testing.T) string { return endpoint(t, status(503, "Retry-After", "1")) }, "GET", "", 503, sample.Load, false},
		"429 is load": {
			func(t *testing.T) string { return endpoint(t, status(429)) }, "GET", "", 429, sample.Load, false},
		"404 is an answer": {
			func(t *testing.T) string { return endpoint(t, status(404)) }, "GET", "", 404, sample.OK, false},
		"a plain endpoint's word on its cause is not taken": {
			func(t *testing.T) string {
				return endpoint(t, status(500, semconv.HeaderCause, "mysql/mysql-1", semconv.HeaderOutcome, "load"))
			}, "GET", "", 200, sample.Error, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config, route *Route) { route.ResponseTimeout = 300 * time.Millisecond }, test.bad(t), endpoint(t, ok))
			code, _, attempts := r.until(test.method, test.body)
			if code != test.want || attempts[0].Outcome != test.outcome {
				t.Fatalf("status %d, outcome %v; want %d, %v", code, attempts[0].Outcome, test.want, test.outcome)
			}
			if test.retried != (len(attempts) == 2) {
				t.Fatalf("%d attempts, retried should be %v", len(attempts), test.retried)
			}
			if test.retried && (attempts[1].Number != 1 || attempts[1].Pick.Endpoint.Instance != "shop-2" || attempts[1].Pick.Why != "retry") {
				t.Fatalf("the retry was %+v", attempts[1].Pick)
			}
		})
	}
}

func TestSamples(t *testing.T) {
	r := newRig(t, nil, refuses(t), endpoint(t, ok))
	r.until("GET", "")
	report := map[string]sample.Sample{}
	for _, s := range r.table.Report(time.Now()).Samples {
		report[s.Endpoint.String()] = s
	}
	bad, good := report["shop/shop-1"], report["shop/shop-2"]
	if bad.FirstAttempts != (sample.Counts{sample.ConnectFailure: 1}) || bad.Latency.Count() != 0 || fmt.Sprint(bad.FailedIDs) != "[req-1]" {
		t.Fatalf("shop-1: %+v", bad)
	}
	if good.Retries != (sample.Counts{sample.OK: 1}) || good.Latency.Count() != good.FirstAttempts.Total() {
		t.Fatalf("shop-2: %+v", good)
	}
}

func TestOwnErrorsAreProblems(t *testing.T) {
	tests := map[string]struct {
		addresses []string
		status    int
		kind      string
	}{
		"no endpoint":     {nil, 503, "no-endpoint"},
		"connect failure": {[]string{refuses(t)}, 502, "connect-failure"},
		"timeout":         {[]string{broken(t, hangs)}, 504, "timeout"},
		"broken response": {[]string{broken(t, diesAfterRequest)}, 502, "broken-response"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(_ *Config, route *Route) { route.ResponseTimeout = 200 * time.Millisecond }, test.addresses...)
			res, err := r.client.Get(r.front.URL + "/x")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var p Problem
			if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != test.status || p.Status != test.status || p.Type != ProblemType(test.kind) || p.RequestID != "req-1" ||
				p.Instance != "/x" || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("X-Request-Id") != "req-1" {
				t.Fatalf("%d %+v %v", res.StatusCode, p, res.Header)
			}
		})
	}
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	var hits atomic.Int64
	bad := func(w http.ResponseWriter, _ *http.Request) { hits.Add(1); w.WriteHeader(500) }
	r := newRig(t, nil, endpoint(t, bad), endpoint(t, bad), endpoint(t, bad))
	const requests = 300
	for range requests {
		if code, _ := r.do("GET", ""); code != 500 {
			t.Fatalf("status %d", code)
		}
	}
	if retries := hits.Load() - requests; retries > requests/5+budgetReserve || retries < requests/5 {
		t.Fatalf("%d retries of %d requests, want a fifth and the reserve of %d", retries, requests, budgetReserve)
	}
}

func TestOutgoingRequest(t *testing.T) {
	var got *http.Request
	r := newRig(t, nil, endpoint(t, func(w http.ResponseWriter, q *http.Request) {
		got = q
		w.Header().Set("X-Weft-Cause", "a/b")
		w.Header().Set("X-Request-Id", "the endpoint's own")
		ok(w, q)
	}))
	req, _ := http.NewRequest("GET", r.front.URL+"/p%2Fq?a=1;b=2", nil)
	req.Host = "shop.example"
	for k, v := range map[string]string{
		"X-Weft-Attempt": "7", "X-Weft-Other": "x", "X-Forwarded-For": "10.0.0.1", "Te": "trailers", "Tracestate": "a=b", "X-Request-Id": "mine",
	} {
		req.Header.Set(k, v)
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	a := r.recorded(1)[0]
	if got.RequestURI != "/p%2Fq?a=1;b=2" || got.Host != "shop.example" {
		t.Errorf("URI %s host %s", got.RequestURI, got.Host)
	}
	if want := fmt.Sprintf("00-01000000000000000000000000000000-%x-01", a.SpanID); got.Header.Get("Traceparent") != want {
		t.Errorf("traceparent %q, want %q", got.Header.Get("Traceparent"), want)
	}
	for k, want := range map[string]string{
		"X-Weft-Attempt": "", "X-Weft-Other": "", "X-Request-Id": "req-1", "X-Forwarded-For": "10.0.0.1", "Te": "trailers", "Tracestate": "a=b", "X-Weft-Timeout-Ms": "",
	} {
		if got.Header.Get(k) != want {
			t.Errorf("%s is %q, want %q", k, got.Header.Get(k), want)
		}
	}
	if res.Header.Get("X-Weft-Cause") != "" || res.Header.Get("X-Request-Id") != "" {
		t.Errorf("response headers %v", res.Header)
	}
	if a.Pick.Why != "only" || a.Status != 200 || a.Outcome != sample.OK {
		t.Errorf("attempt %+v", a)
	}
}

func TestAClientThatLeavesSpeaksAgainstNobody(t *testing.T) {
	reached := make(chan struct{}, 1)
	r := newRig(t, nil, broken(t, func(c net.Conn) { reached <- struct{}{}; hangs(c) }))
	ctx, leave := context.WithCancel(context.Background())
	go func() { <-reached; leave() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", r.front.URL, nil)
	if _, err := r.client.Do(req); err == nil {
		t.Fatal("an answer")
	}
	if a := r.recorded(1)[0]; a.Outcome != sample.Aborted {
		t.Fatalf("outcome %v", a.Outcome)
	}
}

func TestAResponseThatBreaksOff(t *testing.T) {
	r := newRig(t, nil, broken(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		_ = c.(*net.TCPConn).SetLinger(0)
	}))
	res, err := r.client.Get(r.front.URL)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Fatal("the client must see that the response is not whole")
	}
	a := r.recorded(1)
	if len(a) != 1 || a[0].Outcome != sample.Error || a[0].Status != 200 {
		t.Fatalf("attempts %+v", a)
	}
}

func TestASlowUploadIsNotATimeout(t *testing.T) {
	r := newRig(t, func(_ *Config, route *Route) { route.ResponseTimeout = 150 * time.Millisecond }, endpoint(t, ok))
	read, write := io.Pipe()
	go func() {
		for range 10 {
			time.Sleep(50 * time.Millisecond) // a slow client, three times the response timeout in all
			fmt.Fprint(write, "piece")
		}
		write.Close()
	}()
	res, err := r.client.Post(r.front.URL, "text/plain", read)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
}

func TestReconfigure(t *testing.T) {
	r := newRig(t, nil, endpoint(t, status(500)), endpoint(t, ok))
	cfg := DefaultConfig()
	cfg.Retry.Attempts, cfg.Balance.Breaker.Enabled = 0, false
	r.forward.Reconfigure(cfg)
	if code, _, attempts := r.until("GET", ""); code != 500 || len(attempts) != 1 {
		t.Fatalf("status %d after %d attempts, want no retry", code, len(attempts))
	}
}
