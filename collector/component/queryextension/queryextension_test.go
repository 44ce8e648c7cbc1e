package queryextension

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"weft/alerts"
	"weft/alerts/notify"
	"weft/collector/correlate"
	"weft/collector/store"
)

type part struct {
	component.StartFunc
	component.ShutdownFunc
}

type stores struct {
	part
	set *store.Set
}

func (s stores) Stores() *store.Set { return s.set }

type correlator struct {
	part
	correlator *correlate.Correlator
}

func (c correlator) Correlator() *correlate.Correlator { return c.correlator }

// pager is an alert extension that has not started.
type pager struct{ part }

func (pager) Alerts() *alerts.Alerts { return nil }

func (pager) API(string) http.Handler { return http.NotFoundHandler() }

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func TestOnePortForEverything(t *testing.T) {
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	set, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	h := host{
		component.MustNewID("store"):     stores{set: set},
		component.MustNewID("correlate"): correlator{correlator: correlate.New(correlate.DefaultConfig())},
		component.MustNewID("alert"):     pager{},
	}
	endpoint := freePort(t)
	ext, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(NewFactory().Type()), &Config{Endpoint: endpoint, Hosts: []string{"weft.example"}, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(t.Context(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), `add "store"`) || !strings.Contains(err.Error(), `add "correlate"`) {
		t.Fatalf("started without anything to answer from: %v", err)
	}
	if err := ext.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ext.Shutdown(context.Background()) }()
	tests := map[string]struct {
		path, host, origin string
		status             int
		want               string
	}{
		"requests":          {"/api/requests", "", "", 200, `"requests":[]`},
		"services":          {"/api/services", "", "", 200, `"services":[`},
		"verdicts":          {"/api/verdicts", "", "", 200, `"verdicts":[]`},
		"alerts":            {"/api/alerts", "", "", 200, `"alerts":[]`},
		"unknown request":   {"/api/requests/nobody", "", "", 404, `"status":404`},
		"PromQL":            {"/prometheus/api/v1/query?query=1%2B1", "", "", 200, `"2"`},
		"console":           {"/requests/abc", "", "", 200, `<html`},
		"configured name":   {"/api/services", "weft.example", "", 200, `"services"`},
		"rebound name":      {"/api/services", "evil.example", "", 403, `hosts`},
		"PromQL, rebound":   {"/prometheus/api/v1/labels", "evil.example", "", 403, ``},
		"another site":      {"/api/services", "", "http://evil.example", 403, ``},
		"PromQL, elsewhere": {"/prometheus/api/v1/query?query=1", "", "http://evil.example", 403, ``},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest(http.MethodGet, "http://"+endpoint+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.host != "" {
				request.Host = test.host
			}
			if test.origin != "" {
				request.Header.Set("Origin", test.origin)
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != test.status || !strings.Contains(string(body), test.want) {
				t.Fatalf("%d %s, want %d with %s", answer.StatusCode, body, test.status, test.want)
			}
		})
	}
	second, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(NewFactory().Type()), &Config{Endpoint: endpoint, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context(), h); err == nil || !strings.Contains(err.Error(), endpoint) {
		t.Errorf("a port in use is %v", err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	if err := defaultConfig().(*Config).Validate(); err != nil {
		t.Error(err)
	}
	err := (&Config{Endpoint: "here"}).Validate()
	for _, key := range []string{"endpoint: ", "drain: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("error does not name %q: %v", key, err)
		}
	}
}

// owner is an alert extension that has started.
type owner struct{ all *alerts.Alerts }

func (o owner) Alerts() *alerts.Alerts         { return o.all }
func (o owner) API(prefix string) http.Handler { return o.all.API(prefix) }

// An alert about Weft itself names no endpoint: nothing of it may look like one to who reads the API.
func TestAConditionIsShownWithoutAnEndpoint(t *testing.T) {
	cfg := alerts.DefaultConfig()
	cfg.Data = t.TempDir()
	journal, replayed, err := notify.OpenJournal(cfg.Data, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	all, err := alerts.New(cfg, alerts.Deps{Log: slog.New(slog.DiscardHandler), Journal: journal, Replayed: replayed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- all.Run(ctx) }()
	all.Condition(ctx, alerts.Condition{Name: "DiskNearlyFull", Subject: "collector data /data", Service: "collector", Summary: "nearly full", Firing: true})
	view := alertView{owner{all}}
	for deadline := time.Now().Add(20 * time.Second); len(view.Alerts()) == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	shown := view.Alerts()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(shown) != 1 {
		t.Fatalf("shown: %+v", shown)
	}
	a := shown[0]
	want := map[string]string{"alertname": "DiskNearlyFull", "service": "collector", "severity": "warning", "subject": "collector data /data"}
	if a.Endpoint != "" || a.Subject != "collector data /data" || a.Status != "firing" || a.Summary != "nearly full" || !maps.Equal(a.Labels, want) {
		t.Errorf("shown: %+v", a)
	}
}
