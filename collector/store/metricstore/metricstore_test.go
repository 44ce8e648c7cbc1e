package metricstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.uber.org/goleak"

	"weft/internal/semconv"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func settings(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Dir = t.TempDir()
	return cfg
}

// samples lists every sample of a metric as "labels value", in order of labels, then time.
func samples(t testing.TB, s *Store, metric string) (out []string) {
	t.Helper()
	q, err := s.Storage().Querier(0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(ctx, true, nil, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, metric))
	for set.Next() {
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			_, v := it.At()
			out = append(out, fmt.Sprintf("%s %v", set.At().Labels().DropReserved(func(n string) bool { return n == labels.MetricName }), v))
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func resource(batch pmetric.Metrics) pmetric.MetricSlice {
	rm := batch.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr(semconv.ServiceName, "orders")
	rm.Resource().Attributes().PutStr(semconv.ServiceInstanceID, "orders-1")
	return rm.ScopeMetrics().AppendEmpty().Metrics()
}

// TestOTLP: series get Prometheus' names, exemplars are kept, one bad point costs nothing else, an identical re-send
// is taken, and everything is there after a restart.
func TestOTLP(t *testing.T) {
	cfg := settings(t)
	s := open(t, cfg)
	now := time.Now()
	batch := pmetric.NewMetrics()
	list := resource(batch)

	duration := list.AppendEmpty()
	duration.SetName(semconv.HTTPServerDuration)
	duration.SetUnit("s")
	h := duration.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := h.DataPoints().AppendEmpty()
	p.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Second)))
	p.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.ExplicitBounds().FromRaw([]float64{0.1, 1})
	p.BucketCounts().FromRaw([]uint64{3, 2, 1})
	p.SetCount(6)
	p.SetSum(4)
	e := p.Exemplars().AppendEmpty()
	e.SetTimestamp(pcommon.NewTimestampFromTime(now))
	e.SetTraceID(pcommon.TraceID{1})
	e.SetDoubleValue(0.5)

	delta := list.AppendEmpty() // has no form in Prometheus
	delta.SetName("delta")
	d := delta.SetEmptySum()
	d.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	d.DataPoints().AppendEmpty().SetIntValue(1)

	gauge := list.AppendEmpty()
	gauge.SetName("queue.length")
	points := gauge.SetEmptyGauge().DataPoints()
	for _, age := range []time.Duration{10 * time.Second, 0, 365 * 24 * time.Hour, 5 * time.Second} { // one is too old, one late
		g := points.AppendEmpty()
		g.SetTimestamp(pcommon.NewTimestampFromTime(now.Add(-age)))
		g.SetIntValue(int64(age / time.Second))
	}
	for range 2 {
		if err := s.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *Store) {
		t.Helper()
		if got := samples(t, s, "queue_length"); !slices.Equal(got, []string{
			`{instance="orders-1", job="orders"} 10`, `{instance="orders-1", job="orders"} 5`, `{instance="orders-1", job="orders"} 0`,
		}) {
			t.Fatalf("gauge: %q", got)
		}
		if got := samples(t, s, "http_server_request_duration_seconds_count"); len(got) != 2 || !strings.HasSuffix(got[1], " 6") {
			t.Fatalf("histogram count, from its zero on: %q", got)
		}
		if got := samples(t, s, "http_server_request_duration_seconds_bucket"); len(got) != 6 {
			t.Fatalf("histogram buckets: %q", got)
		}
		q, err := s.Storage().ExemplarQuerier(ctx)
		if err != nil {
			t.Fatal(err)
		}
		found, err := q.Select(0, now.UnixMilli()+1, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+_bucket")})
		if err != nil || len(found) != 1 || found[0].Exemplars[0].Labels.Get("trace_id") != "01000000000000000000000000000000" {
			t.Fatalf("exemplars: %+v, %v", found, err)
		}
	}
	check(s)
	if st := s.Stats(); st.Dropped[TooOld] != 2 || st.Dropped[Unsupported] != 2 || st.Rejected() != 4 || st.LastRejection == "" {
		t.Fatalf("stats %+v: a delta sum and a point of last year were sent twice", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, cfg))
}

