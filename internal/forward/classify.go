package forward

import (
	"context"
	"errors"
	"net/http"
	"time"

	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/semconv"
)

// errResponseTimeout is the cause with which an attempt is given up.
var errResponseTimeout = errors.New("no response in time")

// connectError is a connection that was never made: nothing of the request was sent.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// classifyResponse says what a response means for its endpoint, and whose fault it names. Only a mesh endpoint's word
// on its own failure is taken.
func classifyResponse(res *http.Response, e *endpoints.Endpoint) (outcome sample.Outcome, cause string) {
	if e.TLS {
		if name := res.Header.Get(semconv.HeaderOutcome); name != "" {
			return outcomeNamed(name), ""
		}
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests,
		res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		return sample.Load, ""
	case res.StatusCode < 500:
		return sample.OK, ""
	case e.TLS && res.Header.Get(semconv.HeaderCause) != "":
		return sample.Downstream, res.Header.Get(semconv.HeaderCause)
	default:
		return sample.Error, ""
	}
}

// outcomeNamed reads a sidecar's word on its application; one that is not known speaks against nobody.
func outcomeNamed(name string) sample.Outcome {
	for _, o := range [...]sample.Outcome{sample.Error, sample.Timeout, sample.ConnectFailure, sample.Downstream} {
		if o.String() == name {
			return o
		}
	}
	return sample.Load
}

// classifyError says whose fault it is that an attempt broke off.
func (a *attempt) classifyError(err error) sample.Outcome {
	var notConnected *connectError
	switch {
	case errors.Is(context.Cause(a.ctx), errResponseTimeout):
		return sample.Timeout
	case errors.Is(a.request.Context().Err(), context.DeadlineExceeded):
		return sample.Timeout
	case a.body.broken.Load():
		return sample.Aborted
	case a.request.Context().Err() != nil:
		return a.abandoned()
	case errors.As(err, &notConnected):
		return sample.ConnectFailure
	default:
		return sample.Error
	}
}

// hastyCaller is how long a caller must have waited for its giving up to say anything: hedging cancels the slower of
// two requests all the time.
const hastyCaller = time.Second

// abandoned tells a caller that gave up on the endpoint from a client that left.
func (a *attempt) abandoned() sample.Outcome {
	waited := a.elapsed()
	if a.Route.Local && !a.Call.Deadline.IsZero() && time.Until(a.Call.Deadline) < waited/20 {
		return sample.Timeout
	}
	if gaveUp := a.carrier.forwarder.deps.Abandoned; gaveUp != nil && waited >= hastyCaller && gaveUp(a.Call) {
		return sample.Timeout
	}
	return sample.Aborted
}

// idempotent says whether a request may reach an endpoint twice (RFC 9110, 9.2.2; Idempotency-Key as net/http reads it).
func idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete, "":
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// mayRepeat says whether what came of the attempt allows another: a failure of the endpoint itself, and either nothing
// reached it or the request is idempotent. Load is not repeated, since that adds to it; nor is a fault further down,
// which was retried where it happened.
func (a *attempt) mayRepeat() bool {
	switch a.Outcome {
	case sample.ConnectFailure:
		return a.response == nil || idempotent(a.request)
	case sample.Error, sample.Timeout:
		return idempotent(a.request)
	default:
		return false
	}
}
