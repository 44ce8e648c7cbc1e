// Package storetest is the one specification of every store of spans or log records: the suites that each
// implementation passes, and the fakes, a few lines of maps, that pass them too and are the model for the rest.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/internal/wal"
)

// Traces is a store of spans.
type Traces interface {
	Append(context.Context, ptrace.Traces) error
	ByTrace(context.Context, signal.TraceID) ([]signal.Span, error)
	TracesOf(ctx context.Context, id string) ([]signal.TraceID, error)
}

// Logs is a store of log records.
type Logs interface {
	Append(context.Context, plog.Logs) error
	ByTrace(context.Context, signal.TraceID) ([]signal.Log, error)
	ByRequest(ctx context.Context, id string) ([]signal.Log, error)
}

// Subject is a store under test. Disturb does whatever must change nothing (restart, seal, compact) and answers with
// the store after it.
type Subject[Store any] struct {
	Store   Store
	Disturb func(t rapid.TB) Store
	Close   func()
}

// still is a store that has nothing to disturb.
func still[Store any](s Store) Subject[Store] {
	return Subject[Store]{s, func(rapid.TB) Store { return s }, func() {}}
}

// TestTraces is the suite for spans. open makes an empty store.
func TestTraces(t *testing.T, open func(t rapid.TB) Subject[Traces]) {
	t.Run("examples", func(t *testing.T) {
		subject := open(t)
		defer func() { subject.Close() }()
		traceExamples(t, &subject)
	})
	t.Run("model", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			subject, model := open(t), FakeTraces()
			defer func() { subject.Close() }()
			compare := func(t *rapid.T) {
				for i := range byte(4) {
					id := signal.TraceID{i + 1}
					got, err := subject.Store.ByTrace(t.Context(), id)
					ok(t, err)
					want, _ := model.ByTrace(t.Context(), id)
					same(t, "ByTrace "+id.String(), got, want)
				}
				for _, id := range IDs() {
					got, err := subject.Store.TracesOf(t.Context(), id)
					ok(t, err)
					want, _ := model.TracesOf(t.Context(), id)
					same(t, "TracesOf "+id, sorted(got), sorted(want))
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"append": func(t *rapid.T) {
					batch := RandomTraces(t)
					err := subject.Store.Append(t.Context(), batch)
					if errors.Is(err, wal.ErrFull) { // sealing is due: nobody does it here but Disturb
						subject.Store = subject.Disturb(t)
						err = subject.Store.Append(t.Context(), batch)
					}
					ok(t, err)
					_ = model.Append(t.Context(), batch)
				},
				"disturb": func(t *rapid.T) { subject.Store = subject.Disturb(t) },
				"ask":     compare,
			})
			compare(t)
		})
	})
}

// TestLogs is the suite for log records. open makes an empty store.
func TestLogs(t *testing.T, open func(t rapid.TB) Subject[Logs]) {
	t.Run("examples", func(t *testing.T) {
		subject := open(t)
		defer func() { subject.Close() }()
		logExamples(t, &subject)
	})
	t.Run("model", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			subject, model := open(t), FakeLogs()
			defer func() { subject.Close() }()
			compare := func(t *rapid.T) {
				for i := range byte(4) {
					id := signal.TraceID{i + 1}
					got, err := subject.Store.ByTrace(t.Context(), id)
					ok(t, err)
					want, _ := model.ByTrace(t.Context(), id)
					same(t, "ByTrace "+id.String(), texts(got), texts(want))
				}
				for _, id := range IDs() {
					got, err := subject.Store.ByRequest(t.Context(), id)
					ok(t, err)
					want, _ := model.ByRequest(t.Context(), id)
					same(t, "ByRequest "+id, texts(got), texts(want))
				}
			}
			var sent []plog.Logs
			t.Repeat(map[string]func(*rapid.T){
				"append": func(t *rapid.T) {
					batch := RandomLogs(t)
					if len(sent) > 0 && rapid.Bool().Draw(t, "again") {
						batch = rapid.SampledFrom(sent).Draw(t, "sent")
					}
					err := subject.Store.Append(t.Context(), batch)
					if errors.Is(err, wal.ErrFull) { // sealing is due: nobody does it here but Disturb
						subject.Store = subject.Disturb(t)
						err = subject.Store.Append(t.Context(), batch)
					}
					ok(t, err)
					_ = model.Append(t.Context(), batch)
					sent = append(sent, batch)
				},
				"disturb": func(t *rapid.T) { subject.Store = subject.Disturb(t) },
				"ask":     compare,
			})
			compare(t)
		})
	})
}

func ok(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t rapid.TB, what string, got, want []T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func sorted(ids []signal.TraceID) []signal.TraceID {
	out := slices.Clone(ids)
	slices.SortFunc(out, func(a, b signal.TraceID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// texts compares records of one time in any order.
func texts(logs []signal.Log) []string {
	out := make([]string, len(logs))
	for i, l := range logs {
		out[i] = fmt.Sprint(l)
	}
	slices.Sort(out)
	return out
}

func trace(i byte) pcommon.TraceID { return pcommon.TraceID{i} }
