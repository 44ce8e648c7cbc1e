package health

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/internal/sample"
)

// TestAnyInput: whatever reporters, control and the clock do, the engine does not panic and never ejects more than it may.
func TestAnyInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.Percent = rapid.IntRange(0, 100).Draw(t, "percent")
		cfg.Settle = 0
		e := New(cfg)
		now := time.Unix(1_700_000_000, 0)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 3).Draw(t, "services")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-1000, 8000).Draw(t, "wait ms")) * time.Millisecond)
			switch rapid.IntRange(0, 9).Draw(t, "act") {
			case 0:
				e.Members(now, drawMembers(t, sizes), []string{"r/0", "r/1", "r/2"})
			case 1:
				left := e.Verdicts()
				e = New(cfg)
				e.Restore(now, left)
			case 2, 3:
				changed := e.Tick(now)
				if err := invariants(e, changed); err != nil {
					t.Fatal(err)
				}
				for _, v := range changed {
					e.Acked(now, "r/0", v.Endpoint.Service, v.Version)
				}
			default:
				e.Observe(now, drawReport(t, sizes))
			}
		}
		for range 200 {
			now = now.Add(tickLength)
			if err := invariants(e, e.Tick(now)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func drawMembers(t *rapid.T, sizes []int) []sample.Member {
	var members []sample.Member
	for s, size := range sizes {
		for i := range rapid.IntRange(0, size).Draw(t, "members") {
			members = append(members, sample.Member{Key: keyOf(s, i), Address: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "address")})
		}
	}
	return members
}

func keyOf(service, i int) sample.Key {
	return sample.Key{Service: fmt.Sprintf("s%d", service), Instance: fmt.Sprintf("s%d-%d", service, i)}
}

func drawReport(t *rapid.T, sizes []int) sample.Report {
	r := sample.Report{
		Reporter: rapid.SampledFrom([]string{"r/0", "r/1", "r/2", "s0/s0-0", "s0/s0-1"}).Draw(t, "reporter"),
		Epoch:    rapid.SampledFrom([]uint64{1, 2, 1_700_000_000_000_000_000}).Draw(t, "epoch"),
		Sequence: rapid.Uint64Range(0, 100).Draw(t, "sequence"), Age: time.Duration(rapid.IntRange(-1, 12_000).Draw(t, "age")) * time.Millisecond,
	}
	for s, size := range sizes {
		for i := range size {
			var c sample.Counts
			for o := range c {
				c[o] = rapid.Uint64Range(0, 1000).Draw(t, "count")
			}
			if rapid.IntRange(0, 20).Draw(t, "overflow") == 0 {
				c[sample.Error] = 1<<64 - 1
			}
			r.Samples = append(r.Samples, sample.Sample{
				Endpoint: keyOf(s, i), Witness: rapid.Bool().Draw(t, "witness"), FirstAttempts: c, LocallyOpen: rapid.Bool().Draw(t, "open"),
				Latency: sample.Sketch{int32(rapid.IntRange(-5, 400).Draw(t, "bucket")): rapid.Uint64Range(0, 5000).Draw(t, "responses")},
			})
		}
	}
	return r
}

// FuzzObserve reads a sequence of reports from bytes.
func FuzzObserve(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x00\x20\x00\x40\x01\x02\x01\x00\x90\x00\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg := DefaultConfig()
		cfg.Settle = 0
		e := New(cfg)
		now := time.Unix(1_700_000_000, 0)
		e.Members(now, []sample.Member{{Key: keyOf(0, 0)}, {Key: keyOf(0, 1)}, {Key: keyOf(0, 2)}}, []string{"r/0", "r/1"})
		for ; len(raw) >= 12; raw = raw[12:] {
			now = now.Add(time.Duration(raw[0]) * 10 * time.Millisecond)
			r := sample.Report{
				Reporter: fmt.Sprintf("r/%d", raw[1]%3), Epoch: uint64(raw[2] % 3), Sequence: uint64(raw[3]), Age: time.Duration(raw[4]) * 50 * time.Millisecond,
			}
			for i := range 3 {
				var c sample.Counts
				c[sample.OK], c[int(raw[5])%len(c)] = uint64(raw[6]), binary.LittleEndian.Uint64(append([]byte{}, raw[4:12]...))>>(raw[7]%64)
				r.Samples = append(r.Samples, sample.Sample{Endpoint: keyOf(0, i), Witness: raw[8]%5 == 0, FirstAttempts: c, LocallyOpen: raw[9]%2 == 0,
					Latency: sample.Sketch{int32(int8(raw[10])): uint64(raw[11])}})
			}
			e.Observe(now, r)
			if err := invariants(e, e.Tick(now)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkTick judges 1000 endpoints called by 50 reporters each, all with background errors: the worst of ordinary days.
func BenchmarkTick(b *testing.B) {
	e, reports, now := benchmarkFleet(1000, 50)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(tickLength)
		if len(e.Tick(now)) > 0 {
			b.Fatal("a verdict changed")
		}
	}
	_ = reports
}

// BenchmarkObserve takes one report about 1000 endpoints.
func BenchmarkObserve(b *testing.B) {
	e, reports, now := benchmarkFleet(1000, 50)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r := &reports[i%len(reports)]
		grow(r, i)
		e.Observe(now, *r)
		i++
	}
}

func benchmarkFleet(endpoints, reporters int) (*Engine, []sample.Report, time.Time) {
	e := New(DefaultConfig())
	now := time.Unix(1_700_000_000, 0)
	reports, members := fleet(endpoints, reporters, now)
	var names []string
	for _, r := range reports {
		names = append(names, r.Reporter)
	}
	e.Members(now, members, names)
	for i := range 240 {
		now = now.Add(tickLength)
		for r := range reports {
			grow(&reports[r], i+r)
			e.Observe(now, reports[r])
		}
		if i%20 == 0 {
			e.Tick(now)
		}
	}
	return e, reports, now
}

// grow adds five attempts at each endpoint; about one in 300 fails.
func grow(r *sample.Report, i int) {
	r.Sequence++
	for s := range r.Samples {
		c := &r.Samples[s].FirstAttempts
		c[sample.OK] += 5
		if (i*31+s*17)%60 == 0 {
			c[sample.Error]++
			c[sample.OK]--
		}
	}
}
