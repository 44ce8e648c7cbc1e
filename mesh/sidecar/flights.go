package sidecar

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/forward"
	"weft/internal/sample"
)

const (
	maxFlights = 1 << 16
	// tcpBlame is how long after the failure of a TCP route's endpoint a 5xx of the application is put down to it: a
	// connection belongs to no request, so time is all there is to go by.
	tcpBlame = 2 * time.Second
)

// flights are the requests that the application is working on now. They tie what it calls to what it was asked, also
// when it drops the trace context or the request ID on the way.
type flights struct {
	mu        sync.Mutex
	byTrace   map[[16]byte]*flight
	byRequest map[string]*flight

	untied    atomic.Uint64
	tcpCause  string
	tcpFailed time.Time
}

// flight is one request in the application; requests of one trace, and of one request ID, are chained.
type flight struct {
	call        *forward.Call
	client      context.Context // ends when the caller leaves
	cause       string          // "service/instance" whose failure this request met; empty for none
	nextTrace   *flight
	nextRequest *flight
}

func newFlights() *flights {
	return &flights{byTrace: map[[16]byte]*flight{}, byRequest: map[string]*flight{}}
}

// begin is nil when too many requests are in flight: they are served, only not tied.
func (f *flights) begin(ctx context.Context, call *forward.Call) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byTrace) >= maxFlights || len(f.byRequest) >= maxFlights {
		f.untied.Add(1)
		return nil
	}
	x := &flight{call: call, client: ctx, nextTrace: f.byTrace[call.TraceID], nextRequest: f.byRequest[call.RequestID]}
	f.byTrace[call.TraceID], f.byRequest[call.RequestID] = x, x
	return x
}

func (f *flights) end(x *flight) {
	if x == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	unlink(f.byTrace, x.call.TraceID, x, func(y *flight) **flight { return &y.nextTrace })
	unlink(f.byRequest, x.call.RequestID, x, func(y *flight) **flight { return &y.nextRequest })
}

func unlink[K comparable](m map[K]*flight, key K, x *flight, next func(*flight) **flight) {
	head := m[key]
	for at := &head; *at != nil; at = next(*at) {
		if *at == x {
			*at = *next(x)
			break
		}
	}
	if head == nil {
		delete(m, key)
	} else {
		m[key] = head
	}
}

// ofTrace and ofRequest are what a flight says of itself; false when there is none.
func (f *flights) ofTrace(trace [16]byte) (forward.Call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return told(f.byTrace[trace])
}

func (f *flights) ofRequest(id string) (forward.Call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return told(f.byRequest[id])
}

func told(x *flight) (forward.Call, bool) {
	if x == nil {
		return forward.Call{}, false
	}
	c := x.call
	return forward.Call{TraceID: c.TraceID, SpanID: c.SpanID, RequestID: c.RequestID, Deadline: c.Deadline}, true
}

// blame hears of a failed call of the application's (forward.Deps.Failed). A call that the application cancelled, perhaps
// since another one had failed, is the cause only where nothing else is.
func (f *flights) blame(call *forward.Call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if call.RequestID == "" { // a TCP connection, which belongs to no request
		f.tcpCause, f.tcpFailed = call.Cause, time.Now()
		return
	}
	for x := f.byTrace[call.TraceID]; x != nil; x = x.nextTrace {
		if x.cause == "" || call.Outcome != sample.Aborted {
			x.cause = call.Cause
		}
	}
}

// cause names what a request that the application failed had met further down (forward.Deps.Cause).
func (f *flights) cause(call *forward.Call) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := f.byTrace[call.TraceID]; x != nil; x = x.nextTrace {
		if x.call == call && x.cause != "" {
			return x.cause
		}
	}
	if f.tcpCause != "" && time.Since(f.tcpFailed) < tcpBlame {
		return f.tcpCause
	}
	return ""
}

// waiting says whether the request for which the application made a call is still wanted: then it was the application
// that gave up on the call (forward.Deps.Abandoned).
func (f *flights) waiting(call *forward.Call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := f.byTrace[call.TraceID]; x != nil; x = x.nextTrace {
		if x.client.Err() == nil {
			return true
		}
	}
	return false
}
