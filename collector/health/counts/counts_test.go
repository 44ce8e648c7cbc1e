package counts

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/collector/health/chance"
	"weft/internal/sample"
)

var endpoint = sample.Key{Service: "payment", Instance: "payment-1"}

// TestEveryAttemptOnce: whatever the lane does to reports, short of losing all for ten seconds, every attempt is
// counted once; also those of a reporter's next process.
func TestEveryAttemptOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := NewBook(), time.Unix(1_700_000_000, 0)
		var truth, current sample.Counts
		epoch, sequence := uint64(now.UnixNano()), uint64(0)
		var held []sample.Report
		for range rapid.IntRange(1, 80).Draw(t, "reports") {
			now = now.Add(250 * time.Millisecond)
			if rapid.IntRange(0, 30).Draw(t, "restart") == 0 && sequence > 0 {
				b.Observe(now, report(epoch, sequence+1, current)) // its last word
				epoch, sequence, current = uint64(now.UnixNano()), 0, sample.Counts{}
			}
			for _, o := range []sample.Outcome{sample.OK, sample.Error, sample.Timeout, sample.Load} {
				n := rapid.Uint64Range(0, 20).Draw(t, "attempts")
				current[o] += n
				truth[o] += n
			}
			sequence += 2
			r := report(epoch, sequence, current)
			switch rapid.SampledFrom([]string{"arrives", "lost", "twice", "late"}).Draw(t, "lane") {
			case "arrives":
				b.Observe(now, r)
			case "twice":
				b.Observe(now, r)
				b.Observe(now, r)
			case "late":
				held = append(held, r)
				continue
			}
			for _, late := range held {
				late.Age = time.Second
				b.Observe(now, late)
			}
			held = nil
		}
		b.Observe(now, report(epoch, sequence+1, current))
		want := Totals{Attempts: truth.Judged(), Failed: truth.Failures()}
		if got := b.Endpoint(endpoint).Seen; got != want {
			t.Fatalf("counted %+v, want %+v", got, want)
		}
		if got := b.Endpoint(endpoint).Total.Since(0); uint64(got.Attempts()) != want.Attempts {
			t.Fatalf("%d attempts in the window, want %d", got.Attempts(), want.Attempts)
		}
	})
}

func report(epoch, sequence uint64, c sample.Counts) sample.Report {
	return sample.Report{Reporter: "orders/orders-1", Epoch: epoch, Sequence: sequence,
		Samples: []sample.Sample{{Endpoint: endpoint, FirstAttempts: c}}}
}

func TestWhatIsNotJudged(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old := uint64(now.Add(-time.Hour).UnixNano())
	failed := func(n uint64) sample.Counts { return sample.Counts{sample.Error: n} }
	for name, c := range map[string]struct {
		reports []sample.Report
		gap     time.Duration
		want    uint64
	}{
		"what a reporter counted before we listened": {[]sample.Report{report(old, 9000, failed(500)), report(old, 9001, failed(503))}, time.Second, 3},
		"what came while reports were away":          {[]sample.Report{report(old, 1, failed(1)), report(old, 2, failed(900)), report(old, 3, failed(901))}, 11 * time.Second, 0},
		"an earlier process":                         {[]sample.Report{report(old+1, 50, failed(0)), report(old, 51, failed(70))}, time.Second, 0},
		"counters that went back begin anew":         {[]sample.Report{report(old, 50, failed(20)), report(old, 51, failed(5))}, time.Second, 5},
	} {
		b, at := NewBook(), now
		for _, r := range c.reports {
			b.Observe(at, r)
			at = at.Add(c.gap)
		}
		if got := b.Endpoint(endpoint).Seen.Failed; got != c.want {
			t.Errorf("%s: %d failures counted, want %d", name, got, c.want)
		}
	}
}

// TestForgottenIsNotNew: an endpoint that was forgotten and is reported again brings its old counts along; they are old.
func TestForgottenIsNotNew(t *testing.T) {
	b, now := NewBook(), time.Unix(1_700_000_000, 0)
	epoch := uint64(now.UnixNano())
	b.Observe(now, report(epoch, 1, sample.Counts{sample.Error: 100}))
	for i := range 100 {
		now = now.Add(time.Second)
		b.Observe(now, sample.Report{Reporter: "orders/orders-1", Epoch: epoch, Sequence: uint64(2 + i)})
	}
	b.Forget(now, time.Minute, func(sample.Key) bool { return false })
	if len(b.endpoints) != 0 {
		t.Fatal("not forgotten")
	}
	b.Observe(now, report(epoch, 500, sample.Counts{sample.Error: 101}))
	if got := b.Endpoint(endpoint).Seen.Failed; got != 1 {
		t.Errorf("%d failures, want the one that is new", got)
	}
	if got := len(b.CallersOf(endpoint)); got != 1 {
		t.Errorf("%d callers", got)
	}
}

func TestOnlyTheOwnSidecarIsAWitness(t *testing.T) {
	b, now := NewBook(), time.Unix(1_700_000_000, 0)
	b.Observe(now, sample.Report{Reporter: "orders/orders-1", Sequence: 1, Samples: []sample.Sample{{Endpoint: endpoint, Witness: true}}})
	b.Observe(now, sample.Report{Reporter: endpoint.String(), Sequence: 1, Samples: []sample.Sample{{Endpoint: endpoint}, {Endpoint: endpoint, Witness: true}}})
	if b.Stats.Refused != 2 || b.Endpoint(endpoint).Witness == nil || len(b.CallersOf(endpoint)) != 0 {
		t.Errorf("refused %d, witness %v, callers %v", b.Stats.Refused, b.Endpoint(endpoint).Witness, b.CallersOf(endpoint))
	}
}

func TestInfluenceIsCapped(t *testing.T) {
	b, now := NewBook(), time.Unix(1_700_000_000, 0)
	for name, n := range map[string]uint64{"a/loud": 1000, "b/quiet": 40, "c/quiet": 60} {
		b.Observe(now, sample.Report{Reporter: name, Epoch: uint64(now.UnixNano()), Sequence: 1,
			Samples: []sample.Sample{{Endpoint: endpoint, FirstAttempts: sample.Counts{sample.Error: n}}}})
	}
	ep := b.Endpoint(endpoint)
	ep.Weigh(now, 0)
	slots := make([]chance.Tally, 1)
	ep.Tallies(slots, SlotOf(now), Failures)
	if got := slots[0].N; got < 299 || got > 301 { // 100 of the quiet ones and twice that of the loud one
		t.Errorf("counts for %.1f attempts, want 300", got)
	}
}
