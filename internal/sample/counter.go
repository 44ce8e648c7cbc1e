package sample

import (
	"sync"
	"time"
)

// failedIDs is how many request IDs of failed first attempts a counter keeps: enough for a person to look at.
const failedIDs = 4

// sketchBuckets reaches 2^(255/8) microseconds, over an hour; anything longer counts as the last bucket.
const sketchBuckets = 256

// Counter counts one reporter's attempts at one endpoint since the reporter began. It is cumulative: whoever reads it
// takes differences, so a lost reading loses nothing.
type Counter struct {
	mu       sync.Mutex
	first    Counts
	retries  Counts
	latency  [sketchBuckets]uint64
	failed   [failedIDs]string
	failures int    // all so far; the next ID goes to failures % failedIDs
	passedOn string // the newest that failed further down: an example of what a dependency's fault does
}

// Observe counts one attempt; attempt is 0 for the first try of a request. latency is the time to the response; 0 when
// there was none. requestID is kept for a first attempt that failed by the endpoint's own fault, and the newest of those that
// failed further down.
func (c *Counter) Observe(attempt int, o Outcome, latency time.Duration, requestID string) {
	o = min(o, outcomes-1)
	bucket := min(max(BucketOf(latency), 0), sketchBuckets-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt > 0 {
		c.retries[o]++
		return
	}
	c.first[o]++
	if latency > 0 {
		c.latency[bucket]++
	}
	if requestID != "" && (o == Error || o == Timeout || o == ConnectFailure) {
		c.failed[c.failures%failedIDs] = requestID
		c.failures++
	} else if requestID != "" && o == Downstream {
		c.passedOn = requestID
	}
}

// Read is everything counted so far; the caller fills in which endpoint it is about.
func (c *Counter) Read() Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Sample{FirstAttempts: c.first, Retries: c.retries, Latency: Sketch{}}
	for i, n := range c.latency {
		if n > 0 {
			s.Latency[int32(i)] = n
		}
	}
	for i := range min(c.failures, failedIDs) {
		s.FailedIDs = append(s.FailedIDs, c.failed[(c.failures-1-i)%failedIDs])
	}
	if c.passedOn != "" && len(s.FailedIDs) < failedIDs {
		s.FailedIDs = append(s.FailedIDs, c.passedOn)
	}
	return s
}
