package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/internal/semconv"
)

// fake keeps decoded batches.
type fake[Item any] struct {
	mu      sync.Mutex
	batches [][]Item
}

func (f *fake[Item]) add(batch []Item) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, batch)
	return nil
}

// hasID says whether attributes hold id under any name of a request ID.
func hasID(attrs signal.Attributes, id string) bool {
	for _, name := range append([]string{semconv.ClientRequestID, semconv.ClientTraceID}, semconv.RequestIDAliases...) {
		value := attrs[name]
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		if value != nil && id != "" && fmt.Sprint(value) == id {
			return true
		}
	}
	return false
}

type fakeTraces struct{ fake[signal.Span] }

// FakeTraces is a store of spans in memory.
func FakeTraces() Traces { return &fakeTraces{} }

func (f *fakeTraces) Append(_ context.Context, batch ptrace.Traces) error {
	return f.add(signal.Spans(batch))
}

func (f *fakeTraces) ByTrace(_ context.Context, id signal.TraceID) (out []signal.Span, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[signal.SpanID]bool{}
	for _, batch := range slices.Backward(f.batches) { // of two spans with one ID the newest counts
		for _, s := range batch {
			if s.TraceID == id && !id.IsZero() && !seen[s.SpanID] {
				seen[s.SpanID] = true
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b signal.Span) int {
		if a.Start != b.Start {
			return int(a.Start - b.Start)
		}
		return slices.Compare(a.SpanID[:], b.SpanID[:])
	})
	return out, nil
}

func (f *fakeTraces) TracesOf(_ context.Context, id string) (out []signal.TraceID, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own, _ := signal.ParseTraceID(id)
	for _, batch := range slices.Backward(f.batches) {
		for _, s := range batch {
			match := s.TraceID == own && !own.IsZero() || hasID(s.Attributes, id)
			if match && !s.TraceID.IsZero() && !slices.Contains(out, s.TraceID) {
				out = append(out, s.TraceID)
			}
		}
	}
	return out, nil
}

type fakeLogs struct{ fake[signal.Log] }

// FakeLogs is a store of log records in memory.
func FakeLogs() Logs { return &fakeLogs{} }

func (f *fakeLogs) Append(_ context.Context, batch plog.Logs) error { return f.add(signal.Logs(batch)) }

func (f *fakeLogs) ByTrace(_ context.Context, id signal.TraceID) ([]signal.Log, error) {
	return f.find(func(l *signal.Log) bool { return l.TraceID == id && !id.IsZero() }), nil
}

func (f *fakeLogs) ByRequest(_ context.Context, id string) ([]signal.Log, error) {
	return f.find(func(l *signal.Log) bool { return hasID(l.Attributes, id) }), nil
}

// find shows a record as often as the batch that holds it most often.
func (f *fakeLogs) find(match func(*signal.Log) bool) (out []signal.Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shown := map[string]int{}
	for _, batch := range f.batches {
		inBatch := map[string]int{}
		for _, l := range batch {
			text := fmt.Sprint(l)
			if inBatch[text]++; match(&l) && inBatch[text] > shown[text] {
				shown[text]++
				out = append(out, l)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b signal.Log) int { return int(a.Time - b.Time) })
	return out
}
