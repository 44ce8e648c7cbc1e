package correlate

import (
	"testing"
	"time"

	"weft/collector/correlate"
)

func TestAnOffenderIsNamedOnceAnHour(t *testing.T) {
	c, now := complaints{}, time.Unix(1_800_000_000, 0)
	all := []correlate.Offender{{Service: "legacy", Label: "span_name", Items: 1}, {Service: "legacy", Label: "server", Items: 1}}
	for _, step := range []struct {
		later time.Duration
		more  uint64 // items of the first
		want  int
	}{
		{0, 0, 2}, {time.Minute, 5, 0}, {time.Hour, 5, 1}, {2 * time.Hour, 0, 0}, {time.Minute, 1, 1},
	} {
		now = now.Add(step.later)
		all[0].Items += step.more
		if got := c.due(now, all); len(got) != step.want {
			t.Errorf("at %s: %+v, want %d", now.UTC().Format(time.TimeOnly), got, step.want)
		}
	}
	if c.due(now, all[:1]); len(c) != 1 {
		t.Errorf("%d remembered of one", len(c))
	}
}
