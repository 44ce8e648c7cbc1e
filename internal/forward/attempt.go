package forward

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"weft/internal/balance"
	"weft/internal/sample"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// drainTime is how long the rest of a response that is given up for another may take, to keep its connection.
const (
	drainTime  = 100 * time.Millisecond
	drainBytes = 4 << 10
	// shortestTimeout is for a request whose caller has run out of patience: it is sent, the answer may be quick.
	shortestTimeout = 10 * time.Millisecond
)

// attempt is one try: it begins, is sent, and is either delivered or discarded; finish ends it exactly once.
type attempt struct {
	Attempt
	carrier  *carrier
	request  *http.Request // as the reverse proxy made it
	ctx      context.Context
	cancel   context.CancelCauseFunc
	clock    *time.Timer // runs out when there is no response in time
	limit    time.Duration
	answered atomic.Bool // the header is there: the response timeout is over
	finished atomic.Bool
	body     *payload
	response *http.Response
	latency  time.Duration // to the response's header; 0 when there was none
}

func (c *carrier) begin(req *http.Request, call *Call, pick balance.Pick, number int) *attempt {
	a := &attempt{carrier: c, request: req, Attempt: Attempt{
		Call: call, Route: c.route, Pick: pick, Number: number, Protocol: "http",
		Method: req.Method, Path: req.URL.Path, Start: time.Now(),
	}}
	if c.route.Local {
		a.SpanID = call.SpanID
	} else {
		a.SpanID = telemetry.NewSpanID()
	}
	return a
}

func (a *attempt) elapsed() time.Duration { return time.Since(a.Start) }

// send makes the attempt and classes what came of it.
func (a *attempt) send(body *payload) {
	ctx := context.WithValue(a.request.Context(), connectTimeoutKey{}, a.Route.ConnectTimeout)
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.body = body
	a.limit = a.timeout()
	a.clock = time.AfterFunc(a.limit, func() { a.cancel(errResponseTimeout) })
	out := a.outgoing()
	res, err := a.carrier.forwarder.pool.get(a.Pick.Endpoint).transport(out).RoundTrip(out) //nolint:bodyclose // deliver or discard does
	a.answered.Store(true)
	a.clock.Stop()
	if err != nil {
		a.Err, a.Outcome = err, a.classifyError(err)
		a.cancel(nil)
		return
	}
	a.response, a.latency, a.Status = res, a.elapsed(), res.StatusCode
	a.Outcome, a.Cause = classifyResponse(res, a.Pick.Endpoint)
}

// timeout is the route's, or less when whoever asked waits less. A proxy further from the fault must be the more patient
// one, or it would blame the wrong endpoint; and a request that may be tried again must leave time for that.
func (a *attempt) timeout() time.Duration {
	if a.Call.Deadline.IsZero() {
		return a.Route.ResponseTimeout
	}
	left := time.Until(a.Call.Deadline)
	switch {
	case a.Route.Local:
	case a.Number == 0 && idempotent(a.request):
		left = left * 6 / 10
	default:
		left = left * 9 / 10
	}
	return max(shortestTimeout, min(left, a.Route.ResponseTimeout))
}

// outgoing is the attempt's own request. A retry has its own header: the transport of a first attempt that timed out may
// still be writing the old one.
func (a *attempt) outgoing() *http.Request {
	out := a.request.WithContext(a.ctx)
	if a.Number > 0 {
		out.Header = a.request.Header.Clone()
	}
	out.Body = a.body.open(a.hold, a.resume)
	e, h := a.Pick.Endpoint, out.Header
	h.Set(semconv.HeaderTraceparent, telemetry.FormatTraceparent(a.Call.TraceID, a.SpanID, true))
	if a.Call.RequestID != "" {
		h.Set(semconv.HeaderRequestID, a.Call.RequestID)
	}
	if e.TLS {
		out.URL = cloneURL(out.URL, "https")
		if a.Number > 0 {
			h.Set(semconv.HeaderAttempt, strconv.Itoa(a.Number))
		}
		h.Set(semconv.HeaderTimeout, strconv.FormatInt(a.limit.Milliseconds(), 10))
	}
	return out
}

// hold stops the response's clock while the proxy waits for the client's own bytes.
func (a *attempt) hold() {
	if !a.answered.Load() {
		a.clock.Stop()
	}
}

func (a *attempt) resume() {
	if !a.answered.Load() {
		a.clock.Reset(a.limit)
		if a.answered.Load() { // the header came in between
			a.clock.Stop()
		}
	}
}

