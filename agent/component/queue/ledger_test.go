package queue

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"weft/internal/otlp"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

// world is a queue, a collector that comes, goes and changes its mind, and what the test knows of both.
type world struct {
	t     *testing.T
	cfg   Config
	f     *far
	fs    *faultfs.FS
	q     *Queue
	end   func()
	mood  string
	named int

	acknowledged []string // ever
	epoch        int64    // acknowledged by the queue that is open
}

func (w *world) open() {
	w.fs = faultfs.New()
	deps := testDeps()
	deps.FS = w.fs
	q, err := Open(w.cfg, deps)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }()
	w.q, w.epoch = q, 0
	w.end = func() { cancel(); <-done }
}

// answer is the collector's, by its mood. A batch that has "bad" in it is never taken; of one with "half" a half is.
func (w *world) answer(got []string) (int, error) {
	switch {
	case w.mood == "unavailable":
		return 0, withRetryInfo(codes.Unavailable, 1)
	case w.mood == "angry":
		return 0, status.Error(codes.PermissionDenied, "who are you?")
	case slices.Contains(got, "bad"):
		return 0, status.Error(codes.InvalidArgument, "bad")
	}
	rejected := 0
	for _, name := range got {
		if name == "half" {
			rejected++
		}
	}
	return rejected, nil
}

func (w *world) take(t *rapid.T) {
	var names []string
	for range rapid.IntRange(1, 5).Draw(t, "items") {
		w.named++
		names = append(names, fmt.Sprint("item ", w.named))
	}
	if kind := rapid.SampledFrom([]string{"", "", "bad", "half"}).Draw(t, "kind"); kind != "" {
		names = append(names, kind)
	}
	if _, err := w.q.Take(context.Background(), otlp.SignalLogs, batch(w.t, names...)); err != nil {
		if status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		return
	}
	w.acknowledged = append(w.acknowledged, names...)
	w.epoch += int64(len(names))
}

// check is the ledger against what the test knows, and against the log on disk.
func (w *world) check(t *rapid.T) {
	line := w.q.lines[otlp.SignalLogs]
	line.mu.Lock()
	sent := line.sent
	line.mu.Unlock()
	var onDisk int64
	if err := line.log.Replay(sent, func(_ wal.Position, raw []byte) error {
		r, err := parseRecord(raw)
		onDisk += int64(r.items)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := w.q.Snapshot(otlp.SignalLogs) // after the look at the disk: meanwhile there can only be fewer
	if !s.Holds() || s.Accepted != w.epoch || s.Queued < 0 || s.Queued > onDisk {
		t.Fatalf("%d acknowledged, %d on disk, ledger %+v", w.epoch, onDisk, s.Ledger)
	}
}

// Random batches, moods of the collector, absences, restarts, kills and full disks: the ledger balances after every step,
// and in the end every item is where the ledger says.
func TestTheLedgerBalances(t *testing.T) {
	root, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		w := &world{t: t, f: &far{}}
		w.f.answer = w.answer
		stop := w.f.serve(t)
		w.cfg = testConfig(filepath.Join(root, fmt.Sprint(runs)), w.f.addr)
		w.cfg.RequestBytes = rapid.IntRange(1, 500).Draw(rt, "request bytes")
		w.cfg.InFlight = rapid.IntRange(1, 4).Draw(rt, "in flight")
		w.cfg.LimitBytes = rapid.SampledFrom([]int64{2000, 1 << 20}).Draw(rt, "limit")
		w.open()
		defer func() { w.end(); _ = w.q.Close() }()
		setMood := func(mood string) {
			w.f.mu.Lock()
			defer w.f.mu.Unlock()
			w.mood = mood
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take": w.take,
			"mood": func(rt *rapid.T) {
				setMood(rapid.SampledFrom([]string{"", "unavailable", "angry"}).Draw(rt, "mood"))
			},
			"away":    func(*rapid.T) { stop() },
			"back":    func(*rapid.T) { stop(); stop = w.f.serve(t) },
			"full":    func(*rapid.T) { w.fs.Fill(true) },
			"room":    func(*rapid.T) { w.fs.Fill(false) },
			"restart": func(rt *rapid.T) { w.end(); must(t, w.q.Close()); w.open() },
			"kill": func(rt *rapid.T) {
				w.fs.CrashAt(1)
				w.end()
				abandon(w.q)
				w.open()
			},
			"": w.check,
		})
		w.fs.Fill(false)
		setMood("")
		stop()
		stop = w.f.serve(t)
		awaitSent(t, w.q)
		w.check(rt)
		_, got := w.f.state()
		dead := readDead(t, w.cfg)
		for _, name := range w.acknowledged {
			if !slices.Contains(got, name) && !strings.Contains(dead, `"`+name+`"`) {
				rt.Fatalf("%q was acknowledged and is lost", name)
			}
		}
		stop()
	})
}
