package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/agent/component/queue/export"
	"weft/internal/otlp"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

// abandon leaves a queue as a process does that dies: nothing is written any more, and the kernel lets go of the rest.
func abandon(q *Queue) {
	_ = q.client.Close()
	_ = q.lock.Close()
}

// lives runs two processes one after the other on a file system that crashes at some point, and says what they have
// acknowledged. The first has no collector; the second has one that calls every fifth batch invalid.
func lives(t *testing.T, cfg Config, fs *faultfs.FS, f *far) (acknowledged []string) {
	t.Helper()
	deps := testDeps()
	deps.FS = fs
	for life := range 2 {
		q, err := Open(cfg, deps)
		if err != nil {
			return acknowledged
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		if life == 1 {
			f.serve(t)
		}
		go func() { defer close(done); q.Run(ctx) }()
		for i := range 8 {
			name := fmt.Sprintf("%d-%d", life, i)
			if i%5 == 4 {
				name = "bad " + name
			}
			if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, name)); err == nil {
				acknowledged = append(acknowledged, name)
			}
			if s := q.Snapshot(otlp.SignalLogs); !s.Holds() {
				t.Fatalf("the ledger does not balance: %+v", s.Ledger)
			}
		}
		if life == 1 { // until all is sent, or nothing moves any more because the file system is gone
			await(t, "sent or crashed", func() bool { return fs.Crashed() || q.Snapshot(otlp.SignalLogs).Queued == 0 })
		}
		cancel()
		<-done
		if !fs.Crashed() {
			_ = q.Close()
		} else {
			abandon(q)
		}
	}
	return acknowledged
}

// A crash at every change that the queue makes to the file system: what was acknowledged reaches the collector, or the
// dead letters, from the next process.
func TestWhatIsAcknowledgedOutlivesACrashAtEveryOperation(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		t.Run(string(durability), func(t *testing.T) {
			for n, step := 1, 1; ; n += step {
				fs, f := faultfs.New(), &far{}
				f.set(func(got []string) (int, error) {
					if slices.ContainsFunc(got, func(b string) bool { return strings.HasPrefix(b, "bad") }) {
						return 0, status.Error(codes.InvalidArgument, "bad")
					}
					return 0, nil
				})
				f.serve(t)() // to have an address
				cfg := testConfig(filepath.Join(t.TempDir(), "queue"), f.addr)
				cfg.Durability = durability
				fs.CrashAt(n)
				acknowledged := lives(t, cfg, fs, f)
				reached := fs.Crashed()
				if durability == wal.Power {
					if err := fs.PowerCut(); err != nil {
						t.Fatal(err)
					}
				}
				far := f.restart(t)
				q, stop := start(t, cfg, testDeps())
				s := awaitSent(t, q)
				if s.Accepted != 0 || s.Recovered != s.Sent+s.Dropped[dropDeadLetter] {
					t.Errorf("crash at change %d: ledger %+v", n, s.Ledger)
				}
				_, got := far.state()
				dead := readDead(t, cfg)
				for _, name := range acknowledged {
					if !slices.Contains(got, name) && !strings.Contains(dead, `"`+name+`"`) {
						t.Fatalf("crash at change %d: %q was acknowledged and is lost", n, name)
					}
				}
				stop()
				if !reached {
					if n < 30 {
						t.Errorf("only %d changes", n)
					}
					return
				}
			}
		})
	}
}

// restart serves again, whether or not it did before.
func (f *far) restart(t testing.TB) *far {
	t.Helper()
	if f.stop != nil {
		f.stop()
	}
	f.serve(t)
	return f
}

// A full disk: senders are told to come again, what is in is sent, a process that dies meanwhile loses nothing, and as
// soon as there is room senders are served.
func TestAFullDiskLosesNothing(t *testing.T) {
	fs, f := faultfs.New(), &far{}
	f.serve(t)()
	cfg := testConfig(t.TempDir(), f.addr)
	deps := testDeps()
	deps.FS = fs
	first, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	mustTake(t, first, "a", "b")
	fs.Fill(true)
	for range 3 {
		if _, err := first.Take(t.Context(), otlp.SignalLogs, batch(t, "refused")); status.Code(err) != codes.Unavailable || export.Patience(err) != time.Second {
			t.Fatalf("refused with %v", err)
		}
	}
	abandon(first)

	f.serve(t)
	q, _ := start(t, cfg, deps)
	if s := awaitSent(t, q); s.Recovered != 2 || s.Sent != 2 {
		t.Fatalf("ledger %+v", s)
	}
	if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, "refused")); err == nil {
		t.Fatal("the disk is full")
	}
	fs.Fill(false)
	mustTake(t, q, "c")
	if s := awaitSent(t, q); s.Accepted != 1 || s.Sent != 3 {
		t.Fatalf("ledger %+v", s)
	}
	if _, got := f.state(); strings.Join(got, "") != "abc" {
		t.Fatalf("collector has %q", got)
	}
}

