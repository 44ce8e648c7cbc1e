package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WAL_VICTIM"); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

func open(t testing.TB, cfg wal.Config) *wal.Log {
	t.Helper()
	l, err := wal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func records(t testing.TB, l *wal.Log) (positions []wal.Position, out [][]byte) {
	t.Helper()
	err := l.Replay(wal.Position{}, func(p wal.Position, r []byte) error {
		positions, out = append(positions, p), append(out, bytes.Clone(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return positions, out
}

func mustAppend(t testing.TB, l *wal.Log, record []byte) wal.Position {
	t.Helper()
	p, err := l.Append(ctx, record)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAppendReadReplayRotate(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		t.Run(string(durability), func(t *testing.T) {
			cfg := wal.Config{Dir: t.TempDir(), FileBytes: 200, Durability: durability}
			l := open(t, cfg)
			var want [][]byte
			var at []wal.Position
			for i := range 20 {
				r := bytes.Repeat([]byte{byte(i)}, i*5)
				at, want = append(at, mustAppend(t, l, r)), append(want, r)
			}
			check := func(l *wal.Log) {
				t.Helper()
				positions, got := records(t, l)
				if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(positions) != fmt.Sprint(at) {
					t.Fatalf("replayed %v at %v, want %v at %v", got, positions, want, at)
				}
				for i, p := range at {
					if r, err := l.Read(p); err != nil || !bytes.Equal(r, want[i]) {
						t.Fatalf("Read(%v) = %v, %v", p, r, err)
					}
				}
			}
			check(l)
			if n := len(l.Files()); n < 5 {
				t.Fatalf("%d files, expected rotation", n)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(ctx, []byte("x")); !errors.Is(err, wal.ErrClosed) {
				t.Fatalf("append after close: %v", err)
			}
			l = open(t, cfg)
			check(l)
			var from []wal.Position
			if err := l.Replay(at[7], func(p wal.Position, _ []byte) error { from = append(from, p); return nil }); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(from) != fmt.Sprint(at[7:]) {
				t.Fatalf("replay from %v gave %v", at[7], from)
			}
			if err := l.DropBefore(at[10]); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Read(at[0]); !errors.Is(err, wal.ErrGone) {
				t.Fatalf("read of a dropped record: %v", err)
			}
			if r, err := l.Read(at[10]); err != nil || !bytes.Equal(r, want[10]) {
				t.Fatalf("DropBefore took the record it was to keep: %v", err)
			}
		})
	}
}

func TestGroupCommit(t *testing.T) {
	fs := faultfs.New()
	l := open(t, wal.Config{Dir: t.TempDir(), Durability: wal.Power, FS: fs})
	const appenders, each = 16, 50
	var wait sync.WaitGroup
	for a := range appenders {
		wait.Go(func() {
			for i := range each {
				r := fmt.Appendf(nil, "%d-%d", a, i)
				p, err := l.Append(ctx, r[:1], r[1:])
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := l.Read(p); err != nil || !bytes.Equal(got, r) {
					t.Errorf("Read(%v) = %q, %v; want %q", p, got, err, r)
				}
			}
		})
	}
	wait.Wait()
	if _, all := records(t, l); len(all) != appenders*each {
		t.Fatalf("%d records", len(all))
	}
	s := l.Stats()
	if s.Records != appenders*each || s.Syncs != s.Groups || s.Groups > s.Records {
		t.Fatalf("stats %+v", s)
	}
}

func TestLimits(t *testing.T) {
	fs := faultfs.New()
	free := uint64(50)
	fs.Space(func() (uint64, uint64) { return free, 100 })
	l := open(t, wal.Config{Dir: t.TempDir(), MaxRecord: 100, MaxBytes: 300, Reserve: 5, FS: fs})
	if _, err := l.Append(ctx, make([]byte, 101)); !errors.Is(err, wal.ErrTooLarge) {
		t.Fatalf("too large: %v", err)
	}
	mustAppend(t, l, make([]byte, 100))
	mustAppend(t, l, make([]byte, 100))
	if _, err := l.Append(ctx, make([]byte, 100)); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("over the cap: %v", err)
	}
	free = 4
	l = open(t, wal.Config{Dir: t.TempDir(), Reserve: 5, FS: fs})
	if _, err := l.Append(ctx, []byte("x")); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("into the reserve: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Append(canceled, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
	if _, err := wal.Open(wal.Config{Durability: "never", Reserve: 99}); err == nil {
		t.Fatal("a bad configuration was accepted")
	}
}

// A damaged record in the middle is stepped over and reported; its neighbours are read, before and after a restart.
func TestQuarantine(t *testing.T) {
	tests := map[string]func(file []byte, at, next int64) []byte{
		"payload":       func(f []byte, at, _ int64) []byte { f[at+20] ^= 1; return f },
		"length":        func(f []byte, at, _ int64) []byte { f[at+4] ^= 0xff; return f },
		"magic":         func(f []byte, at, _ int64) []byte { f[at] = 0; return f },
		"zeroed":        func(f []byte, at, next int64) []byte { clear(f[at:next]); return f },
		"bytes missing": func(f []byte, at, _ int64) []byte { return append(f[:at+7], f[at+9:]...) },
		"bytes added": func(f []byte, at, _ int64) []byte {
			return append(f[:at+7:at+7], append([]byte("\xe1WAL\xe1WAL"), f[at+7:]...)...)
		},
	}
	for name, harm := range tests {
		t.Run(name, func(t *testing.T) {
			var damage []wal.Damage
			cfg := wal.Config{Dir: t.TempDir(), OnDamage: func(d wal.Damage) { damage = append(damage, d) }}
			l := open(t, cfg)
			var at []wal.Position
			for i := range 5 {
				at = append(at, mustAppend(t, l, bytes.Repeat([]byte{'a' + byte(i)}, 30)))
			}
			path := l.Files()[0].Path
			l.Close()
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, harm(raw, at[2].Offset, at[3].Offset), 0o600); err != nil {
				t.Fatal(err)
			}
			l = open(t, cfg)
			_, got := records(t, l)
			if string(bytes.Join(got, nil)) != string(bytes.Repeat([]byte("a"), 30))+string(bytes.Repeat([]byte("b"), 30))+
				string(bytes.Repeat([]byte("d"), 30))+string(bytes.Repeat([]byte("e"), 30)) {
				t.Fatalf("replayed %q", got)
			}
			if len(damage) != 1 || damage[0].Offset != at[2].Offset || l.Stats().Damaged != 1 {
				t.Fatalf("damage %+v", damage)
			}
			tail := l.Tail(wal.Position{})
			defer tail.Close()
			if _, followed := rest(t, tail); fmt.Sprint(followed) != fmt.Sprint(got) || len(damage) != 2 || damage[1] != damage[0] {
				t.Fatalf("a tail read %q, and saw damage %+v", followed, damage)
			}
			if _, err := l.Read(at[2]); !errors.Is(err, wal.ErrGone) {
				t.Fatalf("read of the damaged record: %v", err)
			}
			p := mustAppend(t, l, []byte("after"))
			if r, err := l.Read(p); err != nil || string(r) != "after" {
				t.Fatalf("append after damage: %q, %v", r, err)
			}
		})
	}
}

// Every cut of the newest file leaves a prefix of the records, and the log goes on from there.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, wal.Config{Dir: dir})
	for i := range 4 {
		mustAppend(t, l, bytes.Repeat([]byte{byte(i)}, 10*i))
	}
	at, _ := records(t, l)
	path := l.Files()[0].Path
	l.Close()
	whole, _ := os.ReadFile(path)
	for cut := range whole {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, wal.Config{Dir: dir})
		want := 0
		for want < len(at)-1 && at[want+1].Offset <= int64(cut) {
			want++
		}
		positions, got := records(t, l)
		if len(got) != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, len(got), want)
		}
		if torn := l.Stats().Torn; torn != int64(cut)-at[want].Offset && want < len(at) {
			t.Fatalf("cut at %d: torn %d", cut, torn)
		}
		p := mustAppend(t, l, []byte("more"))
		if again, got := records(t, l); len(again) != len(positions)+1 || again[want] != p || string(got[want]) != "more" {
			t.Fatalf("cut at %d: append after it is lost", cut)
		}
		l.Close()
	}
}

// A crash at every change of the file system, by the process or by the power: what was acknowledged is there after
// the restart, in order, and nothing is there that was never appended.
func TestCrashPoints(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		t.Run(string(durability), func(t *testing.T) {
			for n := 1; ; n++ {
				fs := faultfs.New()
				cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 100, Durability: durability, FS: fs}
				fs.CrashAt(n)
				acknowledged := appendUntilCrash(cfg)
				if durability == wal.Power {
					if err := fs.PowerCut(); err != nil {
						t.Fatal(err)
					}
				}
				cfg.FS = nil
				_, got := records(t, open(t, cfg))
				if len(got) < acknowledged || len(got) > 12 {
					t.Fatalf("crash at change %d: %d records, %d were acknowledged", n, len(got), acknowledged)
				}
				for i, r := range got {
					if !bytes.Equal(r, payload(i)) {
						t.Fatalf("crash at change %d: record %d is %q", n, i, r)
					}
				}
				if fs.Changes() < n {
					return // the run ended before the crash point: every point was tried
				}
			}
		})
	}
}

