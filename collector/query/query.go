package query

import (
	"context"
	"net/http"
	"time"

	"weft/collector/correlate"
	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/internal/sample"
)

// Spans is the store of spans.
type Spans interface {
	ByTrace(context.Context, signal.TraceID) ([]signal.Span, error)
	// TracesOf is the traces of a request ID, a client's own request ID or a client's own trace ID, newest first.
	TracesOf(ctx context.Context, id string) ([]signal.TraceID, error)
}

// Logs is the store of log records.
type Logs interface {
	ByTrace(context.Context, signal.TraceID) ([]signal.Log, error)
	ByRequest(ctx context.Context, id string) ([]signal.Log, error)
}

// History is the store of spans, searched.
type History interface {
	// Search returns the newest spans that a query with a limit wants, newest first, each once.
	Search(context.Context, search.Query) ([]signal.Span, search.Cost, error)
}

// Exchanges is the memory of recent requests.
type Exchanges interface {
	List(correlate.Filter) []correlate.Exchange
	Find(id string) []correlate.Exchange
}

// RED is every service's rate, errors and duration over the minute that ends at the given time.
type RED interface {
	RED(at time.Time) []correlate.RED
}

// Verdicts is what is concluded about endpoints.
type Verdicts interface {
	Verdicts() []sample.Verdict                   // that stand now
	History(endpoint sample.Key) []sample.Verdict // oldest first
}

// Alerts is what people are told.
type Alerts interface {
	Alerts() []Alert // firing first, then resolved, each newest first
	Outbox() any     // what is due, failed and given up, as JSON; nil for none
}

// Deps are what the API answers from. Without Verdicts or Alerts there are none; APIs and Console may be absent.
type Deps struct {
	Spans     Spans
	Logs      Logs
	History   History // nil: lists are of what is remembered
	Exchanges Exchanges
	RED       RED
	Verdicts  Verdicts
	Alerts    Alerts
	Ledger    func() Ledger // what the stores took; nil for none
	Console   http.Handler  // serves every path that is no API's
	// APIs are those that existing clients know, by their prefix, such as "/prometheus/". Each serves paths with that prefix.
	APIs  map[string]http.Handler
	Hosts []string // names besides loopback that a browser may reach this port under
	Now   func() time.Time
}

type api struct{ Deps }

// New is the handler of every path, behind the checks that guard against other sites' pages.
func New(deps Deps) http.Handler {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	a := &api{deps}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/requests/{id}", a.request)
	mux.HandleFunc("GET /api/requests", a.requests)
	mux.HandleFunc("GET /api/services", a.services)
	mux.HandleFunc("GET /api/services/{name}", a.service)
	mux.HandleFunc("GET /api/verdicts", a.verdicts)
	mux.HandleFunc("GET /api/alerts", a.alerts)
	mux.HandleFunc("GET /api/ledger", a.ledger)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, problem{Status: http.StatusMethodNotAllowed, Detail: "this API is only read"})
			return
		}
		fail(w, problem{Status: http.StatusNotFound, Detail: "no such path: " + r.URL.Path})
	})
	for prefix, api := range deps.APIs {
		mux.Handle(prefix, api)
	}
	if deps.Console != nil {
		mux.Handle("/", deps.Console)
	}
	return guard(deps.Hosts, mux)
}

func (a *api) current() []sample.Verdict {
	if a.Verdicts == nil {
		return nil
	}
	return a.Verdicts.Verdicts()
}

func (a *api) history(key sample.Key) []sample.Verdict {
	if a.Verdicts == nil {
		return nil
	}
	return a.Verdicts.History(key)
}

func (a *api) allAlerts() []Alert {
	if a.Alerts == nil {
		return nil
	}
	return a.Alerts.Alerts()
}
