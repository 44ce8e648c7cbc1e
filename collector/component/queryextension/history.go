package queryextension

import (
	"context"
	"slices"
	"strconv"

	"weft/collector/query"
	"weft/collector/signal"
	sealed "weft/collector/store/sealed/query"
	"weft/collector/store/tracestore"
	"weft/internal/semconv"
)

// history asks the store of spans on behalf of the API: neither knows the other.
type history struct{ spans *tracestore.Store }

// withoutParent is how many more server spans are read than wanted, to find those that have no parent.
const withoutParent = 8

// Entries is the newest spans that requests begin with.
func (h history) Entries(ctx context.Context, f query.SpanFilter) ([]signal.Span, query.Cost, error) {
	q := sealed.Query{
		Kinds: []signal.Kind{signal.KindServer}, MinDuration: int64(f.MinDuration), Limit: f.Limit,
	}
	if !f.From.IsZero() {
		q.From = f.From.UnixNano()
	}
	if !f.To.IsZero() {
		q.To = f.To.UnixNano()
	}
	match := func(key string, op sealed.Op, value string) {
		q.Attributes = append(q.Attributes, sealed.Match{Key: key, Op: op, Value: value})
	}
	if f.Failed {
		q.Statuses = []signal.Status{signal.StatusError}
	}
	if f.Route != "" {
		match(semconv.HTTPRoute, sealed.Equal, f.Route)
	}
	if f.StatusFrom > 0 {
		match(semconv.HTTPResponseStatusCode, sealed.GreaterEqual, strconv.Itoa(f.StatusFrom))
		match(semconv.HTTPResponseStatusCode, sealed.LessEqual, strconv.Itoa(f.StatusTo))
	}
	if f.Gateway {
		match(semconv.WeftProxy, sealed.Equal, "gateway")
	} else {
		q.Limit *= withoutParent
	}
	spans, read, err := h.spans.Search(ctx, q)
	if !f.Gateway {
		spans = slices.DeleteFunc(spans, func(s signal.Span) bool {
			return !s.ParentID.IsZero() || s.Attributes.Text(semconv.WeftProxy) == "gateway"
		})
		spans = spans[:min(len(spans), f.Limit)]
	}
	cost := query.Cost{Bytes: read.Bytes, Rows: read.Rows, Segments: read.Segments, Batches: read.Batches, Damaged: read.Damaged}
	return spans, cost, err
}
