package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// weftUp is one running `weft up`.
type weftUp struct {
	t       testing.TB
	data    string
	cmd     *exec.Cmd
	exited  chan struct{}
	out     *synced // what weft up has printed
	gateway string  // base URLs
	api     string
	pager   *pager
	ops     map[string]string // of the proxies, by part name
}

func binary(t testing.TB, name string) string {
	path, err := filepath.Abs(filepath.Join("..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run make build first", path)
	}
	return path
}

// start runs weft up on free ports with a webhook that records, and stops it when the test ends. config is YAML, or
// empty.
func start(t testing.TB, config string, flags ...string) *weftUp {
	t.Helper()
	u := &weftUp{t: t, data: t.TempDir(), exited: make(chan struct{}), pager: newPager(t)}
	args := []string{"up", "--data", u.data, "--addr", "all=127.0.0.1:0", "--webhook", u.pager.server.URL}
	if config != "" {
		path := filepath.Join(t.TempDir(), "up.yaml")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	u.run(append(args, flags...))
	return u
}

func (u *weftUp) run(args []string) {
	u.t.Helper()
	u.out = &synced{}
	u.cmd = exec.Command(binary(u.t, "weft"), args...)
	u.cmd.Stdout, u.cmd.Stderr = u.out, u.out
	if err := u.cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	go func() { _ = u.cmd.Wait(); close(u.exited) }()
	u.t.Cleanup(u.stop)
	within(u.t, 2*time.Minute, "weft up is ready", func() error {
		select {
		case <-u.exited:
			u.t.Fatalf("weft up ended: %s", u.out)
		default:
		}
		if !strings.Contains(u.out.String(), "Weft is up") {
			return fmt.Errorf("it has said: %s", u.out)
		}
		return nil
	})
	u.gateway = "http://" + u.address("gateway", "http")
	u.api = "http://" + u.address("collector", "http")
}

func (u *weftUp) stop() {
	if u.cmd.Process.Signal(syscall.SIGINT) != nil {
		return
	}
	select {
	case <-u.exited:
	case <-time.After(40 * time.Second):
		_ = u.cmd.Process.Kill()
		<-u.exited
		u.t.Errorf("weft up did not stop within 40 s of Ctrl-C")
	}
	if u.t.Failed() {
		u.keepLogs()
	}
}

// keepLogs copies the parts' last log lines into the test's output.
func (u *weftUp) keepLogs() {
	logs, _ := filepath.Glob(filepath.Join(u.data, "logs", "*.log"))
	for _, path := range logs {
		if raw, err := os.ReadFile(path); err == nil && len(raw) > 0 {
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			u.t.Logf("%s: %s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-5):], "\n"))
		}
	}
}

type part struct {
	Name      string            `json:"name"`
	PID       int               `json:"pid"`
	Healthy   bool              `json:"healthy"`
	Addresses map[string]string `json:"addresses"`
}

func (u *weftUp) parts() []part {
	u.t.Helper()
	var status struct{ Parts []part }
	if err := json.Unmarshal([]byte(u.weft("status", "--json")), &status); err != nil {
		u.t.Fatal(err)
	}
	return status.Parts
}

func (u *weftUp) part(name string) part {
	u.t.Helper()
	for _, p := range u.parts() {
		if p.Name == name {
			return p
		}
	}
	u.t.Fatalf("weft status has no part %q", name)
	return part{}
}

func (u *weftUp) address(name, address string) string {
	u.t.Helper()
	return u.part(name).Addresses[address]
}

func (u *weftUp) signal(name string, s syscall.Signal) {
	u.t.Helper()
	if err := syscall.Kill(u.part(name).PID, s); err != nil {
		u.t.Fatalf("%v to %s: %v", s, name, err)
	}
}

// weft runs a command of the person's on this data folder, and returns what it printed.
func (u *weftUp) weft(args ...string) string {
	u.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(binary(u.t, "weft"), append(args, "--data", u.data)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		u.t.Fatalf("weft %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// get reads a JSON answer of the collector; an answer other than 200 is an error.
func (u *weftUp) get(path string, into any) error {
	response, err := http.Get(u.api + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, raw)
	}
	return json.Unmarshal(raw, into)
}

// visitor keeps its connections, as a browser does.
var visitor = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// send makes one request through the gateway and returns its status and request ID.
func (u *weftUp) send(method, path string) (status int, requestID string, err error) {
	request, err := http.NewRequest(method, u.gateway+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := visitor.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header.Get("X-Request-Id"), err
}

// story is the answer of /api/requests/{id}, as far as tests read it.
type story struct {
	RequestID           string   `json:"request_id"`
	TraceID             string   `json:"trace_id"`
	Status              int      `json:"status"`
	Route               string   `json:"route"`
	Spans               []span   `json:"spans"`
	Logs                []record `json:"logs"`
	DroppedTraceparent  any      `json:"dropped_traceparent_by"`
	Services            []any    `json:"services"`
	Verdicts            []any    `json:"verdicts"`
	Alerts              []any    `json:"alerts"`
	DurationMillisecond float64  `json:"duration_ms"`
}

type span struct {
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_span_id"`
	Service    string         `json:"service"`
	Endpoint   string         `json:"endpoint"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Attributes map[string]any `json:"attributes"`
}

type record struct {
	Service string `json:"service"`
	Body    string `json:"body"`
}

func services[T any](items []T, of func(T) string) []string {
	var names []string
	for _, item := range items {
		names = append(names, of(item))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// endpointView is one entry of a proxy's /endpoints.
type endpointView struct {
	Service        string  `json:"service"`
	Instance       string  `json:"instance"`
	State          string  `json:"state"`
	Weight         int     `json:"weight"`
	VerdictVersion any     `json:"verdict_version"`
	Source         string  `json:"source"`
	EWMA           float64 `json:"ewma_ms"`
}

// views are what each proxy that knows an endpoint says of it, by part name. Only the first call asks weft status where
// the proxies are: a part keeps its ports, and a poll should cost less than what it waits for.
func (u *weftUp) views(instance string) map[string]endpointView {
	if u.ops == nil {
		u.ops = map[string]string{}
		for _, p := range u.parts() {
			if p.Name == "gateway" || strings.HasPrefix(p.Name, "sidecar/") {
				u.ops[p.Name] = p.Addresses["ops"]
			}
		}
	}
	out := map[string]endpointView{}
	client := http.Client{Timeout: 2 * time.Second}
	for name, ops := range u.ops {
		response, err := client.Get("http://" + ops + "/endpoints")
		if err != nil {
			continue // it was killed, perhaps by this test
		}
		var views []endpointView
		err = json.NewDecoder(response.Body).Decode(&views)
		response.Body.Close()
		if err != nil {
			u.t.Errorf("%s /endpoints: %v", name, err)
		}
		for _, view := range views {
			if view.Instance == instance {
				out[name] = view
			}
		}
	}
	return out
}

// within polls until try succeeds, and fails the test when it has not by the deadline.
func within(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond) // the pause of a poll with a deadline
	}
}

// pager is a webhook receiver that keeps what it got.
type pager struct {
	server *httptest.Server
	mu     sync.Mutex
	pages  []page
}

// page is Alertmanager's webhook body, version 4.
type page struct {
	Version     string            `json:"version"`
	Status      string            `json:"status"`
	GroupKey    string            `json:"groupKey"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
	at time.Time
}

func newPager(t testing.TB) *pager {
	p := &pager{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got page
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Errorf("page: %v", err)
		}
		got.at = time.Now()
		p.mu.Lock()
		p.pages = append(p.pages, got)
		p.mu.Unlock()
	}))
	t.Cleanup(p.server.Close)
	return p
}

// about are the pages with an alert for an endpoint and a status ("firing" or "resolved"); empty means any.
func (p *pager) about(endpoint, status string) []page {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []page
	for _, page := range p.pages {
		for _, alert := range page.Alerts {
			if (endpoint == "" || names(alert.Labels, endpoint)) && (status == "" || alert.Status == status) {
				out = append(out, page)
				break
			}
		}
	}
	return out
}

// names says whether an alert's labels name an endpoint, alone or as service/instance.
func names(labels map[string]string, instance string) bool {
	named := labels["endpoint"]
	return named[strings.LastIndex(named, "/")+1:] == instance
}

// load sends one kind of request at a fixed rate until stop is called.
type load struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	mu      sync.Mutex
	results []result
}

type result struct {
	at     time.Time
	status int // 0: no answer
	id     string
	err    error
}

func (u *weftUp) load(rate int, method, path string) *load {
	return u.loadBy(rate, func() (int, string, error) { return u.send(method, path) })
}

// loadBy is load with any way to send one request.
func (u *weftUp) loadBy(rate int, send func() (status int, id string, err error)) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	slots := make(chan struct{}, 256)
	l.done.Go(func() {
		for due := time.Now(); ; due = due.Add(time.Second / time.Duration(rate)) { // what is late is sent at once
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due)):
			}
			select {
			case slots <- struct{}{}:
				l.done.Go(func() {
					defer func() { <-slots }()
					at := time.Now()
					status, id, err := send()
					l.mu.Lock()
					l.results = append(l.results, result{at, status, id, err})
					l.mu.Unlock()
				})
			default: // 256 in flight: the system is saturated, and more would only queue here
			}
		}
	})
	u.t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

func (l *load) since(at time.Time) []result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.results), func(r result) bool { return r.at.Before(at) })
}

// failed are the results that are not below 500.
func failed(results []result) []result {
	return slices.DeleteFunc(results, func(r result) bool { return r.err == nil && r.status < 500 })
}

// synced is a buffer that a process writes while a test reads.
type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }
func (s *synced) String() string              { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }
