package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"weft/collector/correlate"
	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/internal/semconv"
)

// history finds requests of a time range in the stores, newest first. A list without a time range comes from memory
// instead: there is no need to read a disk for what happened just now.
type history struct {
	api        *api
	filter     listFilter
	cost       search.Cost
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

const (
	// roomFor is how many more spans are asked for than requests are wanted: some are of one request, some turn out not to
	// match.
	roomFor = 2
	// withoutParent is how many more of those that are not a gateway's: most have a parent, and no request begins with them.
	withoutParent = 8
)

// entries is the newest spans that requests may begin with, of gateways or of all others.
func (h *history) entries(ctx context.Context, gateway bool) ([]signal.Span, error) {
	q := h.filter.query()
	if gateway {
		q.Attributes = append(q.Attributes, search.Match{Key: semconv.WeftProxy, Op: search.Equal, Value: gatewayProxy})
	} else {
		q.Limit *= withoutParent
	}
	spans, cost, err := h.api.History.Search(ctx, q)
	if h.cost.Add(cost); err != nil {
		return nil, err
	}
	cut := len(spans) == q.Limit
	if !gateway {
		spans = slices.DeleteFunc(spans, func(s signal.Span) bool {
			return !s.ParentID.IsZero() || s.Attributes.Text(semconv.WeftProxy) == gatewayProxy
		})
	}
	if cut && h.filter.Service != "" {
		h.incomplete = append(h.incomplete, fmt.Sprintf("only the newest %d requests were looked at for service %s; narrow the time", len(spans), h.filter.Service))
	}
	return spans, nil
}

const gatewayProxy = "gateway"

// query wants server spans; those of other services than the filter's too, which may have called it.
func (f *listFilter) query() search.Query {
	q := search.Query{Kinds: []signal.Kind{signal.KindServer}, MinDuration: int64(f.MinDuration), Limit: roomFor * f.Limit}
	if !f.from.IsZero() {
		q.From = f.from.UnixNano()
	}
	if !f.to.IsZero() {
		q.To = f.to.UnixNano()
	}
	if f.Error {
		q.Statuses = []signal.Status{signal.StatusError}
	}
	if f.Route != "" {
		q.Attributes = append(q.Attributes, search.Match{Key: semconv.HTTPRoute, Op: search.Equal, Value: f.Route})
	}
	if f.statusFrom > 0 {
		q.Attributes = append(q.Attributes,
			search.Match{Key: semconv.HTTPResponseStatusCode, Op: search.GreaterEqual, Value: strconv.Itoa(f.statusFrom)},
			search.Match{Key: semconv.HTTPResponseStatusCode, Op: search.LessEqual, Value: strconv.Itoa(f.statusTo)})
	}
	return q
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
