// Package tracestore keeps spans: every batch as it came, then sealed, found by trace ID and by request ID.
package tracestore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/collector/store/key"
	"weft/collector/store/records"
	"weft/collector/store/sealed"
	"weft/collector/store/segment"
	"weft/internal/otlp"
)

// Store keeps spans.
type Store struct {
	*records.Log
	ids *key.IDs
}

// maxTraces bounds the answer of TracesOf: an ID that a client uses for everything names no request.
const maxTraces = 1000

// Open opens the store in cfg.Dir.
func Open(cfg segment.Config) (*Store, error) {
	ids := key.NewIDs()
	log, err := records.Open(cfg, records.Kind{
		Write: sealed.WriteSpans, Worth: worth, Holds: holds,
		Keys: func(batch []byte, add func(key.Key)) (items int, err error) {
			var keys []key.Key
			err = otlp.Spans(batch, func(s *otlp.Span) error {
				items++
				keys = ids.AppendSpan(keys[:0], s)
				for _, k := range keys {
					add(k)
				}
				return nil
			})
			return items, err
		},
	})
	if err != nil {
		return nil, err
	}
	return &Store{log, ids}, nil
}

// AppendRaw stores an OTLP export request of so many spans under the keys that they are found by. The slice of keys may
// be reordered.
func (s *Store) AppendRaw(ctx context.Context, batch []byte, keys []key.Key, items int) error {
	return s.Log.Append(ctx, batch, keys, items)
}

// Append stores a decoded batch.
func (s *Store) Append(ctx context.Context, batch ptrace.Traces) error {
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	if err != nil {
		return err
	}
	var keys []key.Key
	items := 0
	err = otlp.Spans(raw, func(span *otlp.Span) error {
		items++
		keys = s.ids.AppendSpan(keys, span)
		return nil
	})
	if err != nil {
		return err
	}
	return s.AppendRaw(ctx, raw, keys, items)
}

// ByTrace returns the spans of a trace in order of their start, each once however often it was sent. Beyond
// segment.MaxItems spans it returns what it has with signal.ErrTruncated.
func (s *Store) ByTrace(ctx context.Context, id signal.TraceID) ([]signal.Span, error) {
	found := spans{seen: map[signal.SpanID]bool{}}
	view := s.View()
	defer view.Release()
	var decoder signal.Decoder
	err := view.EachBatch(ctx, key.OfTrace(id), func(_ time.Time, batch []byte) error {
		err := otlp.Spans(batch, func(span *otlp.Span) error {
			if signal.TraceID(span.TraceID) == id && !found.has(span.SpanID) {
				found.add(decoder.Span(span))
			}
			return nil
		})
		return found.enough(err)
	})
	if err == nil && !found.full() {
		err = view.EachSegment(ctx, nil, func(f *sealed.File) error {
			_, err := f.SpansOf(ctx, id, func(span *signal.Span) bool {
				if !found.has(span.SpanID) {
					found.add(*span)
				}
				return !found.full()
			})
			return found.enough(err)
		})
	}
	if err == nil && found.full() {
		err = fmt.Errorf("%w: more than %d", signal.ErrTruncated, segment.MaxItems)
	}
	slices.SortStableFunc(found.list, func(a, b signal.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), slices.Compare(a.SpanID[:], b.SpanID[:]))
	})
	return found.list, err
}

// spans gathers each span once.
type spans struct {
	list []signal.Span
	seen map[signal.SpanID]bool
}

func (s *spans) has(id signal.SpanID) bool { return s.seen[id] }
func (s *spans) full() bool                { return len(s.list) > segment.MaxItems }

func (s *spans) add(span signal.Span) {
	s.seen[span.SpanID] = true
	s.list = append(s.list, span)
}

func (s *spans) enough(err error) error {
	if err == nil && s.full() {
		return segment.ErrStop
	}
	return err
}

// TracesOf returns the traces that an ID leads to, newest first: the trace of that ID in hex, and those with spans
// whose request ID, client request ID or client trace ID it is. None is no error.
func (s *Store) TracesOf(ctx context.Context, id string) ([]signal.TraceID, error) {
	found := traces{seen: map[signal.TraceID]bool{}}
	view := s.View()
	defer view.Release()
	if trace, ok := signal.ParseTraceID(id); ok {
		if err := s.trace(ctx, view, trace, &found); err != nil {
			return nil, err
		}
	}
	err := view.EachBatch(ctx, key.OfText(id), func(_ time.Time, batch []byte) error {
		err := otlp.Spans(batch, func(span *otlp.Span) error {
			if s.ids.Has(span.Attrs, id) {
				found.add(span.TraceID)
			}
			return nil
		})
		return found.enough(err)
	})
	if err == nil && len(found.list) < maxTraces {
		err = view.EachSegment(ctx, nil, func(f *sealed.File) error {
			_, err := f.TracesOf(ctx, id, func(trace signal.TraceID) bool { return found.add(trace) })
			return found.enough(err)
		})
	}
	return found.list, err
}

// trace adds the trace if a single span of it is there.
func (s *Store) trace(ctx context.Context, view *records.View, id signal.TraceID, found *traces) error {
	one := func(err error) error {
		if err == nil && found.seen[id] {
			return segment.ErrStop
		}
		return err
	}
	err := view.EachBatch(ctx, key.OfTrace(id), func(_ time.Time, batch []byte) error {
		return one(otlp.Spans(batch, func(span *otlp.Span) error {
			if signal.TraceID(span.TraceID) == id {
				found.add(id)
			}
			return nil
		}))
	})
	if err != nil || found.seen[id] {
		return err
	}
	return view.EachSegment(ctx, nil, func(f *sealed.File) error {
		has, _, err := f.HasTrace(ctx, id)
		if has {
			found.add(id)
		}
		return one(err)
	})
}

// traces gathers each trace once.
type traces struct {
	list []signal.TraceID
	seen map[signal.TraceID]bool
}

// add says whether there is room for more.
func (t *traces) add(id signal.TraceID) bool {
	if !id.IsZero() && !t.seen[id] && len(t.list) < maxTraces {
		t.seen[id] = true
		t.list = append(t.list, id)
	}
	return len(t.list) < maxTraces
}

func (t *traces) enough(err error) error {
	if err == nil && len(t.list) >= maxTraces {
		return segment.ErrStop
	}
	return err
}
