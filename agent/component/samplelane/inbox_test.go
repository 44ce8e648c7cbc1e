package samplelane

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"weft/internal/wire"
)

func TestInboxKeepsTheNewest(t *testing.T) {
	type put struct {
		at       time.Duration
		reporter string
		epoch    uint64
		sequence uint64
		age      uint32
	}
	tests := map[string]struct {
		puts  []put
		taken time.Duration
		want  []string // reporter/epoch.sequence@age, newest first
		drops map[string]int
	}{
		"one": {[]put{{0, "a", 1, 1, 10}}, 40 * time.Millisecond, []string{"a/1.1@50"}, nil},
		"superseded": {[]put{{0, "a", 1, 1, 0}, {time.Second, "a", 1, 2, 5}}, 2 * time.Second,
			[]string{"a/1.2@1005"}, map[string]int{dropSuperseded: 1}},
		"reordered": {[]put{{0, "a", 1, 2, 0}, {0, "a", 1, 1, 0}}, 0, []string{"a/1.2@0"}, map[string]int{dropReordered: 1}},
		"a restarted proxy counts from one again": {[]put{{0, "a", 1, 9, 0}, {0, "a", 2, 1, 0}}, 0,
			[]string{"a/2.1@0"}, map[string]int{dropSuperseded: 1}},
		"newest first": {[]put{{0, "a", 1, 1, 0}, {time.Second, "b", 1, 1, 0}, {500 * time.Millisecond, "c", 1, 1, 0}}, time.Second,
			[]string{"b/1.1@0", "c/1.1@500", "a/1.1@1000"}, nil},
		"stale by waiting": {[]put{{0, "a", 1, 1, 0}}, 6 * time.Second, nil, map[string]int{dropStale: 1}},
		"stale on arrival": {[]put{{0, "a", 1, 1, 5001}}, 0, nil, map[string]int{dropStale: 1}},
		"twice the same":   {[]put{{0, "a", 1, 1, 0}, {0, "a", 1, 1, 0}}, 0, []string{"a/1.1@0"}, map[string]int{dropSuperseded: 1}},
	}
	start := time.Unix(1000, 0)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			drops := map[string]int{}
			b := newInbox(func(reason string) { drops[reason]++ })
			for _, p := range test.puts {
				b.put(start.Add(p.at), &wire.SampleReport{Reporter: p.reporter, Epoch: p.epoch, Sequence: p.sequence, AgeMs: p.age})
			}
			var got []string
			for _, r := range b.take(start.Add(test.taken)) {
				got = append(got, fmt.Sprintf("%s/%d.%d@%d", r.Reporter, r.Epoch, r.Sequence, r.AgeMs))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("took %v, want %v", got, test.want)
			}
			if !maps.Equal(drops, test.drops) {
				t.Errorf("drops %v, want %v", drops, test.drops)
			}
			if again := b.take(start.Add(test.taken)); len(again) != 0 {
				t.Errorf("took %d again", len(again))
			}
		})
	}
}

func TestInboxIsBounded(t *testing.T) {
	drops := 0
	b := newInbox(func(string) { drops++ })
	start := time.Unix(1000, 0)
	for i := range maxReporters + 3 {
		b.put(start.Add(time.Duration(i)), &wire.SampleReport{Reporter: fmt.Sprint(i)})
	}
	reports := b.take(start)
	if len(reports) != maxReporters || drops != 3 {
		t.Fatalf("%d held, %d dropped", len(reports), drops)
	}
	if oldest := reports[len(reports)-1].Reporter; oldest != "3" {
		t.Errorf("oldest is %s, want 3", oldest)
	}
}

func BenchmarkInbox(b *testing.B) {
	box := newInbox(func(string) {})
	report := &wire.SampleReport{Reporter: "a/a-1"}
	now := time.Unix(1000, 0)
	b.ReportAllocs()
	for b.Loop() {
		box.put(now, report)
	}
}
