package weft

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseShare(t *testing.T) {
	tests := map[string]struct {
		want float64
		ok   bool
	}{"30%": {0.3, true}, "0.3": {0.3, true}, "100%": {1, true}, "0": {0, false}, "130%": {0, false}, "some": {0, false}, "": {0, false}}
	for text, test := range tests {
		if got, err := parseShare(text); got != test.want || (err == nil) != test.ok {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestRunUsage checks that wrong usage is told in words and exits with 2, and that failures exit with 1.
func TestRunUsage(t *testing.T) {
	empty := t.TempDir()
	tests := map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"help":               {[]string{"help"}, 0, ""},
		"nothing":            {nil, 0, ""},
		"unknown command":    {[]string{"upp"}, 2, `no command "upp"`},
		"unknown flag":       {[]string{"status", "--jso"}, 2, "flag provided but not defined"},
		"too few words":      {[]string{"stop"}, 2, "weft stop PART"},
		"nothing is running": {[]string{"status", "--data", empty}, 1, "no weft up is running on the data folder " + empty},
		"flag after words":   {[]string{"stop", "gateway", "--data", empty}, 1, "no weft up is running"},
		"break without how":  {[]string{"demo", "break", "payment-2", "--data", empty}, 1, "no weft up is running"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := Run(context.Background(), test.args, &stdout, &stderr); code != test.code || !strings.Contains(stderr.String(), test.stderr) {
				t.Fatalf("exit %d: %s; want %d with %q", code, stderr.String(), test.code, test.stderr)
			}
		})
	}
}

func TestRoleOf(t *testing.T) {
	tests := map[string]string{
		"routes: []\n": "gateway", "inbound: {}\n": "sidecar", "panic_percent: 50\n": "control", "listen: x\n": "", "{": "",
	}
	for text, want := range tests {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := roleOf(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
