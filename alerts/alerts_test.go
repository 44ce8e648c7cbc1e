package alerts

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"weft/alerts/notify"
	"weft/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is one notification as a receiver saw it.
type call struct {
	Key    string
	Header http.Header
	Raw    []byte
	Body   struct {
		Version           string
		GroupKey          string
		Status            string
		Receiver          string
		TruncatedAlerts   uint64
		GroupLabels       map[string]string
		CommonLabels      map[string]string
		CommonAnnotations map[string]string
		ExternalURL       string
		Alerts            []struct {
			Status       string
			Labels       map[string]string
			Annotations  map[string]string
			StartsAt     time.Time
			EndsAt       time.Time
			GeneratorURL string
			Fingerprint  string
		}
	}
}

// receiver is a real HTTP receiver whose answers a test chooses.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer func(n int, w http.ResponseWriter)
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		c := call{Key: req.Header.Get(notify.HeaderIdempotencyKey), Header: req.Header, Raw: raw}
		if err := json.Unmarshal(raw, &c.Body); err != nil {
			t.Errorf("body is not JSON: %v", err)
		}
		r.mu.Lock()
		r.calls = append(r.calls, c)
		n := len(r.calls)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(n, w)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) seen() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// memory is a journal that survives a "restart" of the process under test.
type memory struct {
	mu      sync.Mutex
	records [][]byte
	refuse  error
}

func (m *memory) Append(record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse == nil {
		m.records = append(m.records, slices.Clone(record))
	}
	return m.refuse
}

func (m *memory) Restart(record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse == nil {
		m.records = [][]byte{slices.Clone(record)}
	}
	return m.refuse
}

func (m *memory) Close() error { return nil }

func (m *memory) all() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.records)
}

func (m *memory) setRefuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

// process is one run of alerting.
type process struct {
	*Alerts
	stop func()
}

func quick(url string) Config {
	c := DefaultConfig()
	c.Webhook.URL, c.Data = url, "unused"
	c.ConsoleURL = "http://console.example/"
	c.GroupWait, c.GroupInterval = 100*time.Millisecond, 150*time.Millisecond
	return c
}

func start(t *testing.T, cfg Config, journal *memory, verdicts func() []sample.Verdict) process {
	t.Helper()
	a, err := New(cfg, Deps{Log: discard(), Journal: journal, Replayed: journal.all(), Verdicts: verdicts})
	if err != nil {
		t.Fatal(err)
	}
	return run(t, a)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func run(t *testing.T, a *Alerts) process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	p := process{Alerts: a, stop: func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}}
	t.Cleanup(p.stop)
	return p
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func verdict(instance string, state sample.State, version uint64) sample.Verdict {
	v := sample.Verdict{
		Endpoint: sample.Key{Service: "payment", Instance: instance}, State: state, Weight: 100, Version: version, Enforced: true,
		Reason: "errors rose above its baseline in every caller", Since: time.Now(),
	}
	if state == sample.Ejected || state == sample.Degraded {
		v.Weight = 0
		v.Evidence = sample.Evidence{
			Attempts: 410, Failures: 123, ErrorRatio: 0.3, BaselineErrorRatio: 0.002, Window: 10 * time.Second, Test: "sequential",
			Reporters: []string{"orders/orders-1", "orders/orders-2"}, Witnesses: []string{"payment/" + instance},
			RequestIDs: []string{"aa01", "aa02", "<script>", "aa03", "aa04", "aa05"},
		}
	}
	return v
}

