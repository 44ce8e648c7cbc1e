package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden files show local times
	os.Exit(m.Run())
}

// collector answers each path with a file of testdata, and every other one as the real one does.
func collector(t *testing.T, files map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := files[r.URL.RequestURI()]; ok {
			http.ServeFile(w, r, filepath.Join("testdata", name))
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"title":"Not Found","status":404,"detail":"nothing of this name is known: ` + strings.ReplaceAll(r.URL.Path, `"`, "") + `"}`))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

var shop = map[string]string{
	"/api/requests/4bf92f3577b34da6a3ce929d0e0e4736": "request.json",
	"/api/requests/hostile":                          "hostile.json",
	"/api/services":                                  "services.json",
	"/api/alerts":                                    "alerts.json",
	"/api/verdicts?history=true&endpoint=payment-2":  "verdicts.json",
	"/api/verdicts?history=true&endpoint=nobody":     "none.json",
	"/api/verdicts?history=true&endpoint=payment":    "none.json",
	"/api/services/payment":                          "verdicts.json",
	"/api/requests/empty":                            "none.json",
}

var moving = regexp.MustCompile(`just now|\d+ (s|min \d+ s|h \d+ min|days) ago|http://127\.0\.0\.1:\d+`)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	got = moving.ReplaceAll(got, []byte("…"))
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", name, got, want)
	}
}

func TestWhatAPersonReads(t *testing.T) {
	base := collector(t, shop)
	for name, print := range map[string]func(*bytes.Buffer) error{
		"request.txt": func(out *bytes.Buffer) error {
			return Request(t.Context(), out, base, "4bf92f3577b34da6a3ce929d0e0e4736", Options{Width: 120})
		},
		"request-colours.txt": func(out *bytes.Buffer) error {
			return Request(t.Context(), out, base, "4bf92f3577b34da6a3ce929d0e0e4736", Options{Width: 80, Colour: true})
		},
		"hostile.txt":     func(out *bytes.Buffer) error { return Request(t.Context(), out, base, "hostile", Options{}) },
		"health.txt":      func(out *bytes.Buffer) error { return Health(t.Context(), out, base, Options{}) },
		"why.txt":         func(out *bytes.Buffer) error { return Why(t.Context(), out, base, "payment-2", Options{}) },
		"why-service.txt": func(out *bytes.Buffer) error { return Why(t.Context(), out, base, "payment", Options{}) },
		"empty.txt":       func(out *bytes.Buffer) error { return Request(t.Context(), out, base, "empty", Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := print(&out); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
			if name != "request-colours.txt" {
				harmless(t, out.String())
			}
		})
	}
}

func harmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && steers(r) || r == utf8.RuneError && !strings.Contains(text, "�") {
			t.Fatalf("%q holds %U", text, r)
		}
	}
}

func TestJSONIsTheCollectorsAnswer(t *testing.T) {
	base := collector(t, shop)
	var out bytes.Buffer
	if err := Request(t.Context(), &out, base, "hostile", Options{JSON: true}); err != nil {
		t.Fatal(err)
	}
	harmless(t, out.String())
	raw, err := os.ReadFile("testdata/hostile.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(out.Bytes(), &got), json.Unmarshal(raw, &want)); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("got %s, want %s", a, b)
	}
	for _, print := range []func() error{
		func() error { return Health(t.Context(), &out, base, Options{JSON: true}) },
		func() error { return Why(t.Context(), &out, base, "payment-2", Options{JSON: true}) },
	} {
		out.Reset()
		if err := print(); err != nil || !json.Valid(out.Bytes()) {
			t.Errorf("%v: %s", err, out.Bytes())
		}
	}
}

func TestFailuresAreOneLineThatNamesIt(t *testing.T) {
	base := collector(t, shop)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer other.Close()
	var out bytes.Buffer
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"unknown request":  {Request(t.Context(), &out, base, "nobody", Options{}), "nobody"},
		"unknown endpoint": {Why(t.Context(), &out, base, "nobody", Options{}), `"nobody"`},
		"no collector":     {Health(t.Context(), &out, closed.URL, Options{}), closed.URL},
		"not a collector":  {Health(t.Context(), &out, other.URL, Options{}), "not the answer"},
		"not a URL":        {Health(t.Context(), &out, "::", Options{}), "::"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) || strings.Contains(tc.err.Error(), "\n") {
			t.Errorf("%s: %v", name, tc.err)
		}
	}
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, ünïcode":            "plain text, ünïcode",
		"a\x1b[31mred\x1b[0m b":          "ared b",
		"a\x1b]0;title\x07b":             "ab",
		"a\x1b]8;;http://evil\x1b\\link": "alink",
		"\x1bPq#0\x1b\\after":            "after",
		"a\u009b31mb":                    "ab",
		"two\nlines\tand\r\x00 more":     "two ⏎ lines and more",
		"left\u202eright":                "leftright",
		"\xff\xfe":                       "�",
		"\x1b":                           "",
		"\x1b[":                          "",
		"cut off \x1b]52;c;aGVsbG8":      "cut off",
		"back\x08space\x7f":              "backspace",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"\x1b[31m", "\x1b]0;x\x07", "a\u009bb", "\xff", "\x1b\x1b[[", "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		for _, r := range got {
			if steers(r) {
				t.Fatalf("clean(%q) = %q keeps %U", text, got, r)
			}
		}
		if again := clean(got); strings.TrimSpace(again) != strings.TrimSpace(got) {
			t.Fatalf("clean(%q) = %q, and of that %q", text, got, again)
		}
	})
}

// FuzzRequest prints whatever answer comes: it may be refused, but must not panic or pass a control character on.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"spans":[{"trace_id":"a","span_id":"1","parent_span_id":"2","start_unix_nano":-9e9,"duration_ns":5,"routing":{"weight":1}}],"logs":[{"trace_id":"a","span_id":"1"}]}`))
	f.Add([]byte(`{"spans":[{"span_id":"1","adopted_parent_span_id":"2","status":"error"},{"span_id":"2","parent_span_id":"1","attempt":3}],"verdicts":[{}],"alerts":[{}],"requests":[{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var a requestAnswer
		if json.Unmarshal(raw, &a) != nil {
			return
		}
		var out bytes.Buffer
		p := newPage(&out, Options{})
		p.heading(&a)
		p.tree(&a)
		p.around(&a)
		harmless(t, out.String())
	})
}

func BenchmarkRequest(b *testing.B) {
	raw, err := os.ReadFile("testdata/request.json")
	if err != nil {
		b.Fatal(err)
	}
	var a requestAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		newPage(&out, Options{}).tree(&a)
	}
}
