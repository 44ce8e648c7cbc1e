package tracestore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/segment"
	"weft/collector/store/segment/retention"
	"weft/collector/store/storetest"
	"weft/internal/wal/faultfs"
)

// A search finds what a look at every span would, wherever the spans are by now, the newest first and each once.
func TestSearchIsALookAtEverySpan(t *testing.T) {
	root, run := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		s := open(t, segment.Config{Dir: fmt.Sprintf("%s/%d", root, run), FileBytes: 900, FS: faultfs.New()})
		defer s.Close()
		all := map[string]signal.Span{}
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				if err := s.SealAll(ctx); err != nil {
					t.Fatal(err)
				}
				if err := s.Maintain(ctx); err != nil {
					t.Fatal(err)
				}
				continue
			}
			batch := storetest.RandomTraces(t)
			for _, span := range signal.Spans(batch) {
				if !span.TraceID.IsZero() {
					all[string(span.TraceID[:])+string(span.SpanID[:])] = span
				}
			}
			if err := s.Append(ctx, batch); err != nil {
				t.Fatal(err)
			}
		}
		q := search.Query{
			From: rapid.Int64Range(0, 100).Draw(t, "from"), To: rapid.Int64Range(0, 300).Draw(t, "to"),
			Limit: rapid.IntRange(0, 9).Draw(t, "limit"), Services: rapid.SampledFrom([][]string{nil, {"shop"}, {"other"}}).Draw(t, "services"),
		}
		compiled, err := q.Compile()
		if err != nil {
			t.Fatal(err)
		}
		var want []int64
		for _, span := range all {
			if compiled.MatchSpan(&span) {
				want = append(want, span.Start)
			}
		}
		slices.SortFunc(want, func(a, b int64) int { return int(b - a) })
		if q.Limit > 0 && len(want) > q.Limit {
			want = want[:q.Limit]
		}
		found, read, err := s.Search(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, span := range found {
			if !span.TraceID.IsZero() {
				got = append(got, span.Start)
			}
		}
		if q.Limit == 0 && !slices.Equal(got, want) || q.Limit > 0 && len(found) < len(want) {
			t.Fatalf("%+v: got %v, want %v; read %+v", q, got, want, read)
		}
	})
}

// Errors, slow requests and what a verdict named stay when their bulk goes.
func TestWhatOutlivesTheBulk(t *testing.T) {
	now := time.Now()
	s := open(t, segment.Config{
		Dir: t.TempDir(), FS: faultfs.New(), Now: func() time.Time { return now },
		Retention: retention.Policy{Age: time.Hour, Tail: retention.Tail{Age: 100 * time.Hour, Slow: time.Second}},
		Pinned:    func() []string { return []string{"named", "never came"} },
	})
	defer s.Close()
	failed := func(span ptrace.Span) { span.Status().SetCode(ptrace.StatusCodeError) }
	slow := func(span ptrace.Span) { span.SetEndTimestamp(span.StartTimestamp() + pcommon.Timestamp(2*time.Second)) }
	with := func(change func(ptrace.Span), trace, id byte) func(ptrace.Span) {
		return func(span ptrace.Span) {
			storetest.Span(trace, id)(span)
			change(span)
		}
	}
	err := s.Append(ctx, storetest.Batch(with(failed, 1, 1), storetest.Span(1, 2), storetest.Span(2, 3), with(slow, 3, 4),
		storetest.Span(4, 5, "request_id", "named"), storetest.Span(4, 6)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SealAll(ctx); err != nil {
		t.Fatal(err)
	}
	spans := func() (n []int) {
		for trace := range byte(4) {
			found, err := s.ByTrace(ctx, signal.TraceID{trace + 1})
			if err != nil {
				t.Fatal(err)
			}
			n = append(n, len(found))
		}
		return n
	}
	for _, step := range []struct {
		after time.Duration
		want  []int
	}{{0, []int{2, 1, 1, 2}}, {2 * time.Hour, []int{2, 0, 1, 2}}, {101 * time.Hour, []int{0, 0, 0, 0}}} {
		now = now.Add(step.after)
		if err := s.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		if got := spans(); !slices.Equal(got, step.want) {
			t.Errorf("after %s: spans of the four traces %v, want %v", step.after, got, step.want)
		}
		if err := s.Check(ctx); err != nil {
			t.Error(err)
		}
	}
}