func TestIncidentIsOneGroupedPageAndResolves(t *testing.T) {
	r := newReceiver(t, nil)
	cfg := quick(r.URL)
	cfg.GroupWait = time.Second // the dispatcher takes alerts in side by side, and a busy machine one of them late
	p := start(t, cfg, &memory{}, nil)
	ctx := context.Background()
	for i, instance := range []string{"payment-1", "payment-2", "payment-3"} {
		p.Verdict(ctx, verdict(instance, sample.Ejected, uint64(i+1)))
	}
	eventually(t, "a page", func() bool { return len(r.seen()) == 1 })
	page := r.seen()[0].Body
	if page.Version != "4" || page.Status != "firing" || len(page.Alerts) != 3 || page.GroupLabels["service"] != "payment" {
		t.Fatalf("page: %+v", page)
	}
	if page.GroupKey == "" || page.Receiver != "on-call" || page.ExternalURL != "http://console.example/" || page.CommonLabels["alertname"] != AlertName {
		t.Fatalf("page: %+v", page)
	}
	one := page.Alerts[1]
	for key, want := range map[string]string{
		"summary":     "payment-2 of payment is failing and was ejected",
		"description": "errors rose above its baseline in every caller",
		"evidence": "123 of 410 attempts failed (30.0 %, usually 0.2 %) within 10s; reported by orders/orders-1, orders/orders-2; " +
			"witnessed by payment/payment-2; test: sequential",
		"request_ids":  "aa01 aa02 aa03 aa04",
		"request_urls": "http://console.example/requests/aa01 http://console.example/requests/aa02 http://console.example/requests/aa03 http://console.example/requests/aa04",
		"console_url":  "http://console.example/endpoints/payment/payment-2",
		"runbook_url":  "http://console.example/runbooks/EndpointUnhealthy",
		"state":        "ejected",
	} {
		if one.Annotations[key] != want {
			t.Errorf("annotation %s = %q, want %q", key, one.Annotations[key], want)
		}
	}
	if !strings.Contains(one.Annotations["routing"], "Every proxy has been told to leave it") || one.GeneratorURL != one.Annotations["console_url"] {
		t.Errorf("routing = %q, generator = %q", one.Annotations["routing"], one.GeneratorURL)
	}
	if active := p.Active(); len(active) != 3 || active[0].State != "firing" || len(active[0].RequestIDs) != 4 {
		t.Fatalf("active: %+v", active)
	}
	for i, instance := range []string{"payment-1", "payment-2", "payment-3"} {
		p.Verdict(ctx, verdict(instance, sample.Probing, uint64(i+11)))
	}
	eventually(t, "probation in the annotations", func() bool { return p.Active()[0].Annotations["state"] == "probing" })
	if p.Active()[0].Annotations["evidence"] == "" {
		t.Error("probation lost the evidence")
	}
	for i, instance := range []string{"payment-1", "payment-2", "payment-3"} {
		p.Verdict(ctx, verdict(instance, sample.Healthy, uint64(i+21)))
	}
	eventually(t, "resolved", func() bool { return len(r.seen()) == 2 })
	if last := r.seen()[1].Body; last.Status != "resolved" || len(last.Alerts) != 3 {
		t.Fatalf("resolved: %+v", last)
	}
	eventually(t, "outbox empty", func() bool { o := p.Outbox(); return o.Queued == 0 && o.Sent == 2 })
	if len(p.Active()) != 0 || len(p.Resolved()) != 3 || p.Resolved()[0].EndsAt == nil {
		t.Fatalf("active %v, resolved %+v", p.Active(), p.Resolved())
	}
}

func TestOnlyEnforcedOrSingleEndpointPages(t *testing.T) {
	single := verdict("mysql-1", sample.Degraded, 1)
	single.Endpoint.Service, single.Enforced, single.Evidence.Test = "mysql", false, testSingleEndpoint
	observed := verdict("payment-1", sample.Ejected, 2)
	observed.Enforced = false
	for _, tc := range []struct {
		name  string
		v     sample.Verdict
		pages bool
	}{
		{"ejected", verdict("payment-1", sample.Ejected, 1), true},
		{"degraded", verdict("payment-1", sample.Degraded, 1), true},
		{"single endpoint, nothing to enforce", single, true},
		{"attributed elsewhere or only observed", observed, false},
		{"probing", verdict("payment-1", sample.Probing, 1), false},
		{"healthy", verdict("payment-1", sample.Healthy, 1), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := next(nil, tc.v, "http://c", time.Now()) != nil; got != tc.pages {
				t.Errorf("opens an alert: %v, want %v", got, tc.pages)
			}
		})
	}
}

