package sealed

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/internal/wal"
)

// hostileBatches are what nobody should send: 10,000 keys, values of megabytes, a trace of many spans, an ID that is too
// short, bytes that are no protobuf.
func hostileBatches(t testing.TB) []Batch {
	var m ptrace.ProtoMarshaler
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	wide := spans.AppendEmpty()
	wide.SetTraceID(manyTrace(1))
	wide.SetSpanID([8]byte{1})
	for i := range 10_000 {
		wide.Attributes().PutInt(fmt.Sprint("key-", i), int64(i))
	}
	for i := range 5 {
		large := spans.AppendEmpty()
		large.SetTraceID(manyTrace(2))
		large.SetSpanID([8]byte{2, byte(i)})
		large.SetName(strings.Repeat("x", 3<<20+i))
		large.Attributes().PutStr("large", strings.Repeat(fmt.Sprint("y", i), 1<<20))
	}
	for i := range 9000 {
		s := spans.AppendEmpty()
		s.SetTraceID(manyTrace(3))
		s.SetSpanID([8]byte{3, byte(i), byte(i >> 8)})
		s.SetStartTimestamp(1 << 63) // beyond what a signed number holds
	}
	raw, err := m.MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	short := []byte{0x0a, 6, 0x12, 4, 0x12, 2, 0x0a, 0} // a span with an empty trace ID, and one whose ID has one byte
	fault := []byte{0x0a, 7, 0x12, 5, 0x12, 3, 0x0a, 1, 9}
	var out []Batch
	for i, raw := range [][]byte{raw, short, fault, {0x0a, 200}, nil} {
		out = append(out, Batch{Received: int64(i), Raw: raw})
	}
	return out
}

func TestHostileBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.parquet")
	sum, err := WriteSpans(wal.OS{}, path, hostileBatches(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Rows != 9007 || sum.Faulty != 1 || sum.Malformed != 1 || sum.Duplicates != 0 {
		t.Fatalf("%+v", sum)
	}
	f := publish(t, path)
	defer f.Close()
	count := map[int]int{}
	for n := 1; n <= 3; n++ {
		_, err := f.SpansOf(context.Background(), manyTrace(n), func(s *signal.Span) bool {
			count[n]++
			switch n {
			case 1:
				if len(s.Attributes) != 10_000 || s.Attributes["key-9999"] != int64(9999) {
					t.Errorf("%d attributes", len(s.Attributes))
				}
			case 2:
				if len(s.Name) < 3<<20 || len(s.Attributes.Text("large")) != 2<<20 {
					t.Errorf("name of %d bytes, attribute of %d", len(s.Name), len(s.Attributes.Text("large")))
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if count[1] != 1 || count[2] != 5 || count[3] != 9000 {
		t.Errorf("spans found: %v", count)
	}
	cols, n := arrowTable(t, path)
	compareParquetGo(t, path, cols, int(n))
	joined := filepath.Join(t.TempDir(), "b.parquet")
	if _, err := Copy(wal.OS{}, joined, []*File{f, f}, func(Row) bool { return true }); err != nil {
		t.Fatal(err)
	}
	g := publish(t, joined)
	defer g.Close()
	if g.Rows != 9007 {
		t.Errorf("%d rows", g.Rows)
	}
}
