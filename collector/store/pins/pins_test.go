package pins_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"weft/collector/store/pins"
	"weft/internal/wal/faultfs"
)

func TestPinsOutliveTheProcessButNotTheirTime(t *testing.T) {
	dir, now, ctx := t.TempDir(), time.Unix(1_700_000_000, 0), context.Background()
	open := func() *pins.Pins {
		p, err := pins.Open(faultfs.New(), dir, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open()
	if err := p.Pin(ctx, now, "a", "", "b", "a"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(45 * time.Minute)
	if err := p.Pin(ctx, now, "b", "c"); err != nil { // b is renewed
		t.Fatal(err)
	}
	check := func(p *pins.Pins, want string) {
		t.Helper()
		got := ""
		for _, id := range []string{"a", "b", "c", ""} {
			if p.Pinned(id) {
				got += id
			}
		}
		if got != want {
			t.Errorf("at %v: pinned %q, want %q", now, got, want)
		}
	}
	check(p, "abc")
	_ = p.Close()
	now = now.Add(30 * time.Minute)
	p = open()
	check(p, "bc")
	now = now.Add(time.Hour)
	if err := p.Pin(ctx, now, "a"); err != nil {
		t.Fatal(err)
	}
	check(p, "a")
	_ = p.Close()
}

func TestAPinThatIsNotDurableIsAnError(t *testing.T) {
	fs := faultfs.New()
	p, err := pins.Open(fs, t.TempDir(), time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	fs.FailAt(1, faultfs.ErrNoSpace)
	if err := p.Pin(t.Context(), time.Now(), "a"); err == nil || p.Pinned("a") {
		t.Errorf("pinned %v, %v", p.Pinned("a"), err)
	}
	if err := p.Pin(t.Context(), time.Now(), "a"); err != nil || !p.Pinned("a") {
		t.Errorf("tried again: %v", err)
	}
	_ = p.Close()
}

func TestTooManyPinsCostTheOldest(t *testing.T) {
	p, err := pins.Open(faultfs.New(), t.TempDir(), time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var ids []string
	for i := range 100_010 {
		ids = append(ids, fmt.Sprint(i))
	}
	if err := p.Pin(t.Context(), time.Now(), ids...); err != nil {
		t.Fatal(err)
	}
	if n, dropped := p.Len(); n != 100_000 || dropped != 10 || p.Pinned("0") || !p.Pinned("100009") {
		t.Errorf("%d pinned, %d dropped", n, dropped)
	}
}
