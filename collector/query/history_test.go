package query

import (
	"context"
	"net/http"
	"testing"
	"time"

	"weft/collector/correlate"
	"weft/collector/signal"
	"weft/collector/signal/search"
)

// past is the spans of the test, searched.
type past struct {
	spans *spanStore
	asked []search.Query
}

func (p *past) Search(_ context.Context, q search.Query) (out []signal.Span, cost search.Cost, err error) {
	p.asked = append(p.asked, q)
	compiled, err := q.Compile()
	if err != nil {
		return nil, cost, err
	}
	for i := range p.spans.spans {
		if s := &p.spans.spans[i]; compiled.MatchSpan(s) && len(out) < q.Limit {
			out = append(out, *s)
		}
	}
	return out, search.Cost{Bytes: 100, Segments: 1}, nil
}

// What is long forgotten is listed from the stores, as whole requests, with what that cost.
func TestRequestsOfATimeRangeComeFromTheStores(t *testing.T) {
	w := newWorld(t, append(shop(1, "r1"), shop(2, "r2")...), nil)
	w.correlator = correlate.New(correlate.DefaultConfig()) // remembers nothing
	history := &past{spans: w.spans}
	w.handler = New(Deps{Spans: w.spans, Logs: w.logs, Exchanges: w.correlator, RED: w.correlator, History: history, Now: func() time.Time { return epoch }})
	if _, body := w.get("/api/requests"); len(body["requests"].([]any)) != 0 || len(history.asked) != 0 {
		t.Errorf("memory is empty, and yet: %v", body["requests"])
	}
	for query, want := range map[string]string{
		"start=2026-11-22T11:00:00Z":                                        "r2 r1",
		"start=2026-11-22T13:00:00Z":                                        "",
		"end=2026-11-22T11:00:00Z":                                          "",
		"start=1795000000&end=2026-11-22T13:00:00Z&service=payment&limit=1": "r2",
		"start=2026-11-22T11:00:00Z&service=nobody":                         "",
		"start=2026-11-22T11:00:00Z&status=2xx&route=/api/checkout":         "r2 r1",
		"start=2026-11-22T11:00:00Z&status=error":                           "",
		"start=2026-11-22T11:00:00Z&min_duration=1h":                        "",
	} {
		code, body := w.get("/api/requests?" + query)
		got := pluck(body["requests"], "request_id")
		if sameSet := got == want || want == "r2 r1" && got == "r1 r2" || want == "r2" && got == "r1"; code != http.StatusOK || !sameSet {
			t.Errorf("%s: %d, %q, want %q", query, code, got, want)
		}
		if read := body["read"].(map[string]any); read["bytes"].(float64) < 100 || read["segments"].(float64) < 1 {
			t.Errorf("%s: read %v", query, read)
		}
	}
	if f := history.asked[0]; f.Limit != roomFor*defaultLimit && f.Limit != roomFor {
		t.Errorf("asked for %d", f.Limit)
	}
	if code, body := w.get("/api/requests?start=yesterday"); code != http.StatusBadRequest || body["parameter"] != "start" {
		t.Errorf("%d %v", code, body)
	}
}

func TestLedgerSaysWhetherItBalances(t *testing.T) {
	w := newWorld(t, nil, nil)
	if code, _ := w.get("/api/ledger"); code != http.StatusNotFound {
		t.Errorf("without a ledger: %d", code)
	}
	w.handler = New(Deps{Spans: w.spans, Logs: w.logs, Exchanges: w.correlator, RED: w.correlator, Ledger: func() Ledger {
		return Ledger{Epoch: epoch, Signals: []LedgerSignal{
			{Signal: "traces", Accepted: 10, Recovered: 2, Stored: 7, Deduplicated: 1, Lost: 1, Queued: 3},
			{Signal: "logs", Accepted: 10, Stored: 7},
		}}
	}})
	_, body := w.get("/api/ledger")
	if got := pluck(body["signals"], "balanced"); got != "true false" {
		t.Errorf("balanced %s", got)
	}
}
