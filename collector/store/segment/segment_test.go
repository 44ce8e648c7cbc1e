package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// A test's batch is its number, then its keys, then bytes to fill it up.
type batch struct {
	number uint32
	keys   []Key
	fill   int
}

func (b batch) encode() []byte {
	raw := binary.LittleEndian.AppendUint32(nil, b.number)
	raw = binary.LittleEndian.AppendUint32(raw, uint32(len(b.keys)))
	for _, k := range b.keys {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(k))
	}
	return append(raw, make([]byte, b.fill)...)
}

func numberOf(raw []byte) uint32 { return binary.LittleEndian.Uint32(raw) }

func testKeys(raw []byte, add func(Key)) error {
	if len(raw) < 8 {
		return errors.New("short batch")
	}
	for i := range binary.LittleEndian.Uint32(raw[4:]) {
		add(Key(binary.LittleEndian.Uint64(raw[8+8*i:])))
	}
	return nil
}

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

func found(t rapid.TB, l *Log, key Key) (out []uint32) {
	t.Helper()
	err := l.Each(ctx, key, func(_ time.Time, raw []byte) error {
		match := false
		_ = testKeys(raw, func(k Key) { match = match || k == key })
		if match {
			out = append(out, numberOf(raw))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(out) // oldest first
	return out
}

func replayed(t rapid.TB, l *Log) (out []uint32) {
	t.Helper()
	err := l.Replay(ctx, time.Time{}, func(_ time.Time, raw []byte) error {
		out = append(out, numberOf(raw))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Random appends, seals, retention, damaged indexes and restarts from files cut at any byte, against a slice.
func TestModel(t *testing.T) {
	root, run := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		m := newMachine(t, filepath.Join(root, fmt.Sprint(run)))
		defer func() { m.log.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "maintain": m.maintain, "rotate": m.rotate, "crash": m.crash, "harm": m.harm,
			"time": func(t *rapid.T) { m.clock.move(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second) },
			"":     m.check,
		})
	})
}

// machine is the log and the model of it.
type machine struct {
	cfg     Config
	clock   *clock
	log     *Log
	next    uint32
	batches []modelled
}

type modelled struct {
	batch
	received time.Time
}

func newMachine(t *rapid.T, dir string) *machine {
	m := &machine{clock: newClock()}
	m.cfg = Config{
		Dir: dir, FileBytes: rapid.Int64Range(60, 900).Draw(t, "file bytes"), Now: m.clock.Now,
		Retention: Retention{Age: time.Duration(rapid.IntRange(0, 1).Draw(t, "age")) * time.Hour},
	}
	if rapid.Bool().Draw(t, "bounded") {
		m.cfg.Retention.Bytes = 8 * m.cfg.FileBytes
	}
	m.open(t)
	return m
}

func (m *machine) open(t *rapid.T) {
	var err error
	if m.log, err = Open(m.cfg, testKeys); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) append(t *rapid.T) {
	m.next++
	b := batch{m.next, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Key {
		return Key(rapid.Uint64Range(0, 12).Draw(t, "key") * 0x1234567890abcdef)
	}), 0, 6).Draw(t, "keys"), rapid.IntRange(0, 100).Draw(t, "fill")}
	err := m.log.Append(ctx, b.encode(), slices.Clone(b.keys))
	if errors.Is(err, wal.ErrFull) && m.log.unsealed() > maxUnsealed {
		m.maintain(t)
		err = m.log.Append(ctx, b.encode(), slices.Clone(b.keys))
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

// maintain seals, and takes from the model what retention may drop: a prefix, too old or too much.
func (m *machine) maintain(t *rapid.T) {
	if err := m.log.Maintain(); err != nil {
		t.Fatal(err)
	}
	if n := m.log.unsealed(); n > 1 {
		t.Fatalf("%d files are not sealed", n)
	}
	s := m.log.Stats()
	keep, bytes := m.cfg.Retention, m.log.cfg.Retention.Bytes
	if bytes > 0 && s.Bytes > bytes && s.Log.Files > 1 {
		t.Fatalf("%d bytes in %d files, %d may stay", s.Bytes, s.Log.Files, bytes)
	}
	left := len(replayed(t, m.log))
	for _, b := range m.batches[:len(m.batches)-left] {
		if bytes == 0 && (keep.Age == 0 || m.clock.Now().Sub(b.received) <= keep.Age) {
			t.Fatalf("batch %d was dropped too early", b.number)
		}
	}
	m.batches = m.batches[len(m.batches)-left:]
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
		if e.end.File == last.Number && e.end.Offset > cut {
			m.batches = slices.DeleteFunc(m.batches, func(b modelled) bool { return b.number == e.number })
		}
	}
	if rapid.Bool().Draw(t, "also half an index") {
		_ = os.WriteFile(filepath.Join(m.cfg.Dir, "0000000000000001-00000000.idx.tmp"), []byte("half"), 0o600)
	}
	m.open(t)
}

// harm flips a bit of an index, or removes it and restarts.
func (m *machine) harm(t *rapid.T) {
	names, _ := filepath.Glob(filepath.Join(m.cfg.Dir, "*"+indexSuffix))
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(t, "index")
	if rapid.Bool().Draw(t, "lost") {
		m.log.Close()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		m.open(t)
		return
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(raw, 0)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) check(t *rapid.T) {
	var all []uint32
	byKey := map[Key][]uint32{}
	for _, b := range m.batches {
		all = append(all, b.number)
		keys := slices.Clone(b.keys)
		for _, k := range compact(keys) {
			byKey[k] = append(byKey[k], b.number)
		}
	}
	if got := replayed(t, m.log); !slices.Equal(got, all) {
		t.Fatalf("replayed %v, want %v", got, all)
	}
	for i := range uint64(14) {
		key := Key(i * 0x1234567890abcdef)
		if got := found(t, m.log, key); !slices.Equal(got, byKey[key]) {
			t.Fatalf("key %x: batches %v, want %v", uint64(key), got, byKey[key])
		}
	}
}

// shopping is a run of appends with seals between; it returns the numbers that were acknowledged.
func shopping(l *Log, batches int) (acknowledged []uint32) {
	for i := range uint32(batches) {
		if i%3 == 2 {
			_ = l.Maintain() // may fail: then it is tried again
		}
		b := batch{i, []Key{Key(i), Key(i % 2), 77}, int(i)}
		if l.Append(ctx, b.encode(), slices.Clone(b.keys)) == nil {
			acknowledged = append(acknowledged, i)
		}
	}
	return acknowledged
}

func verify(t *testing.T, l *Log, n int, acknowledged []uint32) {
	t.Helper()
	all := replayed(t, l)
	for _, number := range acknowledged {
		if !slices.Contains(all, number) {
			t.Fatalf("fault at change %d: batch %d was acknowledged and is lost", n, number)
		}
		if !slices.Contains(found(t, l, 77), number) || !slices.Contains(found(t, l, Key(number)), number) {
			t.Fatalf("fault at change %d: batch %d is not found", n, number)
		}
	}
	if err := l.Check(ctx); err != nil {
		t.Fatalf("fault at change %d: %v", n, err)
	}
}

// A crash at every change of the file system: whatever was acknowledged is found after the restart.
func TestCrashPoints(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		t.Run(string(durability), func(t *testing.T) {
			for n := 1; ; n++ {
				fs := faultfs.New()
				cfg := Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 150, Durability: durability, FS: fs}
				fs.CrashAt(n)
				var acknowledged []uint32
				if l, err := Open(cfg, testKeys); err == nil {
					acknowledged = shopping(l, 14)
					l.Close()
				}
				if durability == wal.Power {
					if err := fs.PowerCut(); err != nil {
						t.Fatal(err)
					}
				}
				cfg.FS = nil
				l, err := Open(cfg, testKeys)
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
		for n := 1; n < 120; n++ {
			fs := faultfs.New()
			l, err := Open(Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 150, FS: fs}, testKeys)
			if err != nil {
				t.Fatal(err)
			}
			fs.FailAt(n, fault)
			acknowledged := shopping(l, 14)
			if len(acknowledged) < 13 {
				t.Fatalf("fault at change %d: %d of 14 acknowledged", n, len(acknowledged))
			}
			verify(t, l, n, acknowledged)
			fs.FailAt(0, nil)
			if err := l.Maintain(); err != nil || l.unsealed() > 1 {
				t.Fatalf("fault at change %d: not mended: %v, %d unsealed", n, err, l.unsealed())
			}
			verify(t, l, n, acknowledged)
			l.Close()
		}
	}
}

// Sealing that cannot keep up pushes back before the memory is full, and appending goes on when it can again.
func TestPushBack(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir(), FileBytes: 64}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused := false
	for i := range uint32(20) {
		b := batch{i, []Key{1}, 64}
		if err := l.Append(ctx, b.encode(), b.keys); err != nil {
			if refused = errors.Is(err, wal.ErrFull); !refused {
				t.Fatal(err)
			}
		}
	}
	if !refused {
		t.Fatal("twenty files without a seal were taken")
	}
	if err := l.Maintain(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, batch{99, []Key{1}, 64}.encode(), []Key{1}); err != nil {
		t.Fatal(err)
	}
}

// Writers, readers, Run and retention at once: each batch is found as soon as Append has returned.
func TestConcurrent(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir(), FileBytes: 4 << 10}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	var home sync.WaitGroup
	home.Go(func() { _ = l.Run(running) })
	var writers sync.WaitGroup
	const writing, each = 8, 100
	for w := range uint32(writing) {
		writers.Go(func() {
			for i := range uint32(each) {
				b := batch{w*1000 + i, []Key{Key(w*1000 + i), Key(w) << 40}, 200}
				for {
					err := l.Append(ctx, b.encode(), slices.Clone(b.keys))
					if err == nil {
						break
					} else if !errors.Is(err, wal.ErrFull) {
						t.Error(err)
						return
					}
				}
				if got := found(t, l, Key(b.number)); len(got) != 1 || got[0] != b.number {
					t.Errorf("batch %d: found %v", b.number, got)
				}
			}
		})
	}
	writers.Wait()
	for w := range uint32(writing) {
		if got := found(t, l, Key(w)<<40); len(got) != each && w > 0 {
			t.Errorf("writer %d: %d batches", w, len(got))
		}
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	stop()
	home.Wait()
	if s := l.Stats(); s.Sealed < 5 || s.Damaged != 0 || s.SealFailure != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A batch whose bytes were harmed on the disk is counted; its neighbours are found.
func TestDamagedBatch(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir()}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.Close() }()
	shopping(l, 9)
	var at []wal.Position
	_ = l.wal.Replay(wal.Position{}, func(p wal.Position, _ []byte) error { at = append(at, p); return nil })
	f, err := os.OpenFile(l.wal.Files()[0].Path, os.O_WRONLY, 0)
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
	if l, err = Open(l.cfg, testKeys); err != nil {
		t.Fatal(err)
	}
	if got := found(t, l, 77); !slices.Equal(got, want) {
		t.Fatalf("found %v after the restart", got)
	}
}

func TestRetentionByAgeClosesSlowFiles(t *testing.T) {
	c := newClock()
	l, err := Open(Config{Dir: t.TempDir(), Retention: Retention{Age: 24 * time.Hour}, Now: c.Now}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range uint32(30) {
		if err := l.Append(ctx, batch{i, []Key{5}, 0}.encode(), []Key{5}); err != nil {
			t.Fatal(err)
		}
		c.move(2 * time.Hour)
		if err := l.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	if got := found(t, l, 5); len(got) < 11 || len(got) > 13 || got[len(got)-1] != 29 {
		t.Fatalf("a day of one batch every two hours: %v", got)
	}
	since := 0
	if err := l.Replay(ctx, c.Now().Add(-5*time.Hour), func(time.Time, []byte) error { since++; return nil }); err != nil || since != 2 {
		t.Fatalf("%d batches of the last five hours, %v", since, err)
	}
}
