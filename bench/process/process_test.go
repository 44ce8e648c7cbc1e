package process

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestUsageOfThisProcess(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := OwnCPU()
	for OwnCPU()-own < 100*time.Millisecond { // burn what the kernel says was burnt
	}
	after, err := CPU(os.Getpid())
	if spent := after - before; err != nil || spent < 50*time.Millisecond || spent > 10*time.Second {
		t.Errorf("%v spent, %v", spent, err)
	}
	now, most, err := Memory(os.Getpid())
	if err != nil || now < 1<<20 || most < now {
		t.Errorf("%d, at most %d, %v", now, most, err)
	}
}

func TestSlope(t *testing.T) {
	var samples []Sample
	for i := range 10 {
		samples = append(samples, Sample{At: time.Unix(int64(30*i), 0), Resident: int64(100 + 5*i)})
	}
	if got := Slope(samples); got < 9.99 || got > 10.01 { // 5 bytes in 30 s
		t.Errorf("%f bytes a minute", got)
	}
}

func TestDiskAndCache(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "a", "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, size, err := DropCache(folder) // and thereby puts it on disk, where its blocks count
	if err != nil || size != 1<<20 {
		t.Errorf("%d bytes, %v", size, err)
	}
	total, parts, err := Disk(folder)
	if err != nil || total < 1<<20 || parts["a"] != total {
		t.Errorf("%d, %v, %v", total, parts, err)
	}
}

// A program that ends by itself is not waited for, and its last words are in the error.
func TestAProgramThatEnds(t *testing.T) {
	run, err := Start(Program{Name: "sh", Path: "/bin/sh", Args: []string{"-c", "echo last words; exit 3"}, Log: filepath.Join(t.TempDir(), "log"), Ready: "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.AwaitReady(context.Background()); err == nil || run.Alive() || run.Tail() != "last words" {
		t.Errorf("%v, %q", err, run.Tail())
	}
	run.Kill()
}
