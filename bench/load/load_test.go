package load

import (
	"bytes"
	"encoding/hex"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"weft/internal/otlp"
)

const moment = 1_790_000_000_000_000_000

// What the full decoder makes of a batch is the shape that the package promises, and says in bytes.
func TestSpansHaveTheirShape(t *testing.T) {
	m := NewModel(1, false)
	const traces = 4096
	raw := m.NewEncoder().Append(nil, Batch{Signal: Spans, To: SpansPerTrace, Traces: traces, Base: moment})
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalProto(raw); err != nil {
		t.Fatal(err)
	}
	whole := map[[16]byte]map[[8]byte]ptrace.Span{}
	names, failed := map[string]int{}, 0
	var logs, squares float64
	for _, rs := range request.Traces().ResourceSpans().All() {
		instance, _ := rs.Resource().Attributes().Get("service.instance.id")
		names[instance.Str()]++
		for _, s := range rs.ScopeSpans().At(0).Spans().All() {
			if whole[s.TraceID()] == nil {
				whole[s.TraceID()] = map[[8]byte]ptrace.Span{}
			}
			whole[s.TraceID()][s.SpanID()] = s
			id, _ := s.Attributes().Get("http.request.header.x-request-id")
			if s.Attributes().Len() != 10 || id.Str() != s.TraceID().String() {
				t.Fatalf("%v", s.Attributes().AsRaw())
			}
			if s.Status().Code() == ptrace.StatusCodeError {
				failed++
			}
			if s.ParentSpanID().IsEmpty() {
				d := math.Log(float64(s.EndTimestamp() - s.StartTimestamp()))
				logs, squares = logs+d, squares+d*d
			}
		}
	}
	if len(whole) != traces || len(names) != 30 {
		t.Fatalf("%d traces of %d instances", len(whole), len(names))
	}
	for _, spans := range whole {
		within(t, spans)
	}
	mean := logs / traces
	if deviation := math.Sqrt(squares/traces - mean*mean); math.Abs(mean-math.Log(medianDuration)) > 0.05 || math.Abs(deviation-sigma) > 0.05 {
		t.Errorf("durations: median %.1f ms, sigma %.2f", math.Exp(mean)/1e6, deviation)
	}
	if share := float64(failed) / (traces * SpansPerTrace); share < 0.006 || share > 0.014 {
		t.Errorf("%.2f %% of spans failed", 100*share)
	}
}

// within checks that a trace is whole, and each span inside its parent.
func within(t *testing.T, spans map[[8]byte]ptrace.Span) {
	t.Helper()
	if len(spans) != SpansPerTrace {
		t.Fatalf("a trace has %d spans", len(spans))
	}
	roots := 0
	for _, s := range spans {
		parent, ok := spans[s.ParentSpanID()]
		switch {
		case s.ParentSpanID().IsEmpty():
			roots++
			if s.EndTimestamp() > moment || s.StartTimestamp() >= s.EndTimestamp() {
				t.Fatalf("a root from %v to %v", s.StartTimestamp(), s.EndTimestamp())
			}
		case !ok || s.StartTimestamp() < parent.StartTimestamp() || s.EndTimestamp() > parent.EndTimestamp():
			t.Fatalf("%s is not within its parent", s.Name())
		}
	}
	if roots != 1 {
		t.Fatalf("%d roots", roots)
	}
}

func TestLogsHaveTheirShape(t *testing.T) {
	m := NewModel(1, true)
	raw := m.NewEncoder().Append(nil, Batch{Signal: Logs, To: SpansPerTrace, Traces: 512, First: 7, Base: moment})
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalProto(raw); err != nil {
		t.Fatal(err)
	}
	traces, bodies := map[string]int{}, map[string]bool{}
	for _, rl := range request.Logs().ResourceLogs().All() {
		for _, r := range rl.ScopeLogs().At(0).LogRecords().All() {
			traces[r.TraceID().String()]++
			bodies[r.Body().Str()] = true
			if id, _ := r.Attributes().Get("request_id"); len(id.Str()) != 36 || r.Attributes().Len() != 4 || r.SpanID().IsEmpty() {
				t.Fatalf("%v", r.Attributes().AsRaw())
			}
			if r.ObservedTimestamp() < r.Timestamp() || r.Timestamp() > moment {
				t.Fatalf("at %v, observed at %v", r.Timestamp(), r.ObservedTimestamp())
			}
		}
	}
	for n := range uint64(512) {
		if id, _ := m.IDs(7 + n); traces[id] != SpansPerTrace {
			t.Fatalf("trace %d has %d records", n, traces[id])
		}
	}
	if len(bodies) < 3000 {
		t.Errorf("%d different texts of 4096", len(bodies))
	}
}

