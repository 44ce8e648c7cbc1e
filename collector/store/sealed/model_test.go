package sealed

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/store/sealed/rows"
	"weft/internal/otlp"
	"weft/internal/wal"
)

// modelSpans is what a file of these batches holds, in order.
func modelSpans(t failer, batches []Batch) (out []signal.Span, duplicates int) {
	type identity struct {
		trace signal.TraceID
		span  signal.SpanID
		bare  string
	}
	seen := map[identity]bool{}
	for _, b := range batches {
		err := otlp.Spans(b.Raw, func(s *otlp.Span) error {
			id := identity{trace: s.TraceID, span: s.SpanID}
			if id.span.IsZero() {
				id.bare = string(s.Raw)
			}
			if seen[id] {
				duplicates++
				return nil
			}
			seen[id] = true
			out = append(out, signal.FromSpan(s))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.SortStableFunc(out, func(a, b signal.Span) int {
		return cmp.Or(slices.Compare(a.TraceID[:], b.TraceID[:]), cmp.Compare(a.Start, b.Start), slices.Compare(a.SpanID[:], b.SpanID[:]))
	})
	return out, duplicates
}

// modelLogs is what a file of these batches holds, in order.
func modelLogs(t failer, batches []Batch) (out []signal.Log, duplicates int) {
	known := map[string]int{}
	for _, b := range batches {
		in := map[string]int{}
		err := otlp.Logs(b.Raw, func(l *otlp.Log) error {
			id := string(l.Raw) + "\x00" + string(l.Resource.Raw) + "\x00" + l.Scope.Name
			if in[id]++; in[id] <= known[id] {
				duplicates++
				return nil
			}
			known[id] = in[id]
			out = append(out, signal.FromLog(l))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.SortStableFunc(out, func(a, b signal.Log) int {
		if c := slices.Compare(a.TraceID[:], b.TraceID[:]); c != 0 || !a.TraceID.IsZero() {
			return cmp.Or(c, cmp.Compare(a.Time, b.Time))
		}
		return cmp.Or(cmp.Compare(a.RequestID, b.RequestID), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Time, b.Time))
	})
	return out, duplicates
}

type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// same compares two items whatever NaN says.
func same(a, b any) bool { return show(a) == show(b) }

// show tells types apart, and floating-point numbers by their bits.
func show(v any) string {
	return fmt.Sprintf("%#v", bits(v))
}

type double uint64

func bits(v any) any {
	switch v := v.(type) {
	case signal.Span:
		v.Attributes, v.Resource, v.ScopeAttributes = attrBits(v.Attributes), attrBits(v.Resource), attrBits(v.ScopeAttributes)
		v.Events, v.Links = slices.Clone(v.Events), slices.Clone(v.Links)
		for i := range v.Events {
			v.Events[i].Attributes = attrBits(v.Events[i].Attributes)
		}
		for i := range v.Links {
			v.Links[i].Attributes = attrBits(v.Links[i].Attributes)
		}
		return v
	case signal.Log:
		v.Attributes, v.Resource, v.ScopeAttributes = attrBits(v.Attributes), attrBits(v.Resource), attrBits(v.ScopeAttributes)
		return v
	case map[string]any:
		return map[string]any(attrBits(v))
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = bits(v[i])
		}
		return out
	case float64:
		if v != v {
			return double(1)
		}
		return double(math.Float64bits(v))
	}
	return v
}

func attrBits(m map[string]any) signal.Attributes {
	if m == nil {
		return nil
	}
	out := signal.Attributes{}
	for k, v := range m {
		out[k] = bits(v)
	}
	return out
}

var files atomic.Int64

var testCache = NewCache(16 << 20)

// sealSpans writes, publishes and opens a file.
func sealSpans(t failer, dir string, batches []Batch) (*File, Summary) {
	return sealAny(t, dir, batches, WriteSpans)
}

func sealLogs(t failer, dir string, batches []Batch) (*File, Summary) {
	return sealAny(t, dir, batches, WriteLogs)
}

func sealAny(t failer, dir string, batches []Batch, write func(wal.FS, string, []Batch, Options) (Summary, error)) (*File, Summary) {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%d.parquet", files.Add(1)))
	sum, err := write(wal.OS{}, path, batches, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Publish(wal.OS{}, path); err != nil {
		t.Fatal(err)
	}
	f, err := Open(wal.OS{}, path, testCache)
	if err != nil {
		t.Fatal(err)
	}
	return f, sum
}

func compareAll[T any](t failer, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d\ngot  %v\nwant %v", len(got), len(want), got, want)
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Fatalf("row %d:\ngot  %s\nwant %s", i, show(got[i]), show(want[i]))
		}
	}
}

// allSpans reads every row.
func allSpans(t failer, f *File) (out []signal.Span) {
	r, err := f.reader(rows.Spans)
	if err != nil {
		t.Fatal(err)
	}
	for g := range r.Groups {
		r.Group = g
		for row := range r.Groups[g].Rows {
			s, err := r.Span(row)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
	}
	return out
}

func allLogs(t failer, f *File) (out []signal.Log) {
	r, err := f.reader(rows.Logs)
	if err != nil {
		t.Fatal(err)
	}
	for g := range r.Groups {
		r.Group = g
		for row := range r.Groups[g].Rows {
			l, err := r.Log(row)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		}
	}
	return out
}

func TestSpansReadBackAsTheyCame(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		batches := drawSpanBatches(t)
		f, sum := sealSpans(t, dir, batches)
		defer f.Close()
		want, duplicates := modelSpans(t, batches)
		if int(sum.Rows) != len(want) || int(sum.Duplicates) != duplicates || sum.Faulty+sum.Malformed != 0 {
			t.Fatalf("%+v, want %d rows, %d duplicates", sum, len(want), duplicates)
		}
		compareAll(t, allSpans(t, f), want)
		for n := range byte(5) {
			id := signal.TraceID{15: n}
			var got, of []signal.Span
			read, err := f.SpansOf(ctx, id, func(s *signal.Span) bool { got = append(got, *s); return true })
			if err != nil || read.Damaged != 0 || read.Bytes == 0 {
				t.Fatal(read, err)
			}
			for _, s := range want {
				if s.TraceID == id && !id.IsZero() {
					of = append(of, s)
				}
			}
			compareAll(t, got, of)
		}
		for _, id := range someTexts {
			got, of := map[signal.TraceID]bool{}, map[signal.TraceID]bool{}
			_, err := f.TracesOf(ctx, id, func(t signal.TraceID) bool { got[t] = true; return true })
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range want {
				if other, ok := signal.ParseTraceID(id); hasID(s.Attributes, id) && (!ok || other != s.TraceID) {
					of[s.TraceID] = true
				}
			}
			if !same(fmt.Sprint(got), fmt.Sprint(of)) {
				t.Fatalf("traces of %q: %v, want %v", id, got, of)
			}
		}
	})
}

// hasID says whether attributes have an ID under any of its names.
func hasID(attrs signal.Attributes, id string) bool {
	return slices.ContainsFunc(rows.IDKeys, func(key string) bool { return rows.IsID(attrs[key], signal.Valid(id)) })
}

func TestLogsReadBackAsTheyCame(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		batches := drawLogBatches(t)
		f, sum := sealLogs(t, dir, batches)
		defer f.Close()
		want, duplicates := modelLogs(t, batches)
		if int(sum.Rows) != len(want) || int(sum.Duplicates) != duplicates {
			t.Fatalf("%+v, want %d rows, %d duplicates", sum, len(want), duplicates)
		}
		compareAll(t, allLogs(t, f), want)
		for n := range byte(5) {
			id := signal.TraceID{15: n}
			var got, of []signal.Log
			_, err := f.LogsOfTrace(ctx, id, func(_ int, s *signal.Log) bool { got = append(got, *s); return true })
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range want {
				if l.TraceID == id && !id.IsZero() {
					of = append(of, l)
				}
			}
			compareAll(t, got, of)
		}
		for _, id := range someTexts {
			var got, of []string
			_, err := f.LogsOf(ctx, id, func(_ int, l *signal.Log) bool { got = append(got, show(*l)); return true })
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range want {
				if hasID(l.Attributes, id) {
					of = append(of, show(l))
				}
			}
			slices.Sort(got)
			slices.Sort(of)
			compareAll(t, got, of)
		}
	})
}

func TestManyRowsReadBack(t *testing.T) {
	spans, logs := manySpans(20_000), manyLogs(20_000)
	f, _ := sealSpans(t, t.TempDir(), spans)
	defer f.Close()
	want, _ := modelSpans(t, spans)
	compareAll(t, allSpans(t, f), want)
	cols, n := arrowTable(t, f.Path())
	compareParquetGo(t, f.Path(), cols, int(n))
	g, _ := sealLogs(t, t.TempDir(), logs)
	defer g.Close()
	wantLogs, _ := modelLogs(t, logs)
	compareAll(t, allLogs(t, g), wantLogs)
	cols, n = arrowTable(t, g.Path())
	compareParquetGo(t, g.Path(), cols, int(n))
}
