package sealed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

// publish publishes and opens what was written.
func publish(t failer, path string) *File {
	t.Helper()
	if err := Publish(wal.OS{}, path); err != nil {
		t.Fatal(err)
	}
	f, err := Open(wal.OS{}, path, testCache)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(context.Background(), wal.OS{}, path); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSealedFilesCheckAndJoin(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var all []*File
		var want []signal.Span
		for range rapid.IntRange(1, 3).Draw(t, "files") {
			f, _ := sealSpans(t, dir, drawSpanBatches(t))
			defer f.Close()
			if err := Check(context.Background(), wal.OS{}, f.Path()); err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
			want = append(want, allSpans(t, f)...)
		}
		trace := signal.TraceID{15: rapid.ByteRange(0, 3).Draw(t, "erased")}
		id := rapid.SampledFrom(someTexts).Draw(t, "erased ID")
		path := filepath.Join(dir, fmt.Sprintf("copy-%d.parquet", files.Add(1)))
		sum, err := Copy(wal.OS{}, path, all, func(r Row) bool { return r.Trace() != trace && !r.Has(id) })
		if err != nil {
			t.Fatal(err)
		}
		f := publish(t, path)
		defer f.Close()
		want = slices.DeleteFunc(want, func(s signal.Span) bool { return s.TraceID == trace || hasID(s.Attributes, id) })
		compareAll(t, sortedSpans(allSpans(t, f)), sortedSpans(onceEach(want)))
		if sum.Rows != f.Rows || sum.Lost != 0 {
			t.Fatalf("%+v", sum)
		}
	})
}

func sortedSpans(all []signal.Span) []signal.Span {
	slices.SortFunc(all, func(a, b signal.Span) int {
		return cmp.Or(slices.Compare(a.TraceID[:], b.TraceID[:]), slices.Compare(a.SpanID[:], b.SpanID[:]), cmp.Compare(show(a), show(b)))
	})
	return all
}

// onceEach leaves out spans that are there twice, as Copy does: the one that came first stays.
func onceEach(all []signal.Span) (out []signal.Span) {
	seen := map[string]bool{}
	for _, s := range all {
		id := s.TraceID.String() + s.SpanID.String()
		if s.SpanID.IsZero() {
			id += show(s)
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, s)
		}
	}
	return out
}

func TestConcatCopiesRowGroupsAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	var all []*File
	var want []signal.Span
	for i, n := range []int{smallGroup + 100, smallGroup + 5000} {
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", i))
		if _, err := WriteSpans(wal.OS{}, path, manySpans(n), Options{}); err != nil {
			t.Fatal(err)
		}
		f := publish(t, path)
		defer f.Close()
		all = append(all, f)
		want = append(want, allSpans(t, f)...)
	}
	path := filepath.Join(dir, "joined.parquet")
	sum, err := Concat(wal.OS{}, path, all)
	if err != nil {
		t.Fatal(err)
	}
	f := publish(t, path)
	defer f.Close()
	if sum.Rows != int64(len(want)) || f.Rows != sum.Rows || len(f.Services) != 8 {
		t.Fatalf("%+v", sum)
	}
	r, err := f.reader(rows.Spans)
	if err != nil || len(r.Groups) != 2 {
		t.Fatalf("%d row groups, %v", len(r.Groups), err)
	}
	compareAll(t, allSpans(t, f), want)
	cols, n := arrowTable(t, path)
	compareParquetGo(t, path, cols, int(n))
	found := 0
	if _, err := f.SpansOf(context.Background(), manyTrace(1), func(*signal.Span) bool { found++; return true }); err != nil || found != 16 {
		t.Errorf("%d spans, want 8 of each file: %v", found, err)
	}
	found = 0
	if _, err := f.TracesOf(context.Background(), "request-4200", func(signal.TraceID) bool { found++; return true }); err != nil || found != 1 {
		t.Errorf("%d traces of a request ID that one file has: %v", found, err)
	}
}

func TestConcatWritesSmallGroupsAnew(t *testing.T) {
	dir := t.TempDir()
	var all []*File
	var want []signal.Log
	for i, n := range []int{3000, 5000} {
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", i))
		if _, err := WriteLogs(wal.OS{}, path, manyLogs(n), Options{}); err != nil {
			t.Fatal(err)
		}
		f := publish(t, path)
		defer f.Close()
		all = append(all, f)
		want = append(want, allLogs(t, f)...)
	}
	path := filepath.Join(dir, "joined.parquet")
	if _, err := Concat(wal.OS{}, path, all); err != nil {
		t.Fatal(err)
	}
	f := publish(t, path)
	defer f.Close()
	got := allLogs(t, f)
	order := func(a, b signal.Log) int { return cmp.Compare(show(a), show(b)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	compareAll(t, got, want)
	r, _ := f.reader(rows.Logs)
	if len(r.Groups) != 1 {
		t.Errorf("%d row groups", len(r.Groups))
	}
}

func TestRebuildIndexMakesTheSame(t *testing.T) {
	for name, write := range map[string]func(string) error{
		"spans": func(path string) error {
			_, err := WriteSpans(wal.OS{}, path, manySpans(9000), Options{})
			return err
		},
		"logs": func(path string) error {
			_, err := WriteLogs(wal.OS{}, path, manyLogs(9000), Options{})
			return err
		},
		"nothing": func(path string) error {
			_, err := WriteLogs(wal.OS{}, path, nil, Options{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.parquet")
			if err := write(path); err != nil {
				t.Fatal(err)
			}
			publish(t, path).Close()
			before, err := os.ReadFile(IndexPath(path))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(IndexPath(path)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(wal.OS{}, path, testCache); !errors.Is(err, ErrIndex) {
				t.Fatalf("without its index: %v", err)
			}
			if damaged, err := RebuildIndex(wal.OS{}, path); err != nil || damaged != 0 {
				t.Fatal(damaged, err)
			}
			after, err := os.ReadFile(IndexPath(path))
			if err != nil || !slices.Equal(before, after) {
				t.Errorf("the new index is another one: %v", err)
			}
		})
	}
}

// What is kept of a file for as long as the collector runs holds nothing of the batches, whose memory is used again.
func TestSummaryOutlivesItsBatches(t *testing.T) {
	for name, write := range map[string]func(path string) ([]Batch, Summary, error){
		"spans": func(path string) ([]Batch, Summary, error) {
			batches := manySpans(100)
			sum, err := WriteSpans(wal.OS{}, path, batches, Options{})
			return batches, sum, err
		},
		"logs": func(path string) ([]Batch, Summary, error) {
			batches := manyLogs(100)
			sum, err := WriteLogs(wal.OS{}, path, batches, Options{})
			return batches, sum, err
		},
	} {
		path := filepath.Join(t.TempDir(), name+".parquet")
		batches, sum, err := write(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			clear(b.Raw)
		}
		f := publish(t, path)
		defer f.Close()
		if len(sum.Services) == 0 || !slices.Equal(sum.Services, f.Services) {
			t.Errorf("%s: services %q, want %q", name, sum.Services, f.Services)
		}
	}
}
