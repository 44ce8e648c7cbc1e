package sealed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	parquetgo "github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"weft/collector/store/sealed/rows"
)

// arrowTable reads a whole file with a reader that did not write it.
func arrowTable(t failer, path string) (map[string][]any, int64) {
	pf, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 1000}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	out := map[string][]any{}
	for i := range int(table.NumCols()) {
		col := table.Column(i)
		var values []any
		for _, chunk := range col.Data().Chunks() {
			values = appendArrow(t, values, chunk)
		}
		out[col.Name()] = values
	}
	return out, table.NumRows()
}

func appendArrow(t failer, out []any, chunk arrow.Array) []any {
	for i := range chunk.Len() {
		if chunk.IsNull(i) {
			out = append(out, nil)
			continue
		}
		switch c := chunk.(type) {
		case *array.String:
			out = append(out, string([]byte(c.Value(i))))
		case *array.Int64:
			out = append(out, c.Value(i))
		case *array.Float64:
			out = append(out, c.Value(i))
		case *array.Boolean:
			out = append(out, c.Value(i))
		case *array.Timestamp:
			out = append(out, int64(c.Value(i)))
		case *array.FixedSizeBinary:
			out = append(out, bytes.Clone(c.Value(i)))
		default:
			t.Fatalf("arrow type %T", chunk)
		}
	}
	return out
}

func TestArrowReadsSpans(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		batches := drawSpanBatches(t)
		f, _ := sealSpans(t, dir, batches)
		defer f.Close()
		want, _ := modelSpans(t, batches)
		cols, n := arrowTable(t, f.Path())
		if int(n) != len(want) {
			t.Fatalf("arrow sees %d rows, want %d", n, len(want))
		}
		for i, s := range want {
			for name, v := range map[string]any{
				rows.ColTrace: orNil(s.TraceID[:]), rows.ColSpan: orNil(s.SpanID[:]), rows.ColParent: orNil(s.ParentID[:]), rows.ColName: emptyNil(s.Name),
				rows.ColStart: s.Start, rows.ColDuration: s.End - s.Start, rows.ColKind: s.Kind.String(), rows.ColStatus: s.Status.String(),
				rows.ColService: emptyNil(s.Service), rows.ColStatusMessage: emptyNil(s.StatusMessage),
				"http_status": typed[int64](s.Attributes["http.response.status_code"]), "http_route": typed[string](s.Attributes["http.route"]),
			} {
				if !same(cols[name][i], v) {
					t.Fatalf("row %d, %s: arrow sees %v, want %v", i, name, cols[name][i], v)
				}
			}
		}
		compareParquetGo(t, f.Path(), cols, int(n))
	})
}

// compareParquetGo reads the file with a third reader, statistics and page indexes included.
func compareParquetGo(t failer, path string, cols map[string][]any, rows int) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pf, err := parquetgo.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if pf.NumRows() != int64(rows) {
		t.Fatalf("parquet-go sees %d rows, want %d", pf.NumRows(), rows)
	}
	at := 0
	for _, g := range pf.RowGroups() {
		r := g.Rows()
		buf := make([]parquetgo.Row, 64)
		for {
			n, err := r.ReadRows(buf)
			for _, row := range buf[:n] {
				row.Range(func(c int, values []parquetgo.Value) bool {
					name := pf.Schema().Fields()[c].Name()
					if got, want := fromParquetGo(values[0]), cols[name][at]; !same(got, want) {
						t.Fatalf("row %d, %s: parquet-go sees %#v, arrow %#v", at, name, got, want)
					}
					return true
				})
				at++
			}
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("parquet-go: row %d: %v", at, err)
			}
		}
		r.Close()
	}
	if at != rows {
		t.Fatalf("parquet-go read %d rows of %d", at, rows)
	}
}

func fromParquetGo(v parquetgo.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Kind() == parquetgo.Int64:
		return v.Int64()
	case v.Kind() == parquetgo.Double:
		return v.Double()
	case v.Kind() == parquetgo.Boolean:
		return v.Boolean()
	case v.Kind() == parquetgo.FixedLenByteArray:
		return bytes.Clone(v.ByteArray())
	}
	return string(v.ByteArray())
}

func orNil(id []byte) any {
	if bytes.Count(id, []byte{0}) == len(id) {
		return nil
	}
	return id
}

func emptyNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// typed is a value that has the type of its column.
func typed[T any](v any) any {
	if v, ok := v.(T); ok {
		return v
	}
	return nil
}

func TestArrowReadsLogs(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		batches := drawLogBatches(t)
		f, _ := sealLogs(t, dir, batches)
		defer f.Close()
		want, _ := modelLogs(t, batches)
		cols, n := arrowTable(t, f.Path())
		if int(n) != len(want) {
			t.Fatalf("arrow sees %d rows, want %d", n, len(want))
		}
		for i, l := range want {
			for name, v := range map[string]any{
				rows.ColTrace: orNil(l.TraceID[:]), rows.ColTime: l.Time, rows.ColBody: emptyNil(l.Body), rows.ColSeverity: emptyNil(l.Severity),
				rows.ColService: emptyNil(l.Service),
			} {
				if !same(cols[name][i], v) {
					t.Fatalf("row %d, %s: arrow sees %v, want %v", i, name, cols[name][i], v)
				}
			}
		}
		compareParquetGo(t, f.Path(), cols, int(n))
	})
}

// The Bloom filters are for foreign readers: one of them asks.
func TestBloomFiltersAreFound(t *testing.T) {
	batches := manySpans(3000)
	f, _ := sealSpans(t, t.TempDir(), batches)
	defer f.Close()
	raw, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	pf, err := parquetgo.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	column, found := pf.Schema().Lookup("request_id")
	if !found {
		t.Fatal("no request_id")
	}
	chunk := pf.RowGroups()[0].ColumnChunks()[column.ColumnIndex]
	want, _ := modelSpans(t, batches)
	var ids []string
	for _, s := range want {
		if s.RequestID != "" && s.RequestID != s.TraceID.String() {
			ids = append(ids, s.RequestID)
		}
	}
	if len(ids) == 0 {
		t.Fatal("no span has a request ID of its own")
	}
	for _, id := range ids {
		if ok, err := chunk.BloomFilter().Check(parquetgo.ByteArrayValue([]byte(id))); err != nil || !ok {
			t.Fatal(id, ok, err)
		}
	}
	maybe := 0
	for i := range 1000 {
		if ok, _ := chunk.BloomFilter().Check(parquetgo.ByteArrayValue(fmt.Appendf(nil, "unknown %d", i))); ok {
			maybe++
		}
	}
	if maybe > 50 {
		t.Errorf("%d of 1000 unknown IDs may be there", maybe)
	}
	ar, err := file.OpenParquetFile(f.Path(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer ar.Close()
	bloom, err := ar.GetBloomFilterReader().RowGroup(0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bloom.GetColumnBloomFilter(column.ColumnIndex)
	if err != nil || b == nil {
		t.Fatal(b, err)
	}
	for _, id := range ids {
		if !b.CheckHash(b.Hasher().Sum64([]byte(id))) {
			t.Fatal("arrow does not find", id)
		}
	}
}