func payload(i int) []byte {
	return fmt.Appendf(nil, "record %d %s", i, bytes.Repeat([]byte("."), i*3))
}

func appendUntilCrash(cfg wal.Config) (acknowledged int) {
	l, err := wal.Open(cfg)
	if err != nil {
		return 0
	}
	defer l.Close()
	for i := range 12 {
		if _, err := l.Append(ctx, payload(i)); err != nil {
			return i
		}
	}
	return 12
}

// One failing change is one refused record at most; the log goes on by itself, and refused records stay away.
func TestFaults(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		for n := 1; n < 60; n++ {
			fs := faultfs.New()
			cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 100, Durability: durability, FS: fs}
			l := open(t, cfg)
			fs.FailAt(n, faultfs.ErrNoSpace)
			var want [][]byte
			refused := 0
			for i := range 12 {
				if _, err := l.Append(ctx, payload(i)); err == nil {
					want = append(want, payload(i))
				} else if !errors.Is(err, wal.ErrFull) {
					t.Fatalf("fault at %d: %v", n, err)
				} else {
					refused++
				}
			}
			if refused > 1 {
				t.Fatalf("%s: fault at change %d refused %d records", durability, n, refused)
			}
			if _, got := records(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s: fault at change %d: %q, want %q", durability, n, got, want)
			}
			l.Close()
			fs.FailAt(0, nil)
			if _, got := records(t, open(t, cfg)); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s: fault at change %d, reopened: %q, want %q", durability, n, got, want)
			}
		}
	}
}

