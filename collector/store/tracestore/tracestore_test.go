package tracestore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/store/segment"
	"weft/collector/store/segment/retention"
	"weft/collector/store/storetest"
	"weft/collector/store/tracestore"
	"weft/internal/semconv"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func open(t rapid.TB, cfg segment.Config) *tracestore.Store {
	t.Helper()
	s, err := tracestore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	root := t.TempDir()
	storetest.TestTraces(t, func(tb rapid.TB) storetest.Subject[storetest.Traces] {
		dir, err := os.MkdirTemp(root, "store")
		if err != nil {
			tb.Fatal(err)
		}
		cfg := segment.Config{Dir: dir, FileBytes: 600, FS: faultfs.New()} // which asks no disk to sync
		s := open(tb, cfg)
		return storetest.Subject[storetest.Traces]{Store: s, Close: func() { s.Close() }, Disturb: func(tb rapid.TB) storetest.Traces {
			if err := errors.Join(s.SealAll(ctx), s.Maintain(ctx), s.Check(ctx), s.Close()); err != nil {
				tb.Fatal(err)
			}
			s = open(tb, cfg)
			return s
		}}
	})
}

func TestTruncatedAnswer(t *testing.T) {
	s := open(t, segment.Config{Dir: t.TempDir()})
	defer s.Close()
	const spans = 20_000
	for b := range 6 {
		batch := ptrace.NewTraces()
		list := batch.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
		for i := range spans {
			span := list.AppendEmpty()
			span.SetTraceID(pcommon.TraceID{1})
			span.SetSpanID(pcommon.SpanID{byte(b), byte(i), byte(i >> 8), 1})
		}
		if err := s.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ByTrace(ctx, signal.TraceID{1})
	if !errors.Is(err, signal.ErrTruncated) || len(got) < segment.MaxItems {
		t.Fatalf("%d spans, %v", len(got), err)
	}
}

// A damaged page costs the rows that are in it: repair keeps the others, and the old file for a look at it.
func TestRepairKeepsWhatCanBeRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, segment.Config{Dir: dir})
	defer func() { s.Close() }()
	const spans = 8_000
	batch := ptrace.NewTraces()
	list := batch.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range spans {
		span := list.AppendEmpty()
		span.SetTraceID(pcommon.TraceID{1, 2: byte(i >> 8), 3: byte(i)})
		span.SetSpanID(pcommon.SpanID{byte(i), byte(i >> 8), 1})
		span.Attributes().PutStr("words", strconv.Itoa(i*i))
	}
	if err := errors.Join(s.Append(ctx, batch), s.SealAll(ctx)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/4] ^= 0xff
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Check(ctx) == nil {
		t.Fatal("the damage is not found")
	}
	if err := errors.Join(s.Repair(ctx), s.Check(ctx)); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range spans {
		found, err := s.ByTrace(ctx, signal.TraceID{1, 2: byte(i >> 8), 3: byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		kept += len(found)
	}
	if kept < spans/2 || kept >= spans || s.Stats().Rows != int64(kept) || s.Stats().Damaged != uint64(spans-kept) {
		t.Errorf("%d of %d spans are kept; %+v", kept, spans, s.Stats())
	}
	if old, err := os.ReadFile(filepath.Join(dir, "quarantine", filepath.Base(files[0]))); err != nil || !slices.Equal(old, raw) {
		t.Errorf("the damaged file is not set aside as it was: %v", err)
	}
}

// shopBatch is 100 spans as a service sends them: 480 bytes and 10 attributes each, of some 30 traces.
func shopBatch(r *rand.Rand, traces []pcommon.TraceID) ptrace.Traces {
	batch := ptrace.NewTraces()
	rs := batch.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(semconv.ServiceName, "orders")
	rs.Resource().Attributes().PutStr(semconv.ServiceInstanceID, "orders-1")
	list := rs.ScopeSpans().AppendEmpty().Spans()
	list.EnsureCapacity(100)
	for range 100 {
		span := list.AppendEmpty()
		span.SetTraceID(traces[r.IntN(len(traces))])
		var id pcommon.SpanID
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		span.SetSpanID(id)
		span.SetName("POST /orders")
		span.SetKind(ptrace.SpanKindServer)
		attrs := span.Attributes()
		attrs.PutStr(semconv.HTTPRequestMethod, "POST")
		attrs.PutInt(semconv.HTTPResponseStatusCode, 200)
		attrs.PutStr(semconv.HTTPRoute, "/orders")
		attrs.PutStr(semconv.URLPath, "/orders")
		attrs.PutStr(semconv.ServerAddress, "orders.shop.example")
		attrs.PutStr(semconv.ClientAddress, "10.0.0.7")
		attrs.PutStr(semconv.UserAgent, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
		attrs.PutStr(semconv.RequestIDAttribute, signal.TraceID(span.TraceID()).String())
		attrs.PutStr("customer.tier", "gold")
		attrs.PutStr("deployment.note", "a text of middling length, as they are")
	}
	return batch
}

func randomTraces(r *rand.Rand, n int) []pcommon.TraceID {
	out := make([]pcommon.TraceID, n)
	for i := range out {
		for j := range out[i] {
			out[i][j] = byte(r.Uint32())
		}
	}
	return out
}

func BenchmarkAppend100Spans(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	s := open(b, segment.Config{Dir: b.TempDir(), Retention: retention.Policy{Bytes: 512 << 20}})
	defer s.Close()
	batches := make([]ptrace.Traces, 64)
	for i := range batches {
		batches[i] = shopBatch(r, randomTraces(r, 30))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := s.Append(ctx, batches[i%len(batches)]); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			if err := s.Maintain(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkByTrace looks up traces of 8 spans in 3 batches, over sealed and active files.
func BenchmarkByTrace(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	s := open(b, segment.Config{Dir: b.TempDir(), FileBytes: 16 << 20})
	defer s.Close()
	var known []pcommon.TraceID
	for range 700 {
		traces := randomTraces(r, 38)
		known = append(known, traces...)
		for range 3 {
			if err := s.Append(ctx, shopBatch(r, traces)); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Maintain(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.ByTrace(ctx, signal.TraceID(known[i*7919%len(known)])); err != nil {
			b.Fatal(err)
		}
	}
}
