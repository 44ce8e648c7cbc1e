package alertextension

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"

	"weft/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// judge stands in for the health extension.
type judge struct {
	component.StartFunc
	component.ShutdownFunc
	heard []func(sample.Verdict)
}

func (j *judge) Subscribe(f func(sample.Verdict)) { j.heard = append(j.heard, f) }
func (j *judge) Verdicts() []sample.Verdict       { return nil }

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func TestVerdictReachesTheWebhook(t *testing.T) {
	pages := make(chan map[string]any, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		pages <- body
	}))
	defer receiver.Close()
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig().(*Config)
	err := confmap.NewFromStringMap(map[string]any{
		"webhook": map[string]any{"url": receiver.URL, "secret": "s"}, "data": t.TempDir(), "group_wait": "20ms", "group_interval": "50ms",
	}).Unmarshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e, err := factory.Create(context.Background(), extensiontest.NewNopSettings(factory.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	health := &judge{}
	if err := e.Start(context.Background(), host{component.MustNewID("health"): health}); err != nil {
		t.Fatal(err)
	}
	health.heard[0](sample.Verdict{
		Endpoint: sample.Key{Service: "payment", Instance: "payment-2"}, State: sample.Ejected, Version: 1, Enforced: true, Reason: "errors",
	})
	select {
	case page := <-pages:
		if page["version"] != "4" || page["status"] != "firing" {
			t.Errorf("page: %v", page)
		}
	case <-time.After(20 * time.Second):
		t.Error("no page")
	}
	if active := e.(*Alert).Alerts().Active(); len(active) != 1 || active[0].Endpoint != "payment-2" {
		t.Errorf("active: %+v", active)
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	cfg := defaultConfig()
	cfg.Webhook.URL, cfg.GroupWait, cfg.Data, cfg.Disk.WarnPercent = "hooks.example", 0, "", 100
	err := cfg.Validate()
	for _, key := range []string{"webhook.url", "group_wait", "data", "disk.warn_percent"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	factory := NewFactory()
	e, err := factory.Create(context.Background(), extensiontest.NewNopSettings(factory.Type()), factory.CreateDefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background(), componenttest.NewNopHost()); err == nil || !strings.Contains(err.Error(), "no extension judges health") {
		t.Errorf("without a health extension: %v", err)
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
