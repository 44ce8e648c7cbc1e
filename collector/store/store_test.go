package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/goleak"

	"weft/collector/signal"
	"weft/collector/store"
	"weft/collector/store/metricstore"
	"weft/collector/store/segment/retention"
	"weft/collector/store/storetest"
	"weft/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A Set keeps all three signals over a restart, belongs to one process at a time, and ends what it began.
func TestSet(t *testing.T) {
	ctx := context.Background()
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	for run := range 2 {
		set, err := store.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(cfg); err == nil || !strings.Contains(err.Error(), cfg.Dir) {
			t.Fatalf("a second owner: %v", err)
		}
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- set.Run(running) }()
		if run == 0 {
			fill(t, set)
		}
		spans, err := set.Traces.ByTrace(ctx, signal.TraceID{1})
		if err != nil || len(spans) != 1 {
			t.Errorf("spans: %v, %v", spans, err)
		}
		logs, err := set.Logs.ByRequest(ctx, "order-1")
		if err != nil || len(logs) != 1 {
			t.Errorf("logs: %v, %v", logs, err)
		}
		if s := set.Stats(); s.Metrics.Series != 1 || s.Traces.Log.Records+s.Logs.Log.Records != uint64(2-2*run) {
			t.Errorf("stats %+v", s)
		}
		if err := set.Check(ctx); err != nil {
			t.Error(err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
}

func fill(t *testing.T, set *store.Set) {
	t.Helper()
	ctx := t.Context()
	for _, err := range []error{
		set.Traces.Append(ctx, storetest.Batch(storetest.Span(1, 2))),
		set.Logs.Append(ctx, storetest.LogBatch(storetest.Log(1, "a", "request_id", "order-1"))),
		set.Metrics.Append(ctx, pmetric.NewMetrics()),
		set.Metrics.Write(ctx, []metricstore.Series{{Name: "up", Value: 1, Time: time.Now().UnixMilli()}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfig(t *testing.T) {
	text := `
dir: ./data
durability: power
traces: {age: 24h, bytes: 1073741824}
metrics: {retention: 48h, out_of_order: 10m}
`
	cfg := store.DefaultConfig()
	if err := config.Parse("store.yaml", []byte(text), &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Durability != "power" || cfg.Traces != (retention.Policy{Age: 24 * time.Hour, Bytes: 1 << 30, Tail: store.DefaultConfig().Traces.Tail}) || cfg.Metrics.Retention != 48*time.Hour {
		t.Fatalf("%+v", cfg)
	}
	bad := store.Config{Durability: "hope", ReservePercent: 99, Logs: retention.Policy{Age: -1, Bytes: 1}}
	_, err := store.Open(bad)
	for _, key := range []string{"dir:", "durability:", "reserve_percent:", "logs.age:", "logs.bytes:", "metrics.retention:"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

// Erasing takes a request out of log and segments, its log records too, and nothing else.
func TestErase(t *testing.T) {
	ctx := t.Context()
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	set, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = set.Close() }()
	for range 2 { // once into a segment, once into the log
		for _, err := range []error{
			set.Traces.Append(ctx, storetest.Batch(storetest.Span(1, 1, "request_id", "order-1"), storetest.Span(1, 2), storetest.Span(2, 3))),
			set.Logs.Append(ctx, storetest.LogBatch(storetest.Log(1, "a"), storetest.Log(0, "b", "request_id", "order-1"), storetest.Log(2, "c"))),
			set.Traces.SealAll(ctx), set.Logs.SealAll(ctx),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	spans, logs, err := set.Erase(ctx, "order-1")
	if err != nil || spans != 4 || logs != 4 {
		t.Errorf("erased %d spans and %d records, %v", spans, logs, err)
	}
	for trace, want := range map[signal.TraceID]int{{1}: 0, {2}: 1} {
		spans, err := set.Traces.ByTrace(ctx, trace)
		if err != nil || len(spans) != want {
			t.Errorf("trace %v: %d spans, %v", trace[0], len(spans), err)
		}
		logs, err := set.Logs.ByTrace(ctx, trace)
		if err != nil || len(logs) != want {
			t.Errorf("trace %v: %d records, %v", trace[0], len(logs), err)
		}
	}
	if logs, err := set.Logs.ByRequest(ctx, "order-1"); err != nil || len(logs) != 0 {
		t.Errorf("%d records of it, %v", len(logs), err)
	}
	if err := set.Check(ctx); err != nil {
		t.Error(err)
	}
}
