package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weft/collector/correlate"
	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// SpanFilter selects the spans that requests begin with; zero values select all.
type SpanFilter struct {
	From, To    time.Time     // of its start: From <= start < To
	MinDuration time.Duration //
	Route       string        // http.route, exactly
	StatusFrom  int           // HTTP status, both inclusive; 0 = any
	StatusTo    int
	Failed      bool
	Gateway     bool // only a gateway's; otherwise those that have no parent
	Limit       int
}

// Cost says what a store read for an answer.
type Cost struct {
	Bytes    int64 `json:"bytes"`
	Rows     int64 `json:"rows"`
	Segments int   `json:"segments"`
	Batches  int   `json:"batches"` // of the log, not sealed yet
	Damaged  int64 `json:"damaged"` // rows that could not be read
}

func (c *Cost) add(o Cost) {
	c.Bytes, c.Rows, c.Segments, c.Batches, c.Damaged = c.Bytes+o.Bytes, c.Rows+o.Rows, c.Segments+o.Segments, c.Batches+o.Batches, c.Damaged+o.Damaged
}

// history finds requests of a time range in the stores, newest first. A list without a time range comes from memory
// instead: there is no need to read a disk for what happened just now.
type history struct {
	api        *api
	filter     listFilter
	cost       Cost
	incomplete []string
}

// find asks for the spans that requests begin with, and then for each request as a whole: only that knows every service it
// touched.
func (h *history) find(ctx context.Context) ([]correlate.Exchange, error) {
	var found []correlate.Exchange
	seen := map[facts.Key]bool{}
	for _, gateway := range []bool{true, false} {
		entries, err := h.entries(ctx, gateway)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			entry := facts.At(entries[i].TraceID, entries[i].SpanID)
			if len(found) >= h.filter.Limit || seen[entry] {
				continue
			}
			e, ok := h.whole(ctx, &entries[i])
			if !ok || len(e.TraceIDs) == 0 || seen[facts.At(e.TraceIDs[0], e.RootSpan)] || !h.filter.wants(&e) {
				continue
			}
			seen[entry], seen[facts.At(e.TraceIDs[0], e.RootSpan)] = true, true
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b correlate.Exchange) int { return int(b.Start - a.Start) })
	return found, nil
}

// roomFor is how many more spans are asked for than requests are wanted: some are of one request, some turn out not to match.
const roomFor = 2

func (h *history) entries(ctx context.Context, gateway bool) ([]signal.Span, error) {
	f := h.filter
	spans, cost, err := h.api.History.Entries(ctx, SpanFilter{
		From: f.from, To: f.to, MinDuration: f.MinDuration, Route: f.Route, StatusFrom: f.statusFrom, StatusTo: f.statusTo,
		Failed: f.Error, Gateway: gateway, Limit: roomFor * f.Limit,
	})
	h.cost.add(cost)
	if len(spans) == roomFor*f.Limit && f.Service != "" {
		h.incomplete = append(h.incomplete, fmt.Sprintf("only the newest %d requests were looked at for service %s; narrow the time", len(spans), f.Service))
	}
	return spans, err
}

// whole is the request that begins with the span.
func (h *history) whole(ctx context.Context, entry *signal.Span) (correlate.Exchange, bool) {
	found, err := h.api.gather(ctx, entry.TraceID.String())
	if err != nil {
		h.incomplete = append(h.incomplete, err.Error())
		return correlate.Exchange{}, false
	}
	all, ok := correlate.Assemble(entry.TraceID.String(), found.spans, found.logs)
	if !ok {
		return correlate.Exchange{}, false
	}
	for _, e := range all.Requests {
		if e.RootSpan == entry.SpanID {
			return e, true
		}
	}
	return all.Exchange, len(all.Requests) == 0
}

// wants says whether a request, now that all of it is known, matches.
func (f *listFilter) wants(e *correlate.Exchange) bool {
	return (f.Service == "" || slices.Contains(e.Services, f.Service)) && (f.Route == "" || e.Route == f.Route) &&
		(f.Status == nil || f.Status(e.Status)) && (!f.Error || e.Error) && e.Duration >= int64(f.MinDuration)
}
