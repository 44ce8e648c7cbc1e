package steer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
	"weft/internal/wire"
)

// update is "lane term.version full +payment-1=ejected -payment/payment-2".
func update(text string) (string, *wire.VerdictUpdate) {
	words := strings.Fields(text)
	out := &wire.VerdictUpdate{TtlMs: 3000}
	fmt.Sscanf(words[1], "%d.%d", &out.Term, &out.Version)
	for _, word := range words[2:] {
		switch word[0] {
		case 'f':
			out.Full = true
		case '+':
			instance, state, _ := strings.Cut(word[1:], "=")
			out.Verdicts = append(out.Verdicts, &wire.Verdict{
				Service: "payment", Instance: instance, Version: out.Version, Enforced: true,
				State: wire.State(wire.State_value[strings.ToUpper(state)]),
			})
		case '-':
			out.Removed = append(out.Removed, word[1:])
		}
	}
	return words[0], out
}

func content(v View) string {
	var words []string
	for _, key := range slices.SortedFunc(maps.Keys(v.Verdicts), func(a, b sample.Key) int { return strings.Compare(a.Instance, b.Instance) }) {
		words = append(words, key.Instance+"="+v.Verdicts[key].State.String())
	}
	return strings.Join(words, " ")
}

func TestLedger(t *testing.T) {
	tests := map[string][][3]string{ // update, reaction, content after
		"full, then changes": {
			{"a 1.1 full +p-1=ejected", "taken", "p-1=ejected"},
			{"a 1.2 +p-2=degraded", "taken", "p-1=ejected p-2=degraded"},
			{"a 1.2", "taken", "p-1=ejected p-2=degraded"},
			{"a 1.3 -payment/p-1", "taken", "p-2=degraded"},
			{"a 1.4 full", "taken", ""},
		},
		"changes need a full set first": {
			{"a 1.1 +p-1=ejected", "partial", ""},
			{"a 1.1 full", "taken", ""},
		},
		"an older version never": {
			{"a 1.5 full +p-1=ejected", "taken", "p-1=ejected"},
			{"a 1.4 full", "stale", "p-1=ejected"},
		},
		"only the highest term": {
			{"a 2.1 full +p-1=ejected", "taken", "p-1=ejected"},
			{"b 1.9 full", "stale", "p-1=ejected"},
			{"b 3.1 +p-2=ejected", "partial", "p-1=ejected"},
			{"b 3.1 full +p-2=ejected", "taken", "p-2=ejected"},
			{"a 2.2 +p-1=healthy", "stale", "p-2=ejected"},
		},
		"two lanes of one term": {
			{"a 1.1 full +p-1=ejected", "taken", "p-1=ejected"},
			{"b 1.1 full +p-1=ejected", "taken", "p-1=ejected"},
			{"a 1.2 +p-2=degraded", "taken", "p-1=ejected p-2=degraded"},
			{"b 1.1", "stale", "p-1=ejected p-2=degraded"},
			{"b 1.2 +p-2=degraded", "taken", "p-1=ejected p-2=degraded"},
		},
		"a new stream begins with the newest word": {
			{"a 1.5 full +p-1=ejected +p-2=ejected", "taken", "p-1=ejected p-2=ejected"},
			{"hangup", "", "p-1=ejected p-2=ejected"},
			{"a 1.4 full +p-1=ejected", "taken", "p-1=ejected"}, // the verdict of version 5 is gone with its endpoint
			{"a 1.4", "taken", "p-1=ejected"},
		},
		"version may start again with a term": {
			{"a 1.900 full +p-1=ejected", "taken", "p-1=ejected"},
			{"a 2.1 full", "taken", ""},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			l := NewLedger()
			for _, step := range steps {
				if step[0] == "hangup" {
					l.hangUp("a")
					continue
				}
				lane, in := update(step[0])
				if did := l.apply(start, lane, in); string(did) != step[1] {
					t.Fatalf("%s: %s, want %s", step[0], did, step[1])
				}
				if got := content(l.At(start)); got != step[2] {
					t.Fatalf("%s: %q, want %q", step[0], got, step[2])
				}
			}
		})
	}
}

func TestLedgerExpires(t *testing.T) {
	l := NewLedger()
	apply := func(at time.Duration, text string) reaction {
		lane, in := update(text)
		return l.apply(start.Add(at), lane, in)
	}
	live := func(at time.Duration) bool { return l.At(start.Add(at)).Live }
	if live(0) {
		t.Fatal("an empty ledger is in force")
	}
	apply(0, "a 5.1 full +p-1=ejected")
	apply(2*time.Second, "a 5.1") // a heartbeat
	if !live(5 * time.Second) {
		t.Fatal("expired within the ttl of the heartbeat")
	}
	if live(5*time.Second + time.Millisecond) {
		t.Fatal("in force after the ttl of the last heartbeat")
	}
	if did := apply(6*time.Second, "b 4.9 full"); did != stale || live(6*time.Second) {
		t.Fatalf("a lower term was %s after the higher one expired", did)
	}
	l.hangUp("a")
	if did := apply(7*time.Second, "a 5.2 +p-2=ejected"); did != partial {
		t.Fatalf("changes on a new stream were %s", did)
	}
	if did := apply(7*time.Second, "a 5.2 full"); did != taken || !live(7*time.Second) {
		t.Fatalf("%s, live %v", did, live(7*time.Second))
	}
}

// A restarted control keeps the verdicts for one ttl; its successor's first word counts whatever the term after that.
func TestLedgerRestored(t *testing.T) {
	kept := View{Term: 9, Version: 4, TTL: 3 * time.Second, Verdicts: map[sample.Key]Judged{
		{Service: "payment", Instance: "p-1"}: {Term: 9, Verdict: sample.Verdict{State: sample.Ejected, Enforced: true}},
	}}
	l := NewLedger()
	l.Restore(start, kept)
	if v := l.At(start.Add(3 * time.Second)); !v.Live || content(v) != "p-1=ejected" {
		t.Fatalf("live %v, %q", v.Live, content(v))
	}
	lane, lower := update("a 2.1 full")
	if did := l.apply(start.Add(time.Second), lane, lower); did != stale {
		t.Fatalf("a lower term was %s while the kept one is in force", did)
	}
	if did := l.apply(start.Add(4*time.Second), lane, lower); did != taken {
		t.Fatalf("a lower term was %s although nobody has spoken for the kept one", did)
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l := NewLedger()
	in := &wire.VerdictUpdate{Term: 1, Version: 1, Full: true, TtlMs: 1000}
	for i := range mostVerdicts + 1 {
		in.Verdicts = append(in.Verdicts, &wire.Verdict{Service: "s", Instance: fmt.Sprint(i)})
	}
	if did := l.apply(start, "a", in); did != excess || len(l.At(start).Verdicts) != 0 {
		t.Fatalf("%s, %d verdicts", did, len(l.At(start).Verdicts))
	}
}
