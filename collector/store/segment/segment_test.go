package segment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"weft/collector/store/key"
	"weft/collector/store/segment/retention"
	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // faults by the hundred, each of them logged
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

// clock is the time of a test, moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

// Random appends, seals, merges, retention, lost manifests and restarts from files cut at any byte, against a slice.
func TestModel(t *testing.T) {
	root, run := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		m := newMachine(t, filepath.Join(root, fmt.Sprint(run)))
		defer func() { m.log.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "maintain": m.maintain, "rotate": m.rotate, "crash": m.crash, "lose": m.loseManifest, "erase": m.erase,
			"time": func(t *rapid.T) { m.clock.move(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second) },
			"":     m.check,
		})
	})
}

// machine is the log and the model of it.
type machine struct {
	cfg     Config
	clock   *clock
	log     *Log[testFile]
	next    uint32
	batches []modelled
}

type modelled struct {
	batch
	received time.Time
}

// pinned is some of the batches that a run may make.
var pinned = []string{"7", "17", "27", "37"}

func newMachine(t *rapid.T, dir string) *machine {
	m := &machine{clock: newClock()}
	m.cfg = Config{
		Dir: dir, FileBytes: rapid.Int64Range(60, 900).Draw(t, "file bytes"), Now: m.clock.Now,
		FS:        faultfs.New(), // which asks no disk to sync
		Retention: retention.Policy{Age: time.Duration(rapid.IntRange(0, 1).Draw(t, "age")) * time.Hour},
		Pinned:    func() []string { return pinned },
	}
	if rapid.Bool().Draw(t, "bounded") {
		m.cfg.Retention.Bytes = 20_000
	}
	if rapid.Bool().Draw(t, "tail") {
		m.cfg.Retention.Tail.Age = 1000 * time.Hour
	}
	m.log = open(t, m.cfg)
	return m
}

