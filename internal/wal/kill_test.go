package wal_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"weft/internal/wal"
)

// victim is what TestMain is for TestKill: a process that appends until it is killed, and says what was acknowledged.
func victim(dir string) {
	l, err := wal.Open(wal.Config{Dir: dir, FileBytes: 4 << 10})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	last := 0
	_ = l.Replay(wal.Position{}, func(_ wal.Position, r []byte) error {
		last = number(r)
		return nil
	})
	for i := last + 1; ; i++ {
		if _, err := l.Append(ctx, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", i%300))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func number(record []byte) int {
	text, _, _ := strings.Cut(string(record), " ")
	n, _ := strconv.Atoi(text)
	return n
}

// TestKill: whatever a process acknowledged before kill -9 is there, whole and in order, five times over.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for kill := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "WAL_VICTIM="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			acknowledged, _ = strconv.Atoi(lines.Text())
			if acknowledged%200 == 199-kill {
				_ = cmd.Process.Kill() // what it says after this still counts
			}
		}
		_ = cmd.Wait()
		next := 1
		for _, r := range second(records(t, open(t, wal.Config{Dir: dir, FileBytes: 4 << 10}))) {
			if number(r) != next {
				t.Fatalf("record %d is %q", next, r)
			}
			next++
		}
		if acknowledged == 0 || next <= acknowledged {
			t.Fatalf("kill %d: %d records, %d were acknowledged", kill, next-1, acknowledged)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }
