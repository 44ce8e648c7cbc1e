package sample

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestCounterCountsEachAttemptOnce(t *testing.T) {
	var c Counter
	c.Observe(0, OK, 5*time.Millisecond, "a")
	c.Observe(0, Error, 2*time.Millisecond, "b")
	c.Observe(0, ConnectFailure, 0, "c")
	c.Observe(0, Load, time.Millisecond, "d")
	c.Observe(1, Error, time.Millisecond, "e")
	s := c.Read()
	if s.FirstAttempts.Total() != 4 || s.FirstAttempts.Failures() != 2 || s.Retries != (Counts{Error: 1}) {
		t.Fatalf("first %v retries %v", s.FirstAttempts, s.Retries)
	}
	if s.Latency.Count() != 3 {
		t.Fatalf("%d latencies, want those of the 3 first attempts that got a response", s.Latency.Count())
	}
	if got := s.Latency.Quantile(1); got < 4*time.Millisecond || got > 6*time.Millisecond {
		t.Fatalf("slowest %v, want about 5 ms", got)
	}
	if want := []string{"c", "b"}; !slices.Equal(s.FailedIDs, want) {
		t.Fatalf("failed IDs %v, want %v: newest first, own faults of first attempts only", s.FailedIDs, want)
	}
}

func TestCounterKeepsTheNewestFailures(t *testing.T) {
	var c Counter
	for i := range 7 {
		c.Observe(0, Timeout, 0, fmt.Sprint(i))
	}
	if got, want := c.Read().FailedIDs, []string{"6", "5", "4", "3"}; !slices.Equal(got, want) {
		t.Fatalf("failed IDs %v, want %v", got, want)
	}
}

func TestCounterIsSafeForConcurrentUse(t *testing.T) {
	var c Counter
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c.Observe(0, OK, 100*time.Hour, "")
				_ = c.Read()
			}
		})
	}
	wg.Wait()
	if s := c.Read(); s.FirstAttempts[OK] != 8000 || s.Latency.Count() != 8000 {
		t.Fatalf("counted %d and %d latencies", s.FirstAttempts[OK], s.Latency.Count())
	}
}

func BenchmarkCounterObserve(b *testing.B) {
	var c Counter
	b.ReportAllocs()
	for b.Loop() {
		c.Observe(0, OK, 3*time.Millisecond, "4bf92f3577b34da6a3ce929d0e0e4736")
	}
}
