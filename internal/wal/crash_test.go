package wal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weft/internal/wal"
	"weft/internal/wal/faultfs"
)

// history is what a process was told about its log before it crashed: records are numbered in the order of appends.
type history struct {
	appended     int // tried; the last one may be there or not
	acknowledged int
	asked        int // DropBefore was called for the records before this one,
	dropped      int // and returned
	at           []wal.Position
}

// live is three lives of one log, with every kind of operation in them. It ends where the file system crashes.
func (h *history) live(cfg wal.Config) {
	for life := range 3 {
		l, err := wal.Open(cfg)
		if err != nil {
			return
		}
		ended := h.work(l)
		if l.Close() != nil || ended != nil {
			return
		}
		if files := l.Files(); life == 0 { // what a crash leaves behind a record: the next Open has something to cut off
			last := files[len(files)-1]
			if f, err := os.OpenFile(last.Path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
				f.WriteString("\xe1WAL torn")
				f.Close()
			}
		}
	}
}

func (h *history) work(l *wal.Log) error {
	for range 5 {
		if err := h.append(l); err != nil {
			return err
		}
	}
	if err := l.Rotate(); err != nil {
		return err
	}
	if err := h.append(l); err != nil {
		return err
	}
	// The position may be in the middle of a file: what is there is not dropped.
	h.asked = h.acknowledged - 3
	if err := l.DropBefore(h.at[h.asked]); err != nil {
		return err
	}
	h.dropped = h.asked
	return nil
}

func (h *history) append(l *wal.Log) error {
	h.appended++
	p, err := l.Append(ctx, payload(h.acknowledged))
	if err == nil {
		h.acknowledged++
		h.at = append(h.at, p)
	}
	return err
}

// judge looks at what a new process finds.
func (h *history) judge(t *testing.T, cfg wal.Config) {
	t.Helper()
	l := open(t, cfg)
	positions, got := records(t, l)
	first := h.acknowledged
	if len(got) > 0 {
		if _, err := fmt.Sscanf(string(got[0]), "record %d", &first); err != nil {
			t.Fatalf("found %q", got[0])
		}
	}
	if first > h.asked && h.asked < h.acknowledged {
		t.Fatalf("begins with record %d, only those before %d may be gone", first, h.asked)
	}
	for i, r := range got {
		if !bytes.Equal(r, payload(first+i)) {
			t.Fatalf("record %d is %q", first+i, r)
		}
	}
	if end := first + len(got); end < h.acknowledged || end > h.appended {
		t.Fatalf("ends before record %d, %d were acknowledged and %d appended", end, h.acknowledged, h.appended)
	}
	if h.dropped > 0 && len(got) > 0 && positions[0].File < h.at[h.dropped].File {
		t.Fatalf("file %x is back, it was dropped", positions[0].File)
	}
	mustAppend(t, l, []byte("more"))
	l.Close()
	if _, again := records(t, open(t, cfg)); len(again) != len(got)+1 {
		t.Fatalf("%d records, then one more, then %d", len(got), len(again))
	}
}

// A crash at every change of the file system that three lives of a log make, its opening and dropping included: by the
// process; by the power, where what was not synced is cut off; and by the power where it is left as zeros.
func TestCrashAtEveryOperation(t *testing.T) {
	tests := map[string]struct {
		durability wal.Durability
		cut        func(*faultfs.FS)
	}{
		"process":              {wal.Process, nil},
		"power":                {wal.Power, func(*faultfs.FS) {}},
		"power, zeros instead": {wal.Power, (*faultfs.FS).KeepZeros},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				fs := faultfs.New()
				fs.CrashAt(n)
				cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "new", "log"), FileBytes: 100, Durability: test.durability, FS: fs}
				h := &history{}
				h.live(cfg)
				done := fs.Changes() < n
				if test.cut != nil {
					test.cut(fs)
					if err := fs.PowerCut(); err != nil {
						t.Fatal(err)
					}
				}
				cfg.FS = nil
				t.Run(fmt.Sprint(n), func(t *testing.T) { h.judge(t, cfg) })
				if done || t.Failed() {
					if n < 40 {
						t.Errorf("only %d changes: the lives are too quiet", n)
					}
					return
				}
			}
		})
	}
}

// A disk that is full refuses records, and nothing else: what is in is read, dropped and found again, also by a process
// that starts while it is full.
func TestFullDisk(t *testing.T) {
	for _, durability := range []wal.Durability{wal.Process, wal.Power} {
		fs := faultfs.New()
		cfg := wal.Config{Dir: filepath.Join(t.TempDir(), "log"), FileBytes: 100, Durability: durability, FS: fs}
		h := &history{}
		l := open(t, cfg)
		if err := h.work(l); err != nil {
			t.Fatal(err)
		}
		fs.Fill(true)
		for range 3 {
			if err := h.append(l); err == nil {
				t.Fatal("a record went onto a full disk")
			}
		}
		if _, got := records(t, l); len(got) < h.acknowledged-h.dropped {
			t.Fatalf("%d records while it is full", len(got))
		}
		l = open(t, cfg) // as after kill -9: the first one was not closed
		if err := l.DropBefore(h.at[h.acknowledged-1]); err != nil {
			t.Fatal(err)
		}
		h.asked = h.acknowledged - 1
		fs.Fill(false)
		if err := h.append(l); err != nil {
			t.Fatal(err)
		}
		l.Close()
		h.judge(t, cfg)
	}
}