// TestWrite: generated counters and histograms with exemplars answer rate() and histogram_quantile() from their first
// increment on.
func TestWrite(t *testing.T) {
	s := open(t, settings(t))
	now := time.Now().Truncate(time.Millisecond)
	write := func(at time.Time, calls float64) {
		t.Helper()
		service := Label{"service", "payment"}
		series := []Series{{Name: semconv.SpanMetricsCalls, Labels: []Label{service, {"a", "first"}}, Value: calls}}
		for _, b := range []Label{{"le", "0.1"}, {"le", "1"}, {"le", "+Inf"}} {
			series = append(series, Series{Name: semconv.SpanMetricsLatency + "_bucket", Labels: []Label{service, b}, Value: calls})
		}
		series[3].Value = calls * 2
		series[1].Exemplars = []Exemplar{{Value: 0.05, Time: at.UnixMilli(), Labels: []Label{
			{"trace_id", strings.Repeat("a", 32)}, {"request_id", strings.Repeat("é", 100)}, {"n", "fits"},
		}}}
		for i := range series {
			series[i].Time, series[i].Start = at.UnixMilli(), now.Add(-2*time.Minute).UnixMilli()
		}
		if err := s.Write(ctx, series); err != nil {
			t.Fatal(err)
		}
	}
	write(now.Add(-time.Minute), 60)
	write(now, 120)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	defer engine.Close()
	for query, want := range map[string]float64{
		`sum(increase(traces_spanmetrics_calls_total[2m1s]))`:                                  120,
		`histogram_quantile(0.5, sum by (le) (rate(traces_spanmetrics_latency_bucket[2m1s])))`: 0.1,
	} {
		q, err := engine.NewInstantQuery(ctx, s.Storage(), nil, query, now)
		if err != nil {
			t.Fatal(err)
		}
		v, err := q.Exec(ctx).Vector()
		if err != nil || len(v) != 1 || math.Abs(v[0].F-want) > want/50 {
			t.Errorf("%s = %v, %v; want %v", query, v, err, want)
		}
		q.Close()
	}
	q, err := s.Storage().ExemplarQuerier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found, err := q.Select(0, now.UnixMilli()+1, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "le", "0.1")})
	if err != nil || len(found) != 1 || len(found[0].Exemplars) != 2 {
		t.Fatalf("exemplars: %+v, %v", found, err)
	}
	if got := found[0].Exemplars[0].Labels.String(); got != `{n="fits", trace_id="`+strings.Repeat("a", 32)+`"}` {
		t.Errorf("exemplar labels %s: what does not fit is left out, trace_id stays", got)
	}
	if st := s.Stats(); st.Rejected() != 0 || st.Points != 8 {
		t.Errorf("stats %+v, want the eight samples written", st)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Write(canceled, []Series{{Name: "x", Time: now.UnixMilli()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if got := samples(t, s, "x"); got != nil {
		t.Errorf("a canceled write left %q", got)
	}
}

// TestReserve: below the reserve every way in answers ErrFull, queries go on, and writing resumes by itself.
func TestReserve(t *testing.T) {
	cfg := settings(t)
	fs := faultfs.New()
	free := uint64(50)
	fs.Space(func() (uint64, uint64) { return free, 100 })
	cfg.free, cfg.Reserve = fs, 5
	s := open(t, cfg)
	at := time.Now().UnixMilli()
	one := []Series{{Name: "up", Value: 1, Time: at}}
	if err := s.Write(ctx, one); err != nil {
		t.Fatal(err)
	}
	look := func() { s.lookedAt = time.Time{} }
	free = 4
	look()
	if err := s.Write(ctx, one); !errors.Is(err, wal.ErrFull) {
		t.Errorf("write: %v", err)
	}
	if err := s.Append(ctx, pmetric.NewMetrics()); !errors.Is(err, wal.ErrFull) {
		t.Errorf("append: %v", err)
	}
	app := s.Storage().Appender(ctx)
	if _, err := app.Append(0, labels.FromStrings(labels.MetricName, "rule"), at, 1); err != nil {
		t.Error(err)
	}
	if err := app.Commit(); !errors.Is(err, wal.ErrFull) {
		t.Errorf("a rule's commit: %v", err)
	}
	if got := samples(t, s, "up"); len(got) != 1 {
		t.Errorf("query of a full store: %q", got)
	}
	free = 50
	look()
	one[0].Time++
	if err := s.Write(ctx, one); err != nil {
		t.Error(err)
	}
	if got := append(samples(t, s, "up"), samples(t, s, "rule")...); len(got) != 2 {
		t.Errorf("after the reserve is back: %q", got)
	}
	if st := s.Stats(); st.Refused != 3 {
		t.Errorf("stats %+v", st)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate("metrics."); err != nil {
		t.Fatal(err)
	}
	bad := Config{Retention: time.Minute, MaxBytes: -1, OutOfOrder: -1, Exemplars: -1}
	err := bad.Validate("metrics.")
	for _, key := range []string{"metrics.retention", "metrics.max_bytes", "metrics.out_of_order", "metrics.exemplars"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func BenchmarkWrite1000Series(b *testing.B) {
	s := open(b, settings(b))
	series := make([]Series, 1000)
	start := time.Now().UnixMilli()
	for i := range series {
		series[i] = Series{Name: semconv.SpanMetricsCalls, Labels: []Label{{"service", "payment"}, {"n", fmt.Sprint(i)}}}
	}
	b.ReportAllocs()
	for n := range b.N {
		for i := range series {
			series[i].Time, series[i].Value = start+int64(n), float64(n)
		}
		if err := s.Write(ctx, series); err != nil {
			b.Fatal(err)
		}
	}
}
