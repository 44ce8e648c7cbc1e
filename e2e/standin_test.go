package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStandIns runs the demo where no server is found: it works all the same, and the table says what plays them.
func TestStandIns(t *testing.T) {
	u := start(t, fmt.Sprintf("demo: {server_path: [%q]}\n", t.TempDir()), "--no-traffic")

	for _, want := range []string{"SQLite in a file", "mariadbd was not found", "cart's memory", "redis-server was not found",
		"nats-server's own code", "nats-server was not found"} {
		if !strings.Contains(u.out.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, u.out)
		}
	}
	for _, p := range u.parts() {
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if filepath.Dir(program) != filepath.Dir(binary(t, "weft")) {
			t.Errorf("%s is %s, not a program of ours", p.Name, program)
		}
	}
	if _, err := os.Stat(filepath.Join(u.data, "demo", "shop.db")); err != nil {
		t.Errorf("the database: %v", err)
	}

	for _, ask := range []struct{ method, path string }{{http.MethodGet, "/api/home"}, {http.MethodGet, "/api/items/1"}, {http.MethodPost, "/api/checkout"}} {
		status, id, err := u.send(ask.method, ask.path)
		if err != nil || status >= 300 {
			t.Fatalf("%s %s: status %d, request %s, %v", ask.method, ask.path, status, id, err)
		}
		if ask.method == http.MethodPost {
			within(t, 10*time.Second, "the checkout is whole", func() error { return whole(u, id) })
		}
	}
	if len(u.parts()) == 0 || slices.ContainsFunc(u.parts(), func(p part) bool { return !p.Healthy }) {
		t.Errorf("not every part is healthy: %+v", u.parts())
	}
}
