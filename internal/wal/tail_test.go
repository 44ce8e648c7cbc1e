package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"weft/internal/wal"
)

// rest reads a tail to the end of the log.
func rest(t interface {
	Helper()
	Fatal(...any)
}, tail *wal.Tail) (positions []wal.Position, out [][]byte) {
	t.Helper()
	for {
		p, r, err := tail.Next()
		if err == io.EOF {
			return positions, out
		} else if err != nil {
			t.Fatal(err)
		}
		positions, out = append(positions, p), append(out, bytes.Clone(r))
	}
}

func TestATailGoesOnWhereItWas(t *testing.T) {
	cfg := wal.Config{Dir: t.TempDir(), FileBytes: 200}
	l := open(t, cfg)
	tail := l.Tail(wal.Position{})
	defer tail.Close()
	if _, got := rest(t, tail); len(got) != 0 {
		t.Fatalf("an empty log gave %q", got)
	}
	var at []wal.Position
	for i := range 20 {
		at = append(at, mustAppend(t, l, payload(i)))
		if i%3 != 0 {
			continue
		}
		positions, got := rest(t, tail)
		want := max(0, i-2) // where it was three appends ago
		for k, r := range got {
			if positions[k] != at[want+k] || !bytes.Equal(r, payload(want+k)) {
				t.Fatalf("read %q at %v, want record %d at %v", r, positions[k], want+k, at[want+k])
			}
		}
		if len(got) != i+1-want {
			t.Fatalf("%d records, want %d", len(got), i+1-want)
		}
	}
	again := l.Tail(at[7])
	defer again.Close()
	if positions, _ := rest(t, again); fmt.Sprint(positions) != fmt.Sprint(at[7:]) {
		t.Fatalf("from %v on: %v", at[7], positions)
	}
	// Files that are dropped under a tail are passed over.
	late := l.Tail(wal.Position{})
	defer late.Close()
	if err := l.DropBefore(at[15]); err != nil {
		t.Fatal(err)
	}
	positions, _ := rest(t, late)
	if len(positions) == 0 || positions[0].File != at[15].File {
		t.Fatalf("after a drop: %v", positions)
	}
	l.Close()
	if _, _, err := tail.Next(); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("of a closed log: %v", err)
	}
	<-l.Changed()
}

// Appenders, and one that follows and drops what it has read: it sees every record once, in the order of the log, which
// is the order that OnAppend tells.
func TestFollowing(t *testing.T) {
	const appenders, each = 8, 200
	var told []wal.Position
	l := open(t, wal.Config{Dir: t.TempDir(), FileBytes: 2000, OnAppend: func(p wal.Position, parts [][]byte) {
		if len(parts) != 2 {
			t.Errorf("%d parts", len(parts))
		}
		told = append(told, p)
	}})
	var wait sync.WaitGroup
	for a := range appenders {
		wait.Go(func() {
			for i := range each {
				if _, err := l.Append(ctx, fmt.Appendf(nil, "%d-", a), fmt.Appendf(nil, "%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tail := l.Tail(wal.Position{})
	defer tail.Close()
	var read []wal.Position
	next := map[int]int{}
	for len(read) < appenders*each {
		changed := l.Changed()
		p, r, err := tail.Next()
		if err == io.EOF {
			<-changed
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		var a, i int
		if _, err := fmt.Sscanf(string(r), "%d-%d", &a, &i); err != nil || next[a] != i {
			t.Fatalf("read %q, want number %d of it", r, next[a])
		}
		next[a]++
		if read = append(read, p); len(read)%100 == 0 {
			if err := l.DropBefore(tail.Position()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait.Wait()
	if fmt.Sprint(told) != fmt.Sprint(read) {
		t.Fatal("OnAppend and the tail do not agree")
	}
	if n := len(l.Files()); n > 20 {
		t.Errorf("%d files left", n)
	}
}