// Random appends, drops, rotations and restarts from a copy that was cut at any byte, against a slice.
func TestModel(t *testing.T) {
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		cfg := wal.Config{Dir: filepath.Join(root, fmt.Sprint(runs)), FileBytes: rapid.Int64Range(40, 600).Draw(t, "file bytes")}
		l, err := wal.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { l.Close() }()
		type entry struct {
			at     wal.Position
			record []byte
		}
		var model []entry
		tail := l.Tail(wal.Position{})
		defer func() { tail.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				r := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "record")
				p, err := l.Append(ctx, r)
				if err != nil {
					t.Fatal(err)
				}
				model = append(model, entry{p, r})
			},
			"rotate": func(t *rapid.T) {
				if err := l.Rotate(); err != nil {
					t.Fatal(err)
				}
			},
			"drop": func(t *rapid.T) {
				files := l.Files()
				keep := rapid.SampledFrom(files).Draw(t, "keep").Number
				if err := l.DropBefore(wal.Position{File: keep}); err != nil {
					t.Fatal(err)
				}
				for len(model) > 0 && model[0].at.File < keep {
					model = model[1:]
				}
			},
			"crash": func(t *rapid.T) {
				l.Close()
				files := l.Files()
				last := files[len(files)-1]
				cut := rapid.Int64Range(0, last.Size).Draw(t, "cut")
				if err := os.Truncate(last.Path, cut); err != nil {
					t.Fatal(err)
				}
				for n := len(model); n > 0; n-- {
					end := model[n-1].at.After(model[n-1].record)
					if end.File < last.Number || end.Offset <= cut {
						break
					}
					model = model[:n-1]
				}
				if l, err = wal.Open(cfg); err != nil {
					t.Fatal(err)
				}
				tail.Close()
				tail = l.Tail(wal.Position{})
			},
			"follow": func(t *rapid.T) {
				from := tail.Position()
				var want []wal.Position
				for _, e := range model {
					if !e.at.Before(from) {
						want = append(want, e.at)
					}
				}
				if got, _ := rest(t, tail); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("from %v on a tail read %v, want %v", from, got, want)
				}
			},
			"": func(t *rapid.T) {
				i := 0
				err := l.Replay(wal.Position{}, func(p wal.Position, r []byte) error {
					if i >= len(model) || model[i].at != p || !bytes.Equal(model[i].record, r) {
						t.Fatalf("record %d is %q at %v, model has %d", i, r, p, len(model))
					}
					i++
					return nil
				})
				if err != nil || i != len(model) {
					t.Fatalf("%d records (%v), want %d", i, err, len(model))
				}
				for _, e := range model {
					if r, err := l.Read(e.at); err != nil || !bytes.Equal(r, e.record) {
						t.Fatalf("Read(%v) = %q, %v", e.at, r, err)
					}
				}
			},
		})
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 48 << 10} {
		for _, durability := range []wal.Durability{wal.Process, wal.Power} {
			b.Run(fmt.Sprintf("%s/%dKiB", durability, size>>10), func(b *testing.B) {
				l := open(b, wal.Config{Dir: b.TempDir(), Durability: durability})
				record := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := l.Append(ctx, record); err != nil {
							b.Fatal(err)
						}
						if f := l.Files(); len(f) > 4 {
							l.DropBefore(wal.Position{File: f[len(f)-1].Number})
						}
					}
				})
			})
		}
	}
}
