package opsextension

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// street opens ports and remembers them.
type street struct {
	open  map[string]bool
	ready func() error
}

func (s *street) listen(addr string, ready func() error) (Server, error) {
	if s.open[addr] {
		return Server{}, errors.New("ops port: address already in use")
	}
	s.open[addr], s.ready = true, ready
	run := func(ctx context.Context) error { <-ctx.Done(); s.open[addr] = false; return nil }
	return Server{Addr: addr, Registry: prometheus.NewRegistry(), Run: run}, nil
}

type host struct {
	component.Host
	others map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.others }

type waiting struct {
	component.StartFunc
	component.ShutdownFunc
	why error
}

func (w *waiting) Readiness() error { return w.why }

func (p *Port) begin(t *testing.T, endpoint string, h component.Host) (extensioncapabilities.PipelineWatcher, error) {
	t.Helper()
	ext, err := p.Factory().Create(t.Context(), extensiontest.NewNopSettings(p.Factory().Type()), &Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ext.Shutdown(context.Background()) })
	return ext.(extensioncapabilities.PipelineWatcher), ext.Start(t.Context(), h)
}

func TestThePortOutlivesPipelines(t *testing.T) {
	s := &street{open: map[string]bool{}}
	p := NewPort(s.listen, prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"}))
	lane := &waiting{why: errors.New("no certificate yet")}
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("lane"): lane}}
	expect := func(want string) {
		t.Helper()
		got := ""
		if err := s.ready(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("readiness is %q, want %q", got, want)
		}
	}
	first, err := p.begin(t, "127.0.0.1:1", h)
	if err != nil {
		t.Fatal(err)
	}
	expect("pipelines are not running")
	_ = first.Ready()
	expect("lane: no certificate yet")
	lane.why = nil
	expect("")
	_ = first.NotReady()
	expect("pipelines are not running")

	if _, err := p.begin(t, "127.0.0.1:1", h); err != nil {
		t.Fatalf("a reload cannot take the port over: %v", err)
	}
	if _, err := p.begin(t, "127.0.0.1:2", h); err != nil || s.open["127.0.0.1:1"] || !s.open["127.0.0.1:2"] {
		t.Errorf("the port did not move: %v %v", s.open, err)
	}
	s.open["127.0.0.1:3"] = true
	if _, err := p.begin(t, "127.0.0.1:3", h); err == nil || !s.open["127.0.0.1:2"] {
		t.Errorf("a port in use closed the old one: %v %v", s.open, err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if s.open["127.0.0.1:2"] {
		t.Error("still open")
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	if err := (&Config{Endpoint: net.JoinHostPort("127.0.0.1", "0")}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (&Config{Endpoint: "here"}).Validate(); err == nil {
		t.Error("accepted")
	}
}