// The reserve is looked at before the disk is full.
func TestTheReserveOfTheDiskIsKept(t *testing.T) {
	fs := faultfs.New()
	fs.Space(func() (uint64, uint64) { return 4, 100 })
	cfg := testConfig(t.TempDir(), "127.0.0.1:1")
	cfg.ReservePercent = 5
	deps := testDeps()
	deps.FS = fs
	q, _ := start(t, cfg, deps)
	if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, "a")); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
}

// A range that the disk has not kept costs the items in it, which are counted, and nothing else.
func TestDamageIsSteppedOverAndCounted(t *testing.T) {
	for _, restart := range []bool{false, true} {
		f := &far{}
		f.serve(t)()
		cfg := testConfig(t.TempDir(), f.addr)
		q, err := Open(cfg, testDeps())
		if err != nil {
			t.Fatal(err)
		}
		mustTake(t, q, "a")
		path, from := q.lines[otlp.SignalLogs].log.Files()[0].Path, q.lines[otlp.SignalLogs].log.End()
		mustTake(t, q, "lost", "lost too")
		mustTake(t, q, "c")
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte("harm"), from.Offset+30); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		want := Ledger{Accepted: 4, Sent: 2, Dropped: map[string]int64{dropDamaged: 2, dropRejected: 0, dropDeadLetter: 0}}
		if restart {
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if q, err = Open(cfg, testDeps()); err != nil {
				t.Fatal(err)
			}
			want = Ledger{Recovered: 2, Sent: 2, Dropped: map[string]int64{dropDamaged: 0, dropRejected: 0, dropDeadLetter: 0}}
		}
		f.serve(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); q.Run(ctx) }()
		s := awaitSent(t, q)
		if fmt.Sprint(s.Ledger) != fmt.Sprint(want) || s.Damaged != 1 || s.QueuedBytes != 0 {
			t.Errorf("restart %v: %+v, want %+v", restart, s, want)
		}
		if _, got := f.state(); strings.Join(got, "") != "ac" {
			t.Errorf("collector has %q", got)
		}
		cancel()
		<-done
		_ = q.Close()
	}
}

// The cursor: what it says is believed only of the log that it was written for.
func TestACursorThatDoesNotFitIsNotBelieved(t *testing.T) {
	tests := map[string]struct {
		harm func(t *testing.T, cfg Config, cursor string)
		want string // what the collector gets again
	}{
		"as it was":      {func(*testing.T, Config, string) {}, ""},
		"gone":           {func(t *testing.T, _ Config, cursor string) { must(t, os.Remove(cursor)) }, "abc"},
		"empty":          {func(t *testing.T, _ Config, cursor string) { must(t, os.Truncate(cursor, 0)) }, "abc"},
		"cut":            {func(t *testing.T, _ Config, cursor string) { must(t, os.Truncate(cursor, 35)) }, "abc"},
		"log is shorter": {func(t *testing.T, cfg Config, _ string) { shorten(t, cfg) }, "ab"},
		"of another log": {func(t *testing.T, cfg Config, _ string) {
			for _, file := range logFiles(t, cfg) {
				must(t, os.Remove(file))
			}
		}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := &far{}
			f.serve(t)
			cfg := testConfig(t.TempDir(), f.addr)
			q, stop := start(t, cfg, testDeps())
			mustTake(t, q, "a")
			mustTake(t, q, "b")
			mustTake(t, q, "c")
			awaitSent(t, q)
			stop()
			f.forget()
			test.harm(t, cfg, filepath.Join(cfg.Dir, "logs", cursorFile))
			// Items that come now may lie where the cursor once was. Nothing of them may be taken for sent: not by the
			// process that finds the cursor, and not by one after it, should that die before it writes another.
			fresh, err := Open(cfg, testDeps())
			must(t, err)
			for range 4 {
				mustTake(t, fresh, "d")
			}
			abandon(fresh)
			q, stop = start(t, cfg, testDeps())
			awaitSent(t, q)
			stop()
			if _, got := f.state(); strings.Join(got, "") != test.want+"dddd" {
				t.Errorf("collector got %q, want %q", got, test.want+"dddd")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func logFiles(t *testing.T, cfg Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "logs", "*.log"))
	must(t, err)
	return files
}

// shorten takes the last record away, as a power cut does when it was not synced.
func shorten(t *testing.T, cfg Config) {
	t.Helper()
	files := logFiles(t, cfg)
	info, err := os.Stat(files[len(files)-1])
	must(t, err)
	must(t, os.Truncate(files[len(files)-1], info.Size()-1))
}
