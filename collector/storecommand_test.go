package collector

import (
	"path/filepath"
	"strings"
	"testing"

	"weft/collector/store"
	"weft/collector/store/storetest"
)

func TestStoreCommand(t *testing.T) {
	data := t.TempDir()
	run := func(args ...string) (string, error) {
		var out strings.Builder
		err := storeCommand(t.Context(), append(args, "--data", data), &out)
		return out.String(), err
	}
	if _, err := run("stats"); err == nil || !strings.Contains(err.Error(), "no stores there") {
		t.Errorf("an empty folder: %v", err)
	}
	cfg := store.DefaultConfig()
	cfg.Dir = filepath.Join(data, "store")
	set, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Traces.Append(t.Context(), storetest.Batch(storetest.Span(1, 1, "request_id", "order-1"), storetest.Span(2, 2))); err != nil {
		t.Fatal(err)
	}
	if _, err := run("check"); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("while the collector runs: %v", err)
	}
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args string
		want string
	}{
		{"check", "every record and every segment is sound"},
		{"stats", "traces  0         0     0"},
		{"erase order-1", "1 spans and 0 log records of order-1 are erased"},
		{"stats", "traces  1         1 "},
		{"repair", "traces  1         1 "},
	} {
		if out, err := run(strings.Fields(step.args)...); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("store %s: %q, %v", step.args, out, err)
		}
	}
	for _, wrong := range []string{"", "erase", "polish", "check this"} {
		if _, err := run(strings.Fields(wrong)...); err == nil {
			t.Errorf("store %s is taken", wrong)
		}
	}
}
