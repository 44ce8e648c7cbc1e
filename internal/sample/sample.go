// Package sample holds what proxies saw of endpoints, and what was concluded from it: Sample, Sketch and Verdict.
package sample

import "time"

// Outcome classes one attempt. Every attempt has exactly one.
type Outcome uint8

const (
	OK             Outcome = iota
	Error                  // the endpoint answered 5xx, or broke off its response
	Timeout                // no response in time
	ConnectFailure         // no connection
	Load                   // 429, 503 with Retry-After, or Weft's own answer: less weight, never ejection
	Aborted                // the client left first
	Downstream             // the endpoint failed because a call of its own did
	outcomes
)

// String is the outcome's name in attributes, metrics and evidence.
func (o Outcome) String() string {
	return [...]string{"ok", "error", "timeout", "connect_failure", "load", "aborted", "downstream", "unknown"}[min(o, outcomes)]
}

// Counts are attempts by outcome, cumulative or the difference of two cumulative readings.
type Counts [outcomes]uint64

// Failures are the attempts that speak against the endpoint itself.
func (c Counts) Failures() uint64 { return c[Error] + c[Timeout] + c[ConnectFailure] }

// Judged are the attempts a judgement may rest on: failures and successes. Load, aborts and downstream faults say
// nothing about the endpoint.
func (c Counts) Judged() uint64 { return c[OK] + c.Failures() }

// Total counts every attempt.
func (c Counts) Total() uint64 {
	var n uint64
	for _, v := range c {
		n += v
	}
	return n
}

// Sub is c − earlier, per outcome; a counter that went backwards counts from zero.
func (c Counts) Sub(earlier Counts) Counts {
	var d Counts
	for i := range c {
		if c[i] >= earlier[i] {
			d[i] = c[i] - earlier[i]
		} else {
			d[i] = c[i]
		}
	}
	return d
}

// Add is c + other, per outcome.
func (c Counts) Add(other Counts) Counts {
	for i := range c {
		c[i] += other[i]
	}
	return c
}

// Key names an endpoint by its instance identity, not its address.
type Key struct {
	Service  string
	Instance string
}

// String is "service/instance", the form used on the wire, in evidence and by the weft command.
func (k Key) String() string { return k.Service + "/" + k.Instance }

// Sample is one reporter's cumulative view of one endpoint.
type Sample struct {
	Endpoint      Key
	Address       string
	Version       string // the endpoint's service.version
	Witness       bool   // the reporter is the endpoint's own inbound sidecar
	FirstAttempts Counts
	Retries       Counts
	Latency       Sketch // first attempts that got a response
	FailedIDs     []string
	LocallyOpen   bool
}

// Report is everything one reporter has counted since its epoch began. A report replaces the reporter's earlier
// ones, so loss and duplication change nothing.
type Report struct {
	Reporter string // "service/instance", stamped by the receiver
	Epoch    uint64 // Unix nanoseconds at which the reporter began to count
	Sequence uint64
	Age      time.Duration // since the counters were read
	Samples  []Sample
}

// Member is an endpoint that control knows.
type Member struct {
	Key      Key
	Address  string
	Version  string
	Protocol string // "http" or "tcp"
	Zone     string
}
