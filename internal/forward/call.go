package forward

import (
	"context"
	"net/http"
	"time"

	"weft/internal/balance"
	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/semconv"
	"weft/internal/telemetry"
)

// Call is one request on its way through a proxy: the proxy's chain says who it is, forwarding says what became of it.
type Call struct {
	TraceID   [16]byte
	SpanID    [8]byte // the parent of the attempts' spans: the proxy's SERVER span, or the application's span
	RequestID string
	Number    int       // the attempt's number at the calling proxy, 0 first; believed from mesh identities only
	Deadline  time.Time // when whoever asked will have stopped waiting; zero when unknown
	Repaired  bool      // the application dropped traceparent, x-request-id gave the trace back

	// What became of it, set before the response is handed on (a response that breaks off later changes Outcome).
	Attempts int
	Endpoint *endpoints.Endpoint // of the last attempt; nil when there was none
	Outcome  sample.Outcome      // of the last attempt; Load when there was no endpoint
	Cause    string              // "service/instance" that failed, here or further down; empty when none did
}

type callKey struct{}

// WithCall puts the call into the request's context.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom is the call of a request; nil when there is none.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// callOf is the call of a request, made from its headers when the chain made none.
func callOf(r *http.Request) *Call {
	if c := CallFrom(r.Context()); c != nil {
		return c
	}
	c := &Call{RequestID: r.Header.Get(semconv.HeaderRequestID)}
	var ok bool
	if c.TraceID, c.SpanID, _, ok = telemetry.ParseTraceparent(r.Header.Get(semconv.HeaderTraceparent)); !ok {
		c.TraceID = telemetry.NewTraceID()
	}
	return c
}

// Attempt is one try of a call at one endpoint, as a Recorder hears of it.
type Attempt struct {
	Call     *Call
	Route    *Route
	Pick     balance.Pick // without an endpoint when there was none to try
	Number   int          // 0 first
	Protocol string       // endpoints.HTTP or endpoints.TCP
	Method   string
	Path     string
	SpanID   [8]byte
	Start    time.Time
	End      time.Time
	Status   int // 0 when there was no response
	Outcome  sample.Outcome
	Cause    string // another endpoint whose failure made this one fail
	Err      error
}
