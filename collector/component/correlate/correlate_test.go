package correlate

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weft/collector/correlate/facts"
	"weft/collector/store"
)

// world is a collector with stores, without pipelines.
type world struct {
	stores     *store.Set
	extensions map[component.ID]component.Component
}

func (w *world) GetExtensions() map[component.ID]component.Component { return w.extensions }

type owner struct {
	component.StartFunc
	component.ShutdownFunc
	set *store.Set
}

func (o owner) Stores() *store.Set { return o.set }

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	set, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	return &world{set, map[component.ID]component.Component{component.MustNewID("store"): owner{set: set}}}
}

func (w *world) start(t *testing.T, k *Keeper) *Extension {
	t.Helper()
	cfg := defaultConfig().(*Config)
	cfg.FlushInterval = 10 * time.Millisecond
	ext, err := k.ExtensionFactory().Create(t.Context(), extensiontest.NewNopSettings(component.MustNewType(componentType)), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ext.Shutdown(context.Background()) })
	w.extensions[component.MustNewID(componentType)] = ext
	return ext.(*Extension)
}

func request(id byte) ptrace.Traces {
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{id})
	span.SetSpanID(pcommon.SpanID{id})
	span.SetKind(ptrace.SpanKindServer)
	span.SetName("GET /")
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return traces
}

func (w *world) calls(t *testing.T) float64 {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{Logger: slog.New(slog.DiscardHandler), MaxSamples: 1000, Timeout: time.Second})
	defer func() { _ = engine.Close() }()
	query, err := engine.NewInstantQuery(t.Context(), w.stores.Metrics.Storage(), nil, `sum(traces_spanmetrics_calls_total)`, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	result := query.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatal(err)
	}
	if len(vector) == 0 {
		return 0
	}
	return vector[0].F
}

func TestExchangesSurviveARestartAndCountOnce(t *testing.T) {
	w := newWorld(t)
	if err := w.stores.Traces.Append(t.Context(), request(1)); err != nil {
		t.Fatal(err)
	}
	k := NewKeeper()
	ext := w.start(t, k)
	if n := len(ext.Correlator().Find(pcommon.TraceID{1}.String())); n != 1 {
		t.Fatalf("%d exchanges after replay", n)
	}
	for _, batch := range []ptrace.Traces{request(1), request(2)} { // the first is a re-send of what was stored
		raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
		if err != nil {
			t.Fatal(err)
		}
		spans, err := new(reader).readSpans(raw)
		if err != nil {
			t.Fatal(err)
		}
		ext.Correlator().Spans(time.Now(), spans)
	}
	deadline := time.Now().Add(10 * time.Second)
	for w.calls(t) != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("%v calls counted, want 1: the replayed one was counted before the restart", w.calls(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := ext.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A reload hands the same correlator on.
	if again := w.start(t, k); again.Correlator() != ext.Correlator() || len(again.Correlator().Find(pcommon.TraceID{2}.String())) != 1 {
		t.Error("the reload forgot")
	}
}

// TestAnOffenderIsNamed: a service that puts IDs into span names is a metric and a warning.
func TestAnOffenderIsNamed(t *testing.T) {
	w := newWorld(t)
	core, logged := observer.New(zap.WarnLevel)
	reader := sdkmetric.NewManualReader()
	settings := extensiontest.NewNopSettings(component.MustNewType(componentType))
	settings.Logger, settings.MeterProvider = zap.New(core), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	cfg := defaultConfig().(*Config)
	cfg.FlushInterval, cfg.Limits.SpanNames = 10*time.Millisecond, 5
	created, err := NewKeeper().ExtensionFactory().Create(t.Context(), settings, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := created.Start(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = created.Shutdown(context.Background()) }()
	for i := range 50 {
		s := facts.Span{Trace: [16]byte{1}, ID: [8]byte{1, byte(i)}, Kind: 2, Service: "legacy", Name: fmt.Sprintf("GET /items/%d", i)}
		created.(*Extension).Correlator().Spans(time.Now(), []facts.Span{s})
	}
	for deadline := time.Now().Add(10 * time.Second); logged.Len() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no warning")
		}
	}
	if got := logged.All()[0].ContextMap(); got["service"] != "legacy" || got["label"] != "span_name" || got["example"] == "" {
		t.Errorf("logged %v", got)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range all.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "weft_series_overflowed_items" {
			p := sum.DataPoints[0]
			service, _ := p.Attributes.Value("service")
			found = p.Value == 45 && service.AsString() == "legacy"
		}
	}
	if !found {
		t.Errorf("metrics %+v", all.ScopeMetrics)
	}
}

func TestStartNeedsStores(t *testing.T) {
	ext, err := NewKeeper().ExtensionFactory().Create(t.Context(), extensiontest.NewNopSettings(component.MustNewType(componentType)), defaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(t.Context(), componenttest.NewNopHost()); err == nil {
		t.Error("started without stores")
	}
	if err := ext.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}