func (m *machine) append(t *rapid.T) {
	m.next++
	b := batch{m.next, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) key.Key {
		return key.Key(rapid.Uint64Range(0, 12).Draw(t, "key") * 0x1234567890abcdef)
	}), 0, 6).Draw(t, "keys"), rapid.IntRange(0, 100).Draw(t, "fill")}
	err := add(m.log, b)
	if errors.Is(err, wal.ErrFull) && m.log.unsealed() > maxUnsealed {
		m.maintain(t)
		err = add(m.log, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.batches = append(m.batches, modelled{b, m.clock.Now()})
}

func (m *machine) rotate(t *rapid.T) {
	if err := m.log.wal.Rotate(); err != nil {
		t.Fatal(err)
	}
}

// maintain seals, and takes from the model what retention may drop: what is too old or too much, and not pinned when
// there is a tail.
func (m *machine) maintain(t *rapid.T) {
	if err := m.log.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := m.log.unsealed(); n > 1 {
		t.Fatalf("%d files are not sealed", n)
	}
	left := held(t, m.log)
	keep := m.cfg.Retention
	var rest []modelled
	for _, b := range m.batches {
		if slices.Contains(left, b.number) {
			rest = append(rest, b)
			continue
		}
		if keep.Bytes == 0 && (keep.Age == 0 || m.clock.Now().Sub(b.received) <= keep.Age) {
			t.Fatalf("batch %d was dropped too early", b.number)
		}
		if keep.Tail.Age > 0 && keep.Bytes == 0 && slices.Contains(pinned, fmt.Sprint(b.number)) {
			t.Fatalf("batch %d was pinned and is gone", b.number)
		}
	}
	m.batches = rest
}

// crash ends the process and cuts the newest file at any byte.
func (m *machine) crash(t *rapid.T) {
	type placed struct {
		number uint32
		end    wal.Position
	}
	var ends []placed
	if err := m.log.wal.Replay(wal.Position{}, func(p wal.Position, r []byte) error {
		ends = append(ends, placed{numberOf(r[stampLen:]), p.After(r)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	files := m.log.wal.Files()
	last := files[len(files)-1]
	m.log.Close()
	cut := rapid.Int64Range(0, last.Size).Draw(t, "cut")
	if err := os.Truncate(last.Path, cut); err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(ends) {
		if e.end.File == last.Number && e.end.Offset > cut && last.Number > m.log.manifest.Sealed {
			m.batches = slices.DeleteFunc(m.batches, func(b modelled) bool { return b.number == e.number })
		}
	}
	if rapid.Bool().Draw(t, "also half a segment") {
		_ = os.WriteFile(filepath.Join(m.cfg.Dir, "segment-0000000000000001-0000000000000001-000000ff.seg"), []byte("half"), 0o600)
		_ = os.WriteFile(filepath.Join(m.cfg.Dir, "manifest.tmp"), []byte("half"), 0o600)
	}
	m.log = open(t, m.cfg)
}

// loseManifest takes the manifest away, or flips a bit of it, between two runs.
func (m *machine) loseManifest(t *rapid.T) {
	path := filepath.Join(m.cfg.Dir, "manifest")
	raw, err := os.ReadFile(path)
	if err != nil {
		return
	}
	m.log.Close()
	if rapid.Bool().Draw(t, "lost") {
		err = os.Remove(path)
	} else {
		raw[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.log = open(t, m.cfg)
}

func (m *machine) erase(t *rapid.T) {
	if len(m.batches) == 0 {
		return
	}
	number := rapid.SampledFrom(m.batches).Draw(t, "batch").number
	if m.log.unsealed() > maxUnsealed {
		return
	}
	if n, err := m.log.Erase(t.Context(), fmt.Sprint(number)); err != nil || n != 1 {
		t.Fatalf("%d erased, %v", n, err)
	}
	m.batches = slices.DeleteFunc(m.batches, func(b modelled) bool { return b.number == number })
	err := m.log.Replay(t.Context(), Past{}, func(_ time.Time, raw []byte) error {
		if numberOf(raw) == number {
			t.Fatalf("batch %d is still in the log", number)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) check(t *rapid.T) {
	var all []uint32
	byKey := map[key.Key][]uint32{}
	for _, b := range m.batches {
		all = append(all, b.number)
		for _, k := range compact(slices.Clone(b.keys)) {
			byKey[k] = append(byKey[k], b.number)
		}
	}
	if got := held(t, m.log); !slices.Equal(got, all) {
		t.Fatalf("holds %v, want %v", got, all)
	}
	for i := range uint64(14) {
		k := key.Key(i * 0x1234567890abcdef)
		if got := found(t, m.log, k); !slices.Equal(got, byKey[k]) {
			t.Fatalf("key %x: batches %v, want %v", uint64(k), got, byKey[k])
		}
	}
	s := m.log.Stats()
	if int(s.Rows+s.UnsealedItems) != len(all) {
		t.Fatalf("stats count %d rows and %d items, want %d", s.Rows, s.UnsealedItems, len(all))
	}
	if s.Accepted+s.Recovered != s.Stored+s.Deduplicated+s.Lost+uint64(s.UnsealedItems) {
		t.Fatalf("the ledger does not balance: %+v", s)
	}
}

// shopping is a run of appends with seals between; it returns the numbers that were acknowledged.
func shopping(l *Log[testFile], batches int) (acknowledged []uint32) {
	for i := range uint32(batches) {
		if i%3 == 2 {
			_ = l.Maintain(ctx) // may fail: then it is tried again
		}
		if add(l, batch{i, []key.Key{key.Key(i), key.Key(i % 2), 77}, int(i)}) == nil {
			acknowledged = append(acknowledged, i)
		}
	}
	return acknowledged
}

func verify(t *testing.T, l *Log[testFile], n int, acknowledged []uint32) {
	t.Helper()
	have := held(t, l)
	for _, number := range acknowledged {
		if !slices.Contains(have, number) {
			t.Fatalf("fault at change %d: batch %d was acknowledged and is lost", n, number)
		}
		if !slices.Contains(found(t, l, 77), number) || !slices.Contains(found(t, l, key.Key(number)), number) {
			t.Fatalf("fault at change %d: batch %d is not found", n, number)
		}
	}
	if unique := slices.Compact(slices.Clone(have)); len(unique) != len(have) {
		t.Fatalf("fault at change %d: something is there twice: %v", n, have)
	}
	if err := l.Check(ctx); err != nil {
		t.Fatalf("fault at change %d: %v", n, err)
	}
}

// A crash at every change of the file system: whatever was acknowledged is found after the restart, and once.
func TestCrashPoints(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		t.Run(string(durability), func(t *testing.T) {
			for n := 1; ; n++ {
				fs := faultfs.New()
				cfg := Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 150, Durability: durability, FS: fs}
				fs.CrashAt(n)
				var acknowledged []uint32
				if l, err := Open(cfg, testForm(fs)); err == nil {
					acknowledged = shopping(l, 24)
					l.Close()
				}
				if durability == wal.Power {
					if err := fs.PowerCut(); err != nil {
						t.Fatal(err)
					}
				}
				cfg.FS = faultfs.New()
				l, err := Open(cfg, testForm(cfg.FS))
				if err != nil {
					t.Fatalf("crash at change %d: %v", n, err)
				}
				verify(t, l, n, acknowledged)
				if names, _ := filepath.Glob(filepath.Join(cfg.Dir, "*.tmp")); len(names) > 0 {
					t.Fatalf("crash at change %d left %v", n, names)
				}
				l.Close()
				if fs.Changes() < n {
					return
				}
			}
		})
	}
}

// One failing change, wherever it is, costs one refusal at most, and the log mends itself.
func TestFaults(t *testing.T) {
	for _, fault := range []error{faultfs.ErrNoSpace, errors.New("input/output error")} {
		for n := 1; n < 160; n++ {
			fs := faultfs.New()
			l := open(t, Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 150, FS: fs})
			fs.FailAt(n, fault)
			acknowledged := shopping(l, 24)
			if len(acknowledged) < 23 {
				t.Fatalf("fault at change %d: %d of 24 acknowledged", n, len(acknowledged))
			}
			verify(t, l, n, acknowledged)
			fs.FailAt(0, nil)
			if err := l.Maintain(ctx); err != nil || l.unsealed() > 1 {
				t.Fatalf("fault at change %d: not mended: %v, %d unsealed", n, err, l.unsealed())
			}
			verify(t, l, n, acknowledged)
			l.Close()
		}
	}
}

// Sealing that cannot keep up pushes back before the memory is full, and appending goes on when it can again.
func TestPushBack(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir(), FileBytes: 64})
	defer l.Close()
	refused := false
	for i := range uint32(20) {
		if err := add(l, batch{i, []key.Key{1}, 64}); err != nil {
			if refused = errors.Is(err, wal.ErrFull); !refused {
				t.Fatal(err)
			}
		}
	}
	if !refused {
		t.Fatal("twenty files without a seal were taken")
	}
	if err := l.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := add(l, batch{99, []key.Key{1}, 64}); err != nil {
		t.Fatal(err)
	}
}

// Replay reads the newest log files that fit its bytes, and of them what came since its time.
func TestReplayGoesSoFarBack(t *testing.T) {
	c := newClock()
	l := open(t, Config{Dir: t.TempDir(), FileBytes: 64, Now: c.Now})
	defer l.Close()
	for i := range uint32(6) { // a file each
		if err := add(l, batch{i, []key.Key{1}, 64}); err != nil {
			t.Fatal(err)
		}
		c.move(time.Second)
	}
	files := l.wal.Files()
	two := files[4].Size + files[5].Size
	for _, test := range []struct {
		past Past
		want []uint32
	}{
		{Past{}, []uint32{0, 1, 2, 3, 4, 5}},
		{Past{Bytes: two}, []uint32{4, 5}},
		{Past{Bytes: two - 1}, []uint32{5}},
		{Past{Since: c.Now().Add(-3 * time.Second)}, []uint32{3, 4, 5}},
		{Past{Since: c.Now().Add(-3 * time.Second), Bytes: two}, []uint32{4, 5}},
	} {
		var got []uint32
		if err := l.Replay(ctx, test.past, func(_ time.Time, raw []byte) error {
			got = append(got, numberOf(raw))
			return nil
		}); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, %v; want %v", test.past, got, err, test.want)
		}
	}
}

// Writers, readers, Run, merging and retention at once: each batch is found as soon as Append has returned.
func TestConcurrent(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir(), FileBytes: 4 << 10})
	running, stop := context.WithCancel(ctx)
	var home sync.WaitGroup
	home.Go(func() { _ = l.Run(running) })
	var writers sync.WaitGroup
	const writing, each = 8, 100
	for w := range uint32(writing) {
		writers.Go(func() {
			for i := range uint32(each) {
				b := batch{w*1000 + i, []key.Key{key.Key(w*1000 + i), key.Key(w) << 40}, 200}
				for {
					err := add(l, b)
					if err == nil {
						break
					} else if !errors.Is(err, wal.ErrFull) {
						t.Error(err)
						return
					}
				}
				if got := found(t, l, key.Key(b.number)); len(got) != 1 || got[0] != b.number {
					t.Errorf("batch %d: found %v", b.number, got)
				}
			}
		})
	}
	writers.Wait()
	for w := range uint32(writing) {
		if got := found(t, l, key.Key(w)<<40); len(got) != each && w > 0 {
			t.Errorf("writer %d: %d batches", w, len(got))
		}
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	stop()
	home.Wait()
	if s := l.Stats(); s.Sealed < 5 || s.Merged < fanOut || s.Damaged != 0 || s.Failures != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A batch whose bytes were harmed on the disk is counted, its neighbours are found, and its file is kept to look at.
func TestDamagedBatch(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir()})
	defer func() { l.Close() }()
	shopping(l, 9)
	var at []wal.Position
	_ = l.wal.Replay(wal.Position{}, func(p wal.Position, _ []byte) error { at = append(at, p); return nil })
	path := l.wal.Files()[0].Path
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("harm"), at[4].Offset+30); err != nil {
		t.Fatal(err)
	}
	f.Close()
	want := []uint32{0, 1, 2, 3, 5, 6, 7, 8}
	if got := found(t, l, 77); !slices.Equal(got, want) {
		t.Fatalf("found %v", got)
	}
	if l.Stats().Damaged == 0 || l.Check(ctx) == nil {
		t.Fatal("nobody noticed")
	}
	l.Close()
	l = open(t, l.cfg)
	if got := found(t, l, 77); !slices.Equal(got, want) {
		t.Fatalf("found %v after the restart", got)
	}
	if err := l.SealAll(ctx); err != nil {
		t.Fatal(err)
	}
	if got := found(t, l, 77); !slices.Equal(got, want) {
		t.Fatalf("found %v once sealed", got)
	}
	if _, err := os.Stat(filepath.Join(l.cfg.Dir, "quarantine", filepath.Base(path))); err != nil {
		t.Errorf("the damaged file is not kept: %v", err)
	}
}

// A segment that cannot be read is set aside; the others answer.
func TestDamagedSegment(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir(), FileBytes: 150})
	defer func() { l.Close() }()
	shopping(l, 6)
	if err := l.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(l.cfg.Dir, "segment-*"))
	if len(names) < 2 {
		t.Fatalf("segments %v", names)
	}
	if err := os.WriteFile(names[0], []byte("00000000rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = open(t, l.cfg)
	before := l.Stats().Segments
	if got := found(t, l, 77); len(got) == 0 || len(got) >= 6 {
		t.Errorf("found %v", got)
	}
	if err := l.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Segments != before-1 || s.Quarantine != 1 || s.Damaged == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRetentionByAgeClosesSlowFiles(t *testing.T) {
	c := newClock()
	l := open(t, Config{Dir: t.TempDir(), Retention: retention.Policy{Age: 24 * time.Hour}, Now: c.Now})
	defer l.Close()
	for i := range uint32(30) {
		if err := add(l, batch{i, []key.Key{5}, 0}); err != nil {
			t.Fatal(err)
		}
		c.move(2 * time.Hour)
		if err := l.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := found(t, l, 5); len(got) < 11 || len(got) > 13 || got[len(got)-1] != 29 {
		t.Fatalf("a day of one batch every two hours: %v", got)
	}
}

// What is pinned outlives the bulk, and goes when its own time has come.
func TestTail(t *testing.T) {
	c := newClock()
	l := open(t, Config{
		Dir: t.TempDir(), Now: c.Now, Pinned: func() []string { return []string{"3", "12"} },
		Retention: retention.Policy{Age: 10 * time.Hour, Tail: retention.Tail{Age: 100 * time.Hour}},
	})
	defer l.Close()
	for i := range uint32(60) {
		if err := add(l, batch{i, []key.Key{5}, 0}); err != nil {
			t.Fatal(err)
		}
		c.move(2 * time.Hour)
		if err := l.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		got := found(t, l, 5)
		if i == 40 && (!slices.Equal(got[:2], []uint32{3, 12}) || len(got) > 9) {
			t.Fatalf("after 80 hours: %v", got)
		}
		if i == 59 && slices.Contains(got, 3) {
			t.Fatalf("after 120 hours: %v", got)
		}
	}
	if s := l.Stats(); s.KeptRows != 2 || s.DroppedRow < 40 {
		t.Errorf("stats %+v", s)
	}
}
