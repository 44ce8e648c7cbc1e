package tracestore

import (
	"context"
	"time"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/records"
	"weft/collector/store/sealed"
	"weft/collector/store/segment/manifest"
	"weft/internal/otlp"
)

// Search returns the newest spans that a query wants, newest first, each once, and what the answer cost.
func (s *Store) Search(ctx context.Context, q search.Query) ([]signal.Span, search.Cost, error) {
	compiled, err := newestFirst(q).Compile()
	if err != nil {
		return nil, search.Cost{}, err
	}
	var decoder signal.Decoder
	find := records.Search[signal.Span]{
		Query: compiled,
		Time:  func(span *signal.Span) int64 { return span.Start },
		Same:  func(span *signal.Span) string { return string(span.TraceID[:]) + string(span.SpanID[:]) },
		Match: compiled.MatchSpan,
		Scan: func(ctx context.Context, f *sealed.File, q *search.Compiled, fn func(*signal.Span) bool) (search.Cost, error) {
			return f.ScanSpans(ctx, q, fn)
		},
		Walk: func(batch []byte, fn func(*signal.Span)) error {
			return otlp.Spans(batch, func(s *otlp.Span) error {
				if compiled.InTime(int64(s.Start)) {
					span := decoder.Span(s)
					fn(&span)
				}
				return nil
			})
		},
	}
	return find.Run(ctx, s.Log)
}

func newestFirst(q search.Query) search.Query {
	q.Newest = q.Limit > 0
	return q
}

// Worth is the traces with a span that failed, or took as long as slow (0 = any), and that ran at some time in between.
func (s *Store) Worth(ctx context.Context, from, to int64, slow time.Duration) (map[signal.TraceID]bool, error) {
	found := map[signal.TraceID]bool{}
	view := s.View()
	defer view.Release()
	err := view.EachUnsealed(ctx, func(_ time.Time, batch []byte) error {
		return otlp.Spans(batch, func(span *otlp.Span) error {
			if span.Status == uint8(signal.StatusError) || slow > 0 && time.Duration(span.End-span.Start) >= slow && span.End > span.Start {
				found[span.TraceID] = true
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	err = view.EachSegment(ctx, func(m *manifest.Summary) bool { return m.Last >= from && m.First <= to }, func(f *sealed.File) error {
		return addWorth(ctx, found, f, slow)
	})
	return found, err
}

func worth(ctx context.Context, files []*sealed.File, slow time.Duration) (map[signal.TraceID]bool, error) {
	found := map[signal.TraceID]bool{}
	for _, f := range files {
		if err := addWorth(ctx, found, f, slow); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func addWorth(ctx context.Context, found map[signal.TraceID]bool, f *sealed.File, slow time.Duration) error {
	wanted := []search.Query{{Statuses: []signal.Status{signal.StatusError}}}
	if slow > 0 {
		wanted = append(wanted, search.Query{MinDuration: int64(slow)})
	}
	for _, q := range wanted {
		compiled, err := q.Compile()
		if err != nil {
			return err
		}
		if _, err := f.ScanSpans(ctx, compiled, func(s *signal.Span) bool {
			found[s.TraceID] = true
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// holds finds the traces of a request: the one that id is in hex, and those with a span that carries it.
func holds(ctx context.Context, f *sealed.File, id string) (map[signal.TraceID]bool, bool, error) {
	traces := map[signal.TraceID]bool{}
	if trace, ok := signal.ParseTraceID(id); ok {
		if has, _, err := f.HasTrace(ctx, trace); err != nil {
			return nil, false, err
		} else if has {
			traces[trace] = true
		}
	}
	if _, err := f.TracesOf(ctx, id, func(trace signal.TraceID) bool {
		traces[trace] = true
		return true
	}); err != nil {
		return nil, false, err
	}
	return traces, len(traces) > 0, nil
}