// deliver hands the attempt's response or error to the reverse proxy, as the end of the call.
func (a *attempt) deliver() (*http.Response, error) {
	a.attribute()
	if a.response == nil {
		a.finish(a.Outcome, a.Err)
		return nil, a.Err
	}
	res := a.response
	stripWeft(res.Header)
	delete(res.Header, semconv.HeaderRequestID) // the proxy's own chain echoes it
	if a.Route.Local && a.Outcome == sample.Downstream {
		res.Header.Set(semconv.HeaderCause, a.Cause)
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		// The exchange of HTTP is over and well; the connection may live for hours.
		a.finish(a.Outcome, nil)
		if stream, ok := res.Body.(io.ReadWriteCloser); ok {
			res.Body = &upgraded{ReadWriteCloser: stream, cancel: a.cancel}
		}
	case res.Body == http.NoBody || a.Method == http.MethodHead:
		a.finish(a.Outcome, nil)
	default:
		res.Body = &responseBody{body: res.Body, attempt: a}
	}
	return res, nil
}

// attribute tells the call what became of it, and whom to blame, before its caller can know.
func (a *attempt) attribute() {
	deps := &a.carrier.forwarder.deps
	call := a.Call
	if a.Route.Local && a.Outcome == sample.Error && a.response != nil && deps.Cause != nil {
		if cause := deps.Cause(call); cause != "" {
			a.Outcome, a.Cause = sample.Downstream, cause
		}
	}
	call.Attempts, call.Endpoint, call.Outcome, call.Cause = a.Number+1, a.Pick.Endpoint, a.Outcome, a.Cause
	if a.Outcome == sample.OK {
		return
	}
	if call.Cause == "" {
		call.Cause = a.Pick.Endpoint.Key().String()
	}
	if deps.Failed != nil {
		deps.Failed(call)
	}
}

// discard ends an attempt that another one follows.
func (a *attempt) discard() {
	if a.response != nil {
		if n := a.response.ContentLength; n > 0 && n <= drainBytes {
			a.clock.Reset(drainTime)
			_, _ = io.CopyN(io.Discard, a.response.Body, n) // what is not drained costs a connection, nothing else
			a.clock.Stop()
		}
		_ = a.response.Body.Close()
	}
	a.finish(a.Outcome, a.Err)
}

// finish counts and reports the attempt, once.
func (a *attempt) finish(outcome sample.Outcome, err error) {
	if !a.finished.CompareAndSwap(false, true) {
		return
	}
	f, e := a.carrier.forwarder, a.Pick.Endpoint
	a.End, a.Outcome, a.Err = time.Now(), outcome, err
	waited := a.latency
	if waited == 0 {
		waited = a.End.Sub(a.Start)
	}
	f.config.Load().Balance.Done(a.End, e.Live, outcome, waited)
	number := a.Number
	if a.Route.Local {
		number = a.Call.Number
	}
	e.Live.Counter.Observe(number, outcome, a.latency, a.Call.RequestID)
	f.deps.Recorder.Record(&a.Attempt)
	if a.Status != http.StatusSwitchingProtocols {
		a.cancel(nil)
	}
}

// upgraded is a connection after 101; closing it ends the attempt's context.
type upgraded struct {
	io.ReadWriteCloser
	cancel context.CancelCauseFunc
}

func (u *upgraded) Close() error {
	defer u.cancel(nil)
	return u.ReadWriteCloser.Close()
}

// responseBody ends its attempt with the last byte, or where the response breaks off.
type responseBody struct {
	body    io.ReadCloser
	attempt *attempt
}

func (r *responseBody) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	switch {
	case err == io.EOF:
		r.attempt.finish(r.attempt.Outcome, nil)
	case err != nil:
		r.attempt.breakOff(err)
	}
	return n, err
}

func (r *responseBody) Close() error {
	if !r.attempt.finished.Load() { // nobody read to the end: the client left
		r.attempt.Call.Outcome = sample.Aborted
		r.attempt.finish(sample.Aborted, nil)
	}
	return r.body.Close()
}

// breakOff ends an attempt whose response stopped in the middle.
func (a *attempt) breakOff(err error) {
	outcome := a.classifyError(err)
	if a.Outcome != sample.OK && outcome == sample.Aborted {
		outcome = a.Outcome
	}
	if !a.finished.Load() && outcome != sample.Aborted {
		a.Call.Outcome, a.Call.Cause = outcome, a.Pick.Endpoint.Key().String()
		if failed := a.carrier.forwarder.deps.Failed; failed != nil {
			failed(a.Call)
		}
	}
	a.finish(outcome, err)
}
