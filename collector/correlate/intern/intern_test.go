package intern

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

func TestOwn(t *testing.T) {
	texts := New()
	for i := range 3 * slots { // more than it can remember
		raw := []byte(fmt.Sprintf("name %d", i))
		view := unsafe.String(&raw[0], len(raw))
		want := strings.Clone(view)
		own := texts.Own(view)
		again := texts.Own(view)
		clear(raw)
		if own != want || unsafe.StringData(own) != unsafe.StringData(again) {
			t.Fatalf("%q became %q and %q", want, own, again)
		}
	}
	if long := strings.Repeat("x", longest+1); texts.Own(long) != long || texts.Own("") != "" {
		t.Error("texts at the bounds change")
	}
}
