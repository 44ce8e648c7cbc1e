// Package middleware holds the steps of the gateway's chain, a file each: the step, its Config, its test beside it.
//
// The chain is in gateway/chain.go. The steps share one Request, which the first of them makes.
package middleware

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"weft/internal/forward"
	"weft/internal/sample"
	"weft/internal/telemetry"
)

// Request is what the chain knows about one request. One goroutine uses it.
type Request struct {
	// Call carries trace, span and request ID to the forwarder, and brings back what became of the request.
	Call   forward.Call
	Start  time.Time
	Parent [8]byte // the span of a trusted hop; zero when the trace begins here
	Client string  // address of the caller, as far as it is believed

	// What an untrusted caller said of itself: searchable, never used.
	ClientRequestID string
	ClientTrace     [16]byte
	ClientSpan      [8]byte

	// Matched is the route; nil when there is none.
	Matched *Matched
	// Subject is who the credential named; empty on open routes.
	Subject  string
	Response Response

	// What the observers report is built here, one after another: together with the Request it is one allocation.
	span   telemetry.Span
	record telemetry.Record
	attrs  [20]telemetry.Attr
	links  [1]telemetry.Link

	observers [4]func(*Request, *http.Request)
	count     int
	end       time.Time
}

// Matched is a route as the chain needs it.
type Matched struct {
	Name    string
	Pattern string // the path template, for telemetry
	Auth    []Authorizer
	Handler http.Handler
}

const requestKey = "weft.request"

// Of is the request of a context; RequestID has put it there.
func Of(c echo.Context) *Request { return c.Get(requestKey).(*Request) }

// OnEnd has observe called once, when the response is complete or the connection was upgraded. The last one registered
// is called first.
func (r *Request) OnEnd(observe func(*Request, *http.Request)) {
	r.observers[r.count] = observe
	r.count++
}

// finish calls the observers; later calls do nothing.
func (r *Request) finish(raw *http.Request) {
	if !r.end.IsZero() {
		return
	}
	r.end = time.Now()
	for i := r.count - 1; i >= 0; i-- {
		r.observers[i](r, raw)
	}
}

// Duration is how long the request took, the same for everyone who asks.
func (r *Request) Duration() time.Duration { return r.end.Sub(r.Start) }

// Failed says whether the service's side failed: a 5xx, or a response that broke off.
func (r *Request) Failed() bool {
	switch {
	case r.Response.Status >= http.StatusInternalServerError:
		return true
	case r.Response.Status >= http.StatusBadRequest:
		return false
	}
	return r.Call.Outcome == sample.Error || r.Call.Outcome == sample.Timeout || r.Call.Outcome == sample.ConnectFailure
}

// errorType is error.type of the conventions: the status, or what broke the response off.
func (r *Request) errorType() string {
	if r.Response.Status >= http.StatusInternalServerError {
		return statusText(r.Response.Status)
	}
	return r.Call.Outcome.String()
}

// statusText avoids an allocation for the statuses that proxies answer.
func statusText(status int) string {
	switch status {
	case 500:
		return "500"
	case 502:
		return "502"
	case 503:
		return "503"
	case 504:
		return "504"
	}
	return string([]byte{'0' + byte(status/100%10), '0' + byte(status/10%10), '0' + byte(status%10)})
}

// Response notes what is answered. Echo's own response is not used for that: it takes an informational header (103) for
// the final one, and an upgrade for 200.
type Response struct {
	http.ResponseWriter
	Status   int // 0 until the final header is written
	Bytes    int64
	upgraded func()
}

// Unwrap lets http.ResponseController reach flushing, deadlines and full duplex.
func (w *Response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *Response) WriteHeader(status int) {
	if w.Status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *Response) Write(p []byte) (int, error) {
	if w.Status == 0 {
		w.Status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.Bytes += int64(n)
	return n, err
}

// Hijack ends the HTTP exchange: what follows may last for hours, and is another protocol's.
func (w *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.Status = http.StatusSwitchingProtocols
		w.upgraded()
	}
	return conn, rw, err
}