func TestLabelsStayTheSameThroughAnIncident(t *testing.T) {
	now := time.Now()
	first := next(nil, verdict("payment-1", sample.Degraded, 1), "http://c", now)
	worse := verdict("payment-1", sample.Ejected, 2)
	worse.Evidence = sample.Evidence{}
	second := next(first, worse, "http://c", now.Add(time.Second))
	if first.Fingerprint() != second.Fingerprint() || !second.StartsAt.Equal(first.StartsAt) {
		t.Errorf("another alert: %v, %v", first, second)
	}
	if second.Annotations[annotationEvidence] != first.Annotations[annotationEvidence] {
		t.Errorf("an empty window replaced the evidence: %q", second.Annotations[annotationEvidence])
	}
	if got := second.Annotations[annotationState]; got != "ejected" {
		t.Errorf("state %q", got)
	}
}

func TestWhatRoutingDidIsSaid(t *testing.T) {
	of := func(state sample.State, weight int, test, reason string) sample.Verdict {
		v := verdict("payment-2", state, 2)
		v.Weight, v.Evidence.Test, v.Reason = weight, test, reason
		return v
	}
	for _, tc := range []struct {
		v    sample.Verdict
		want string
	}{
		{of(sample.Ejected, 0, "sequential", ""), "Every proxy has been told to leave it; the other endpoints of payment carry its traffic. It returns by one probe and a slow start."},
		{of(sample.Degraded, 40, "latency", ""), "Proxies send it 40 % of its normal share."},
		{of(sample.Degraded, 100, testServiceWide, ""), "It keeps its normal share: moving traffic within payment would not help now."},
		{of(sample.Degraded, 100, testSingleEndpoint, ""), "Nothing was moved: payment has no other endpoint to carry its traffic."},
		{of(sample.Probing, 25, "sequential", ""), "It is on probation at 25 % of its normal share."},
		{of(sample.Healthy, 100, testReturned, "payment/payment-2 is healthy again."), "It is healthy again and carries its normal share."},
		{of(sample.Healthy, 100, "expired", "the verdict expired."), "It carries its normal share: the verdict expired."},
	} {
		if got := routing(tc.v); got != tc.want {
			t.Errorf("%s %s: %q", tc.v.State, tc.v.Evidence.Test, got)
		}
	}
}

func TestTheWayBackKeepsTheReason(t *testing.T) {
	now := time.Now()
	bad := verdict("payment-1", sample.Degraded, 1)
	bad.Weight = 20
	open := next(nil, bad, "http://c", now)
	better := verdict("payment-1", sample.Degraded, 2)
	better.Weight, better.Reason = 50, "answered 12 of 12 attempts"
	up := next(open, better, "http://c", now)
	if up.Annotations[annotationDescription] != open.Annotations[annotationDescription] || up.Annotations[annotationWeight] != "50" {
		t.Errorf("on the way up: %v", up.Annotations)
	}
	worse := verdict("payment-1", sample.Degraded, 3)
	worse.Weight, worse.Reason = 5, "failed again"
	if down := next(up, worse, "http://c", now); down.Annotations[annotationDescription] != "failed again" {
		t.Errorf("on the way down: %v", down.Annotations)
	}
}

func TestAnnotationsAreBoundedAndPrintable(t *testing.T) {
	v := verdict("payment-1", sample.Ejected, 1)
	v.Reason = "bad\x1b[31m\nnews \xff" + strings.Repeat("x", 5000)
	v.Evidence.RequestIDs = []string{"\x1b]0;x\a", strings.Repeat("a", 129), "ok-1"}
	a := next(nil, v, "http://c", time.Now())
	got := string(a.Annotations[annotationDescription])
	if strings.ContainsAny(got, "\x1b\n") || !utf8.ValidString(got) || len([]rune(got)) > maxText+1 {
		t.Errorf("description %q", got)
	}
	if a.Annotations[annotationRequestIDs] != "ok-1" {
		t.Errorf("request IDs %q", a.Annotations[annotationRequestIDs])
	}
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
}
