package forward

import (
	"encoding/json"
	"errors"
	"net/http"

	"weft/internal/balance"
	"weft/internal/sample"
	"weft/internal/semconv"
)

// Problem is an answer of Weft's own, as problem JSON (RFC 9457).
type Problem struct {
	Type      string `json:"type"` // a URN that programs may compare: urn:weft:problem:no-endpoint, …
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Instance  string `json:"instance,omitempty"` // the path that was asked for
	RequestID string `json:"request_id,omitempty"`
}

// ProblemType is the URN of a kind of problem.
func ProblemType(kind string) string { return "urn:weft:problem:" + kind }

// WriteProblem answers p. An empty title is the status' own; the request ID goes into the header too.
func WriteProblem(w http.ResponseWriter, p Problem) {
	if p.Type == "" {
		p.Type = "about:blank"
	}
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	body, err := json.Marshal(p)
	if err != nil { // a struct of strings always encodes
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.RequestID != "" {
		h.Set(semconv.HeaderRequestID, p.RequestID)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the client left; there is nobody to tell
}

// answer is what the client gets when no endpoint answered.
func answer(w http.ResponseWriter, r *http.Request, route *Route, err error) {
	call := CallFrom(r.Context())
	if call == nil {
		call = callOf(r)
		call.Outcome = sample.Error
	}
	if route.Local {
		w.Header().Set(semconv.HeaderOutcome, call.Outcome.String())
	}
	status, kind, detail := explain(route, call.Outcome, err)
	WriteProblem(w, Problem{
		Type: ProblemType(kind), Status: status, Detail: detail, Instance: r.URL.Path, RequestID: call.RequestID,
	})
}

// statusClientClosed is nginx's status for a client that left: nobody reads it, logs do.
const statusClientClosed = 499

func explain(route *Route, outcome sample.Outcome, err error) (status int, kind, detail string) {
	switch {
	case outcome == sample.Aborted:
		return statusClientClosed, "client-closed", "the client closed the request"
	case errors.Is(err, errNoService), errors.Is(err, balance.ErrNoEndpoint):
		return http.StatusServiceUnavailable, "no-endpoint", "service " + route.Service + " has no endpoint"
	case outcome == sample.Timeout:
		return http.StatusGatewayTimeout, "timeout",
			"service " + route.Service + " did not answer within " + route.ResponseTimeout.String()
	case outcome == sample.ConnectFailure:
		return http.StatusBadGateway, "connect-failure", "no connection to service " + route.Service
	default:
		return http.StatusBadGateway, "broken-response", "service " + route.Service + " broke off before it answered"
	}
}
