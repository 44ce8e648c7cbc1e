package logstore_test

import (
	"context"
	"errors"
	"math"
	"os"
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
