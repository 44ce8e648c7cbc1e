package forward

import (
	"errors"
	"net/http"
	"time"

	"weft/internal/balance"
	"weft/internal/endpoints"
	"weft/internal/sample"
)

// errNoService means that nobody has said who serves the service.
var errNoService = errors.New("unknown service")

// carrier is the RoundTripper of one route: pick, attempt, classify, and once more elsewhere.
type carrier struct {
	forwarder *Forwarder
	route     *Route
}

// RoundTrip makes the attempts of one request. The error of a request that got no response is that of its last attempt.
func (c *carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	f, cfg, call := c.forwarder, c.forwarder.config.Load(), callOf(req)
	service, ok := f.deps.Table.Await(req.Context(), c.route.Service)
	if !ok {
		return nil, c.unserved(req, call, errNoService)
	}
	f.budget(c.route.Service).earn(cfg.Retry.BudgetPercent)
	body, err := newPayload(req, cfg.Retry.Attempts > 0 && idempotent(req))
	if err != nil {
		call.Outcome = sample.Aborted
		return nil, err
	}
	var space [maxRetries + 1]*endpoints.Endpoint
	tried := space[:0]
	pick, err := f.pick(cfg, c.route, service, nil)
	if err != nil {
		return nil, c.unserved(req, call, err)
	}
	for n := 0; ; n++ {
		a := c.begin(req, call, pick, n)
		a.send(body)
		tried = append(tried, pick.Endpoint)
		next, again := c.another(cfg, a, body, tried)
		if !again {
			return a.deliver()
		}
		a.discard()
		pick = next
	}
}

// another picks where to try again, if the request may be and the budget allows. The service is looked up again: the
// endpoint may have left since.
func (c *carrier) another(cfg *Config, a *attempt, body *payload, tried []*endpoints.Endpoint) (balance.Pick, bool) {
	f := c.forwarder
	if a.Number >= cfg.Retry.Attempts || a.request.Context().Err() != nil || !body.replayable() || !a.mayRepeat() {
		return balance.Pick{}, false
	}
	service, ok := f.deps.Table.Lookup(c.route.Service)
	if !ok {
		return balance.Pick{}, false
	}
	pick, err := f.pick(cfg, c.route, service, tried)
	if err != nil {
		return pick, false
	}
	if !f.budget(c.route.Service).spend(cfg.Retry.BudgetPercent) {
		cfg.Balance.Done(time.Now(), pick.Endpoint.Live, sample.Aborted, 0)
		return pick, false
	}
	return pick, true
}

// unserved records a call for which there was nobody to try: Weft's own answer, so it speaks against no endpoint.
func (c *carrier) unserved(req *http.Request, call *Call, err error) error {
	call.Outcome, call.Cause = sample.Load, ""
	if req.Context().Err() != nil {
		call.Outcome = sample.Aborted
	}
	now := time.Now()
	a := c.begin(req, call, balance.Pick{}, 0)
	a.Outcome, a.Err, a.End = call.Outcome, err, now
	if !c.route.Local {
		c.forwarder.deps.Recorder.Record(&a.Attempt)
	}
	if c.forwarder.deps.Failed != nil {
		call.Cause = c.route.Service
		c.forwarder.deps.Failed(call)
	}
	return err
}
