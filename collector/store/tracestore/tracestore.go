// Package tracestore keeps spans: every batch as it came, found by trace ID and by request ID.
package tracestore

import (
	"cmp"
	"context"
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/collector/store/segment"
)

// Store keeps spans.
type Store struct {
	*segment.Store[ptrace.Traces, signal.Span]
	ids *segment.IDs
}

// maxTraces bounds the answer of TracesOf: an ID that a client uses for everything names no request.
const maxTraces = 1000

// Open opens the store in cfg.Dir.
func Open(cfg segment.Config) (*Store, error) {
	ids := segment.NewIDs()
	var marshal ptrace.ProtoMarshaler
	var unmarshal ptrace.ProtoUnmarshaler
	log, err := segment.OpenStore(cfg, segment.Codec[ptrace.Traces, signal.Span]{
		Marshal: marshal.MarshalTraces, Unmarshal: unmarshal.UnmarshalTraces, Items: signal.Spans,
		Keys: func(batch ptrace.Traces, add func(segment.Key)) { keys(ids, batch, add) },
	})
	if err != nil {
		return nil, err
	}
	return &Store{log, ids}, nil
}

// keys are each span's trace ID and request IDs. A request ID that is the trace ID in hex needs no key of its own.
func keys(ids *segment.IDs, batch ptrace.Traces, add func(segment.Key)) {
	eachSpan(batch, func(s ptrace.Span) {
		trace := signal.TraceID(s.TraceID())
		if !trace.IsZero() {
			add(segment.TraceKey(trace))
		}
		ids.Each(s.Attributes(), func(id string) bool {
			if other, ok := signal.ParseTraceID(id); !ok || other != trace {
				add(segment.TextKey(id))
			}
			return true
		})
	})
}

func eachSpan(batch ptrace.Traces, fn func(ptrace.Span)) {
	for _, rs := range batch.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				fn(s)
			}
		}
	}
}

// ByTrace returns the spans of a trace in order of their start, each once however often it was sent. Beyond
// segment.MaxItems spans it returns what it has with segment.ErrTruncated.
func (s *Store) ByTrace(ctx context.Context, id signal.TraceID) ([]signal.Span, error) {
	var out []signal.Span
	seen := map[signal.SpanID]bool{}
	err := s.Find(ctx, segment.TraceKey(id), func(batch ptrace.Traces) int {
		keepTrace(batch, id)
		for _, span := range signal.Spans(batch) {
			if !seen[span.SpanID] {
				seen[span.SpanID] = true
				out = append(out, span)
			}
		}
		return len(out)
	})
	slices.SortStableFunc(out, func(a, b signal.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), slices.Compare(a.SpanID[:], b.SpanID[:]))
	})
	return out, err
}

// keepTrace removes the other spans, before the dear part of decoding.
func keepTrace(batch ptrace.Traces, id signal.TraceID) {
	batch.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			ss.Spans().RemoveIf(func(s ptrace.Span) bool { return signal.TraceID(s.TraceID()) != id })
			return ss.Spans().Len() == 0
		})
		return rs.ScopeSpans().Len() == 0
	})
}

// TracesOf returns the traces that an ID leads to, newest first: the trace of that ID in hex, and those with spans
// whose request ID, client request ID or client trace ID it is. None is no error.
func (s *Store) TracesOf(ctx context.Context, id string) ([]signal.TraceID, error) {
	var out []signal.TraceID
	seen := map[signal.TraceID]bool{}
	collect := func(key segment.Key, enough int, match func(ptrace.Span) bool) error {
		return s.Each(ctx, key, s.Decoded(func(batch ptrace.Traces) error {
			eachSpan(batch, func(span ptrace.Span) {
				if trace := signal.TraceID(span.TraceID()); !trace.IsZero() && !seen[trace] && len(out) < enough && match(span) {
					seen[trace] = true
					out = append(out, trace)
				}
			})
			if len(out) >= enough {
				return segment.ErrStop
			}
			return nil
		}))
	}
	if trace, ok := signal.ParseTraceID(id); ok {
		err := collect(segment.TraceKey(trace), 1, func(span ptrace.Span) bool { return signal.TraceID(span.TraceID()) == trace })
		if err != nil {
			return nil, err
		}
	}
	err := collect(segment.TextKey(id), maxTraces, func(span ptrace.Span) bool { return s.ids.Has(span.Attributes(), id) })
	return out, err
}
