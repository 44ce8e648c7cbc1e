package deadletter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"weft/internal/otlp"
	"weft/internal/wal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read is the files as a person would look at them.
func read(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	must(t, err)
	var all strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		must(t, err)
		all.Write(raw)
	}
	return all.String()
}

func batch(t *testing.T, body string) []byte {
	t.Helper()
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr(body)
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	must(t, err)
	return b
}

// Dead letters are bounded by bytes and by age, the oldest go first, and whatever happens they are counted.
func TestDeadLettersAreBounded(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	deps := Deps{FS: wal.OS{}, Now: func() time.Time { return now }, Log: zap.NewNop()}
	cfg := Config{LimitBytes: 8000, Age: 8 * time.Hour}
	dir := t.TempDir()
	d, err := Open(dir, cfg, wal.Process, deps)
	must(t, err)
	added := int64(0)
	add := func(items int, body string) bool {
		t.Helper()
		kept, err := d.Add(Letter{otlp.SignalLogs, items, now, batch(t, body), "no"})
		must(t, err)
		added += int64(items)
		if s := d.Stats(); s.Items+s.Evicted != added || d.log.Stats().Bytes > cfg.LimitBytes {
			t.Fatalf("%d added, %+v, %d bytes", added, s, d.log.Stats().Bytes)
		}
		return kept
	}
	for i := range 100 {
		if !add(1+i%3, fmt.Sprint("letter ", i)) {
			t.Fatal("not kept")
		}
	}
	if raw := read(t, dir); strings.Contains(raw, `"letter 1"`) || !strings.Contains(raw, `"letter 99"`) {
		t.Errorf("the wrong ones were kept: %q", raw)
	}
	if add(5, strings.Repeat("x", 9000)) {
		t.Error("a letter larger than all that may be kept")
	}
	// A restart knows what is kept.
	before := d.Stats()
	must(t, d.Close())
	d, err = Open(dir, cfg, wal.Process, deps)
	must(t, err)
	if s := d.Stats(); s.Items != before.Items || s.Evicted != 0 {
		t.Fatalf("%+v, then %+v", before, s)
	}
	added = before.Items
	// Age takes them too, sooner or later by an eighth.
	now = now.Add(4 * time.Hour)
	add(1, "younger")
	now = now.Add(5 * time.Hour)
	must(t, d.Expire())
	if s := d.Stats(); s.Items != 1 {
		t.Errorf("%+v, want the younger one alone", s)
	}
	now = now.Add(5 * time.Hour)
	must(t, d.Expire())
	if s := d.Stats(); s.Items != 0 || s.Evicted != added || d.log.Stats().Bytes != 0 {
		t.Errorf("%+v, %d bytes, want none", s, d.log.Stats().Bytes)
	}
	must(t, d.Close())
}

func TestADeadLetterIsReadableInEverySignal(t *testing.T) {
	tests := map[string]struct {
		signal otlp.Signal
		batch  string
		want   string
	}{
		"logs":       {otlp.SignalLogs, string(batch(t, "a")), `"batch":{"resourceLogs":`},
		"traces":     {otlp.SignalTraces, "\x0a\x00", `"batch":{"resourceSpans":`},
		"metrics":    {otlp.SignalMetrics, "\x0a\x00", `"batch":{"resourceMetrics":`},
		"unreadable": {otlp.SignalLogs, "\xff\xff", `"protobuf":"//8="`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := Open(dir, Config{1 << 20, time.Hour}, wal.Process, Deps{wal.OS{}, time.Now, zap.NewNop()})
			must(t, err)
			defer d.Close()
			if _, err := d.Add(Letter{test.signal, 1, time.Now(), []byte(test.batch), "because \x00 of \xff"}); err != nil {
				t.Fatal(err)
			}
			if raw := read(t, dir); !strings.Contains(raw, test.want) || !strings.Contains(raw, "because") {
				t.Errorf("%q lacks %q", raw, test.want)
			}
		})
	}
}
