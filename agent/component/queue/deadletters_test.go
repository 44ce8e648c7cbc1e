package queue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readDead(t *testing.T, cfg Config) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "logs", "dead", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}
