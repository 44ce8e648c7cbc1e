package logstore_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strconv"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/store/logstore"
	"weft/collector/store/segment"
	"weft/collector/store/storetest"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	ctx, root := context.Background(), t.TempDir()
	storetest.TestLogs(t, func(tb rapid.TB) storetest.Subject[storetest.Logs] {
		dir, err := os.MkdirTemp(root, "store")
		if err != nil {
			tb.Fatal(err)
		}
		open := func(tb rapid.TB) *logstore.Store {
			s, err := logstore.Open(segment.Config{Dir: dir, FileBytes: 600, FS: faultfs.New()}, nil)
			if err != nil {
				tb.Fatal(err)
			}
			return s
		}
		s := open(tb)
		return storetest.Subject[storetest.Logs]{Store: s, Close: func() { s.Close() }, Disturb: func(tb rapid.TB) storetest.Logs {
			if err := errors.Join(s.SealAll(ctx), s.Maintain(ctx), s.Check(ctx), s.Close()); err != nil {
				tb.Fatal(err)
			}
			s = open(tb)
			return s
		}}
	})
}

// Attribute values that JSON cannot hold neither hide a record nor make two of one.
func TestRecordsWithoutJSON(t *testing.T) {
	ctx := context.Background()
	s, err := logstore.Open(segment.Config{Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	odd := storetest.Log(1, "a")
	batch := storetest.LogBatch(odd, func(r plog.LogRecord) {
		odd(r)
		r.Attributes().PutDouble("ratio", math.NaN())
	})
	for range 2 {
		if err := s.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ByTrace(ctx, signal.TraceID{1}); err != nil || len(got) != 2 {
		t.Fatalf("%d records, %v", len(got), err)
	}
}

// A batch sent again shows once, and two equal records of one batch show twice, whether their segments were written anew
// when they were merged or joined as they are.
func TestCopiesAreCountedByBatch(t *testing.T) {
	for name, fill := range map[string]int{"few rows": 0, "large row groups": 1 << 15} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, err := logstore.Open(segment.Config{Dir: t.TempDir(), FS: faultfs.New()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			send := func(records ...func(plog.LogRecord)) {
				if err := s.Append(ctx, storetest.LogBatch(records...)); err != nil {
					t.Fatal(err)
				}
			}
			once, other := storetest.Log(1, "a"), storetest.Log(1, "b")
			bulk := make([]func(plog.LogRecord), fill)
			for i := range bulk {
				bulk[i] = storetest.Log(2, strconv.Itoa(i))
			}
			for range 8 { // as many segments become one
				send(once, other)
				send(append(bulk, once, once)...)
				send(once)
				if err := s.SealAll(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.Maintain(ctx), s.Check(ctx)); err != nil {
				t.Fatal(err)
			}
			if n := s.Stats().Segments; n != 1 {
				t.Fatalf("%d segments, want them merged", n)
			}
			got := map[string]int{}
			found, err := s.ByTrace(ctx, signal.TraceID{1})
			for _, l := range found {
				got[l.Body]++
			}
			if err != nil || got["a"] != 2 || got["b"] != 1 {
				t.Errorf("%v, %v; want a twice and b once", got, err)
			}
			if found, err := s.ByTrace(ctx, signal.TraceID{2}); err != nil || len(found) != fill {
				t.Errorf("%d records of the bulk, want %d: %v", len(found), fill, err)
			}
		})
	}
}
