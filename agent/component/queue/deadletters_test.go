package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

func readDead(t *testing.T, cfg Config) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "logs", "dead", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

// Dead letters are bounded by bytes and by age, the oldest go first, and whatever happens they are counted.
func TestDeadLettersAreBounded(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	deps := testDeps()
	deps.Now = func() time.Time { return now }
	cfg := testConfig(t.TempDir(), "127.0.0.1:1")
	cfg.DeadLetters = DeadLetters{LimitBytes: 8000, Age: 8 * time.Hour}
	dir := filepath.Join(cfg.Dir, "logs", "dead")
	d, err := openDeadLetters(dir, cfg, deps)
	must(t, err)
	added := int64(0)
	add := func(items int, body string) bool {
		t.Helper()
		kept, err := d.add(otlp.SignalLogs, record{now, items, batch(t, body)}, "no")
		must(t, err)
		added += int64(items)
		if s := d.stats(); s.Items+s.Evicted != added || d.log.Stats().Bytes > cfg.DeadLetters.LimitBytes {
			t.Fatalf("%d added, %+v, %d bytes", added, s, d.log.Stats().Bytes)
		}
		return kept
	}
	for i := range 100 {
		if !add(1+i%3, fmt.Sprint("letter ", i)) {
			t.Fatal("not kept")
		}
	}
	if raw := readDead(t, cfg); strings.Contains(raw, `"letter 1"`) || !strings.Contains(raw, `"letter 99"`) {
		t.Errorf("the wrong ones were kept: %q", raw)
	}
	if add(5, strings.Repeat("x", 9000)) {
		t.Error("a letter larger than all that may be kept")
	}
	// A restart knows what is kept.
	before := d.stats()
	must(t, d.close())
	d, err = openDeadLetters(dir, cfg, deps)
	must(t, err)
	if s := d.stats(); s.Items != before.Items || s.Evicted != 0 {
		t.Fatalf("%+v, then %+v", before, s)
	}
	added = before.Items
	// Age takes them too, sooner or later by an eighth.
	now = now.Add(4 * time.Hour)
	add(1, "younger")
	now = now.Add(5 * time.Hour)
	must(t, d.expire())
	if s := d.stats(); s.Items != 1 {
		t.Errorf("%+v, want the younger one alone", s)
	}
	now = now.Add(5 * time.Hour)
	must(t, d.expire())
	if s := d.stats(); s.Items != 0 || s.Evicted != added || d.log.Stats().Bytes != 0 {
		t.Errorf("%+v, %d bytes, want none", s, d.log.Stats().Bytes)
	}
	must(t, d.close())
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
			cfg := testConfig(t.TempDir(), "127.0.0.1:1")
			d, err := openDeadLetters(filepath.Join(cfg.Dir, "logs", "dead"), cfg, testDeps())
			must(t, err)
			defer d.close()
			if _, err := d.add(test.signal, record{time.Now(), 1, []byte(test.batch)}, "because \x00 of \xff"); err != nil {
				t.Fatal(err)
			}
			if raw := readDead(t, cfg); !strings.Contains(raw, test.want) || !strings.Contains(raw, "because") {
				t.Errorf("%q lacks %q", raw, test.want)
			}
		})
	}
}

// A dead letter that finds no room waits in the queue, with what is behind it still on its way.
func TestADeadLetterWaitsForRoom(t *testing.T) {
	w := &world{t: t, f: &far{}}
	w.f.set(func(got []string) (int, error) {
		if got[0] == "bad" {
			return 0, status.Error(codes.InvalidArgument, "bad")
		}
		return 0, nil
	})
	w.f.serve(t)()
	w.cfg = testConfig(t.TempDir(), w.f.addr)
	w.cfg.RequestBytes = 1 // each alone
	w.open()
	defer func() { w.end(); _ = w.q.Close() }()
	mustTake(t, w.q, "bad")
	mustTake(t, w.q, "good")
	w.fs.Fill(true)
	w.f.serve(t)
	await(t, "sent past it", func() bool { _, got := w.f.state(); return len(got) == 1 })
	await(t, "one left", func() bool { return w.q.Snapshot(otlp.SignalLogs).Queued == 1 })
	w.fs.Fill(false)
	if s := awaitSent(t, w.q); s.DeadLetters.Items != 1 || s.Dropped[dropDeadLetter] != 1 {
		t.Errorf("%+v", s)
	}
}
