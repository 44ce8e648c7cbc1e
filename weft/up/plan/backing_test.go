package plan

import (
	"os"
	"path/filepath"
	"testing"
)

// TestServersAreLookedFor: what the search path holds runs as a server, what it lacks has a stand-in, and the table says so.
func TestServersAreLookedFor(t *testing.T) {
	folder := t.TempDir()
	program := func(name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	redis := program("redis-server")
	if err := os.WriteFile(filepath.Join(folder, "mariadbd"), nil, 0o600); err != nil { // not a program
		t.Fatal(err)
	}
	p := &Plan{Options: DefaultOptions(), Data: t.TempDir(), Run: t.TempDir(), bin: folder, addresses: newAddresses(nil)}
	p.Options.Demo.ServerPath = []string{folder}
	program("demo") // the stand-in queue
	if err := p.addBacking(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, part := range p.Parts {
		got[part.Name] = part.Program
	}
	want := map[string]string{"demo/redis-1": redis, "demo/nats-1": filepath.Join(folder, "demo")}
	if len(got) != len(want) || got["demo/redis-1"] != want["demo/redis-1"] || got["demo/nats-1"] != want["demo/nats-1"] {
		t.Errorf("runs %v, want %v", got, want)
	}
	if rows := p.StandIns(); len(rows) != 1 || rows[0].What != "database" {
		t.Errorf("the table has %v, want the database alone", rows)
	}
	if flags := p.backingFlags([]string{"mysql", "redis"}, map[string]string{"redis": "127.0.0.1:1"}); len(flags) != 4 || flags[0] != "--sqlite" || flags[2] != "--redis" {
		t.Errorf("a service is told %v", flags)
	}

	// $PATH, when nothing else is said.
	p.Options.Demo.ServerPath = nil
	t.Setenv("PATH", folder)
	if path, found := p.serverProgram("redis-server"); !found || path != redis {
		t.Errorf("on $PATH: %q, %v", path, found)
	}
}
