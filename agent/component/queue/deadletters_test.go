package queue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
