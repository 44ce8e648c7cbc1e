package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUpRefuses wants one clear line that names what is wrong, and a non-zero exit.
func TestUpRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	alone := filepath.Join(t.TempDir(), "weft") // a weft without its siblings
	if err := os.Link(binary(t, "weft"), alone); err != nil {
		if raw, err := os.ReadFile(binary(t, "weft")); err != nil || os.WriteFile(alone, raw, 0o755) != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "up.yaml")
	if err := os.WriteFile(bad, []byte("nodes: 1\nwebhok: http://x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	free := []string{"--addr", "all=127.0.0.1:0"}
	tests := map[string]struct {
		program string
		args    []string
		want    string
	}{
		"port in use":        {binary(t, "weft"), append(free, "--addr", "gateway="+taken.Addr().String()), "gateway: cannot listen on " + taken.Addr().String()},
		"unwritable folder":  {binary(t, "weft"), append(free, "--data", file), file},
		"missing binary":     {alone, free, "is missing; run make build"},
		"not loopback":       {binary(t, "weft"), []string{"--addr", "gateway=0.0.0.0:80"}, "not a loopback address"},
		"unknown address":    {binary(t, "weft"), []string{"--addr", "gatway=127.0.0.1:0"}, "gatway"},
		"unknown key":        {binary(t, "weft"), append(free, "--config", bad), "up.yaml:2: webhok: unknown key"},
		"child dies at once": {binary(t, "weft"), append(free, "--config", dyingChild(t)), "gateway: died at start"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"up"}, test.args...)
			if !strings.Contains(strings.Join(args, " "), "--data") {
				args = append(args, "--data", t.TempDir())
			}
			out, err := exec.Command(test.program, args...).CombinedOutput()
			if err == nil {
				t.Fatalf("exit status 0: %s", out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if len(lines) != 1 || !strings.Contains(lines[0], test.want) {
				t.Fatalf("want one line with %q, got:\n%s", test.want, out)
			}
		})
	}
}

func dyingChild(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "up.yaml")
	if err := os.WriteFile(path, []byte("demo: {enabled: false}\ngateway: {no_such_key: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoOrphans kills weft up with SIGKILL: no child outlives it.
func TestNoOrphans(t *testing.T) {
	u := start(t, "", "--no-traffic")
	parts := u.parts()
	_ = u.cmd.Process.Kill()
	<-u.exited
	for _, p := range parts {
		within(t, 15*time.Second, p.Name+" is gone", func() error {
			if syscall.Kill(p.PID, 0) == nil {
				return fmt.Errorf("process %d lives", p.PID)
			}
			return nil
		})
	}
}

// TestSecondRun finds the first run's requests.
func TestSecondRun(t *testing.T) {
	u := start(t, "", "--no-traffic")
	_, id, err := u.send("POST", "/api/checkout")
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "whole", func() error { return whole(u, id) })
	u.stop()
	u.exited = make(chan struct{})
	u.run([]string{"up", "--data", u.data, "--addr", "all=127.0.0.1:0", "--no-traffic"})
	if err := whole(u, id); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
}
