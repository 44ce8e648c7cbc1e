package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/agent/component/queue/export"
	"weft/internal/otlp"
)

func extend(t *testing.T, k *Keeper, cfg Config) *Extension {
	t.Helper()
	e, err := k.Factory().Create(t.Context(), extensiontest.NewNopSettings(k.Factory().Type()), &cfg)
	must(t, err)
	must(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	return e.(*Extension)
}

func TestTheQueueOutlivesTheExtension(t *testing.T) {
	f := &far{}
	f.serve(t)
	k := NewKeeper(zap.NewNop())
	cfg := testConfig(t.TempDir(), f.addr)
	first := extend(t, k, cfg)
	opened := first.queue
	must(t, first.Shutdown(t.Context()))
	if second := extend(t, k, cfg); second.queue != opened {
		t.Error("a reload opened the queue again")
	}
	if _, err := NewKeeper(zap.NewNop()).open(cfg); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("another process opened it too: %v", err)
	}
	cfg.InFlight = 2
	third := extend(t, k, cfg)
	if third.queue == opened {
		t.Error("another configuration, the same queue")
	}
	if !third.Takes(otlp.SignalTraces) || third.Takes("profiles") {
		t.Error("takes the wrong signals")
	}
	if _, err := third.Take(t.Context(), otlp.SignalLogs, batch(t, "a")); err != nil {
		t.Error(err)
	}
	if _, err := first.Take(t.Context(), otlp.SignalLogs, batch(t, "b")); status.Code(err) != codes.Unavailable || export.Patience(err) == 0 {
		t.Errorf("a queue that is closed: %v", err)
	}
	if _, err := third.Take(t.Context(), otlp.SignalLogs, []byte{0xff}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a batch that cannot be read: %v", err)
	}
	for range 2 { // closing twice is closing once
		must(t, k.Close())
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	cfg.Dir = filepath.Join(file, "queue")
	if _, err := k.open(cfg); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("an unusable folder: %v", err)
	}
}

// A stop waits for the answer to what is under way, for a moment; what is not answered is sent by the next start.
func TestAStopWaitsForAnswersButNotForEver(t *testing.T) {
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	f := &far{}
	f.set(func([]string) (int, error) {
		asked <- struct{}{}
		<-answer
		return 0, nil
	})
	f.serve(t)
	cfg := testConfig(t.TempDir(), f.addr)
	cfg.Drain = time.Minute
	q, stop := start(t, cfg, testDeps())
	mustTake(t, q, "a")
	<-asked
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	answer <- struct{}{}
	<-stopped
	if s := q.Snapshot(otlp.SignalLogs); s.Sent != 1 || s.Queued != 0 {
		t.Errorf("ledger %+v", s.Ledger)
	}

	cfg.Drain = time.Millisecond
	q, stop = start(t, cfg, testDeps())
	if s := q.Snapshot(otlp.SignalLogs); s.Recovered != 0 {
		t.Errorf("it was answered, and is in the queue again: %+v", s.Ledger)
	}
	mustTake(t, q, "b")
	<-asked
	stop()
	close(answer)
	f.forget()
	q, _ = start(t, cfg, testDeps())
	if s := awaitSent(t, q); s.Recovered != 1 || s.Sent != 1 {
		t.Errorf("ledger %+v", s.Ledger)
	}
}

func TestMetricsAreTheLedger(t *testing.T) {
	f := &far{answer: func([]string) (int, error) { return 1, nil }}
	f.serve(t)
	q, stop := start(t, testConfig(t.TempDir(), f.addr), testDeps())
	reader := metric.NewManualReader()
	registration, err := measure(metric.NewMeterProvider(metric.WithReader(reader)), q)
	must(t, err)
	mustTake(t, q, "a", "b", "c")
	awaitSent(t, q)
	stop() // the ops port may ask at any time
	var data metricdata.ResourceMetrics
	must(t, reader.Collect(t.Context(), &data))
	got := map[string]string{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch points := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range points.DataPoints {
				if signal, _ := p.Attributes.Value("signal"); signal.AsString() == "logs" {
					reason, _ := p.Attributes.Value("reason")
					got[m.Name+" "+reason.AsString()] = fmt.Sprint(p.Value)
				}
			}
		case metricdata.Sum[float64]:
			for _, p := range points.DataPoints {
				if signal, _ := p.Attributes.Value("signal"); signal.AsString() == "logs" {
					got[m.Name] = fmt.Sprint(p.Value)
				}
			}
		case metricdata.Gauge[float64]:
			for _, p := range points.DataPoints {
				if signal, _ := p.Attributes.Value("signal"); signal.AsString() == "logs" {
					got[m.Name] = fmt.Sprint(p.Value)
				}
			}
		}
	}
	for name, want := range map[string]string{
		"weft_queue_accepted_items": "3", "weft_queue_recovered_items": "0", "weft_queue_sent_items": "2", "weft_queue_queued_items": "0",
		"weft_queue_dropped_items rejected": "1", "weft_queue_dropped_items dead_letter": "0", "weft_queue_dropped_items damaged": "0",
		"weft_queue_queued_bytes": "0", "weft_queue_limit_bytes": "5.36870912e+08", "weft_queue_oldest_age_seconds": "0",
		"weft_queue_dead_letter_items": "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	for _, name := range []string{"weft_queue_lag_seconds", "weft_queue_disk_bytes", "weft_queue_damaged_ranges", "weft_queue_dead_letter_evicted_items"} {
		if got[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	must(t, registration.Unregister())
}

func TestConfigNamesTheKey(t *testing.T) {
	if err := defaultConfig().(*Config).Validate(); err != nil {
		t.Fatal(err)
	}
	err := (&Config{Collector: export.Config{Endpoint: "nowhere", Compression: "zip"}, ReservePercent: 91, Drain: -1}).Validate()
	for _, key := range []string{
		"dir", "durability", "limit_bytes", "reserve_percent", "dead_letters.limit_bytes", "dead_letters.age", "endpoint", "compression",
		"request_bytes", "in_flight", "timeout", "retry_within", "reconnect_within", "drain",
	} {
		if !strings.Contains(fmt.Sprint(err), key+": ") {
			t.Errorf("error does not name %q: %v", key, err)
		}
	}
}
