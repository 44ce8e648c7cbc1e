package sealed

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
	"weft/internal/otlp"
	"weft/internal/wal"
)

// generated are spans or log records for benchmarks; bench/load's, where it can be had, are more like a day's.
func generated(kind rows.Signal, items int) (out []Batch, raw int) {
	if out = manySpans(items); kind == rows.Logs {
		out = manyLogs(items)
	}
	for _, b := range out {
		raw += len(b.Raw)
	}
	return out, raw
}

func BenchmarkSealSpans(b *testing.B) { benchmarkSeal(b, rows.Spans, WriteSpans) }
func BenchmarkSealLogs(b *testing.B)  { benchmarkSeal(b, rows.Logs, WriteLogs) }

func benchmarkSeal(b *testing.B, sig rows.Signal, write func(wal.FS, string, []Batch, Options) (Summary, error)) {
	batches, raw := generated(sig, 280_000)
	dir := b.TempDir()
	var sum Summary
	b.ReportAllocs()
	cpu := cpuTime()
	for b.Loop() {
		var err error
		if sum, err = write(wal.OS{}, filepath.Join(dir, "a.parquet"), batches, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(sum.Rows)
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/n, "cpu-ns/item")
	b.ReportMetric(float64(sum.Bytes)/n, "B/item")
	b.ReportMetric(float64(raw)/n, "raw-B/item")
	info, _ := os.Stat(filepath.Join(dir, "a.idx.tmp"))
	b.ReportMetric(float64(info.Size())/n, "idx-B/item")
	if os.Getenv("COLUMNS") != "" {
		columns(b, filepath.Join(dir, "a.parquet.tmp"), n)
	}
}

func columns(b *testing.B, path string, n float64) {
	f, _ := wal.OS{}.OpenFile(path, os.O_RDONLY)
	defer f.Close()
	size, _ := f.Size()
	m, err := column.ReadMeta(f, size)
	if err != nil {
		b.Fatal(err)
	}
	for i, d := range m.Columns {
		if k := m.Groups[0].Chunks[i]; k.Nulls < m.Groups[0].Rows {
			b.Logf("%-40s %6.3f B/row, %d nulls", d.Name, float64(k.Size)/n, k.Nulls)
		}
	}
}

func BenchmarkYardstick(b *testing.B) {
	batches, _ := generated(rows.Spans, 40_000)
	var u ptrace.ProtoUnmarshaler
	n := 0
	cpu := cpuTime()
	for b.Loop() {
		n = 0
		for _, x := range batches {
			t, err := u.UnmarshalTraces(x.Raw)
			if err != nil {
				b.Fatal(err)
			}
			n += t.SpanCount()
		}
	}
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/float64(n), "cpu-ns/item")
}

func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkLookup(b *testing.B) {
	batches, _ := generated(rows.Spans, 280_000)
	f, _ := sealSpans(b, b.TempDir(), batches)
	defer f.Close()
	var ids []signal.TraceID
	for n := range 1000 {
		ids = append(ids, manyTrace(n*31))
	}
	for name, fresh := range map[string]bool{"warm": false, "first": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			cpu, i, bytes := cpuTime(), 0, int64(0)
			for b.Loop() {
				if fresh {
					f.data.Forget()
				}
				n := 0
				read, err := f.SpansOf(context.Background(), ids[i%len(ids)], func(*signal.Span) bool { n++; return true })
				if err != nil || n != 8 {
					b.Fatal(n, err)
				}
				bytes += read.Bytes
				i++
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "read-B/op")
		})
	}
	b.Run("miss", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			if _, err := f.SpansOf(context.Background(), signal.TraceID{1, byte(i), byte(i >> 8), byte(i >> 16), 5}, func(*signal.Span) bool { return true }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	batches, _ := generated(rows.Spans, 280_000)
	f, _ := sealSpans(b, b.TempDir(), batches)
	defer f.Close()
	for name, q := range map[string]search.Query{
		"failed":  {Statuses: []signal.Status{signal.StatusError}, Limit: 20, Newest: true},
		"slow":    {MinDuration: 100e6, Limit: 20, Newest: true},
		"nothing": {Attributes: []search.Match{{Key: "url.path", Value: "/nowhere"}}},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := q.Compile()
			if err != nil {
				b.Fatal(err)
			}
			var read search.Cost
			cpu := cpuTime()
			for b.Loop() {
				if read, err = f.ScanSpans(context.Background(), c, func(*signal.Span) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/float64(f.Rows), "cpu-ns/row")
			b.ReportMetric(float64(read.Bytes), "read-B/op")
			b.ReportMetric(float64(read.Rows), "rows")
		})
	}
}

// BenchmarkShare holds the price of sealing against that of the walk and of the full decode, in turn.
func BenchmarkShare(b *testing.B) {
	for name, sig := range map[string]rows.Signal{"spans": rows.Spans, "logs": rows.Logs} {
		b.Run(name, func(b *testing.B) {
			batches, _ := generated(sig, 280_000)
			dir := b.TempDir()
			var seal, walk, decode int64
			var n float64
			for b.Loop() {
				runtime.GC()
				t0 := cpuTime()
				write := WriteSpans
				if sig == rows.Logs {
					write = WriteLogs
				}
				sum, err := write(wal.OS{}, filepath.Join(dir, "a.parquet"), batches, Options{})
				if err != nil {
					b.Fatal(err)
				}
				n += float64(sum.Rows)
				t1 := cpuTime()
				x := 0
				for _, batch := range batches {
					if sig == rows.Spans {
						_ = otlp.Spans(batch.Raw, func(s *otlp.Span) error { x += len(s.Attrs); return nil })
					} else {
						_ = otlp.Logs(batch.Raw, func(s *otlp.Log) error { x += len(s.Attrs); return nil })
					}
				}
				t2 := cpuTime()
				for _, batch := range batches {
					if sig == rows.Spans {
						var u ptrace.ProtoUnmarshaler
						_, err = u.UnmarshalTraces(batch.Raw)
					} else {
						var u plog.ProtoUnmarshaler
						_, err = u.UnmarshalLogs(batch.Raw)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				t3 := cpuTime()
				seal, walk, decode = seal+t1-t0, walk+t2-t1, decode+t3-t2
			}
			b.ReportMetric(float64(seal)/n, "seal-ns")
			b.ReportMetric(float64(walk)/n, "walk-ns")
			b.ReportMetric(float64(decode)/n, "decode-ns")
			b.ReportMetric(float64(seal)/float64(decode), "seal/decode")
		})
	}
}
