package intern

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

func TestOwn(t *testing.T) {
	texts := New()
	for i := range 20 * sets { // more than it can remember
		raw := []byte(fmt.Sprintf("name %d", i))
		view := unsafe.String(&raw[0], len(raw))
		want := strings.Clone(view)
		own, again := texts.Own(view), texts.Own(view)
		clear(raw)
		if own != want || unsafe.StringData(own) != unsafe.StringData(again) {
			t.Fatalf("%q became %q and %q", want, own, again)
		}
	}
	if texts.Own("") != "" {
		t.Error("nothing became something")
	}
}

func TestCut(t *testing.T) {
	for in, want := range map[string]int{"short": 5, strings.Repeat("x", 300): 200, strings.Repeat("x", 199) + "ä": 199, strings.Repeat("\x80", 300): 0} {
		if got := Cut(in); got != in[:want] {
			t.Errorf("%d bytes are cut to %d, want %d", len(in), len(got), want)
		}
	}
}

func BenchmarkOwn(b *testing.B) {
	texts := New()
	b.ReportAllocs()
	for b.Loop() {
		texts.Own("GET /orders/{id}")
	}
}