// The table in docs/performance.md speaks of spans of 480 bytes and records of 200 to 250 (UUIDs add 4).
func TestSizes(t *testing.T) {
	for _, uuid := range []bool{false, true} {
		m := NewModel(1, uuid)
		for signal, want := range map[Signal][2]float64{Spans: {470, 490}, Logs: {200, 255}} {
			b := Batch{Signal: signal, To: SpansPerTrace, Traces: 64, Base: moment}
			each := float64(len(m.NewEncoder().Append(nil, b))) / float64(b.Items())
			t.Logf("%v, UUIDs %v: %.1f bytes an item", signal, uuid, each)
			if each < want[0] || each > want[1] {
				t.Errorf("%v: %.1f bytes an item, want %v", signal, each, want)
			}
		}
	}
}

// An item is the same in whichever batch it comes: that is what lets a check make it again.
func TestItemsDoNotDependOnTheirBatch(t *testing.T) {
	m := NewModel(3, true)
	for _, signal := range []Signal{Spans, Logs} {
		together := itemsOf(t, m, Batch{Signal: signal, To: SpansPerTrace, Traces: 64, First: 100, Base: moment})
		var apart []string
		for place := range uint8(SpansPerTrace) {
			apart = append(apart, itemsOf(t, m, Batch{Signal: signal, From: place, To: place + 1, Traces: 32, First: 100, Base: moment})...)
			apart = append(apart, itemsOf(t, m, Batch{Signal: signal, From: place, To: place + 1, Traces: 32, First: 132, Base: moment})...)
		}
		slices.Sort(together)
		slices.Sort(apart)
		if len(together) != 64*SpansPerTrace || !slices.Equal(together, apart) {
			t.Errorf("%v differ", signal)
		}
	}
}

func itemsOf(t *testing.T, m *Model, b Batch) (items []string) {
	t.Helper()
	var err error
	raw := m.NewEncoder().Append(nil, b)
	if b.Signal == Spans {
		err = otlp.Spans(raw, func(s *otlp.Span) error { items = append(items, hex.EncodeToString(s.Raw)); return nil })
	} else {
		err = otlp.Logs(raw, func(l *otlp.Log) error { items = append(items, hex.EncodeToString(l.Raw)); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestLedgerComesBackFromItsFile(t *testing.T) {
	l, path := newLedger(), filepath.Join(t.TempDir(), "ledger")
	for n := range uint64(100) {
		l.add(Acknowledged{Batch{Signal: Signal(n % 2), From: 1, To: 3, Traces: 64, First: n, Base: moment}, int64(n)})
	}
	if err := l.Save(path, NewModel(42, true)); err != nil {
		t.Fatal(err)
	}
	m, got, err := LoadLedger(path)
	if err != nil || m.Seed != 42 || !m.UUID || !reflect.DeepEqual(got.Entries(), l.Entries()) || got.Items(Logs) != 50*128 {
		t.Fatalf("%v, %v", m, err)
	}
}

func BenchmarkSpans(b *testing.B) { encode(b, Spans) }
func BenchmarkLogs(b *testing.B)  { encode(b, Logs) }

func encode(b *testing.B, signal Signal) {
	e, buffer := NewModel(1, false).NewEncoder(), bytes.Buffer{}
	batch := Batch{Signal: signal, To: SpansPerTrace, Traces: 64, Base: moment}
	out := buffer.Bytes()
	b.ReportAllocs()
	for b.Loop() {
		out = e.Append(out[:0], batch)
		batch.First += 64
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Items()), "ns/item")
}
