package build

import (
	"runtime"

	"github.com/cespare/xxhash/v2"

	"weft/collector/signal"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/collector/store/sealed/rows"
	"weft/collector/store/sealed/table"
	"weft/internal/otlp"
)

// Spans makes rows of the spans in batches, which must stay unchanged for as long as the rows live. The keys in keep had
// columns before.
func Spans(batches []Batch, keep []string) *Rows {
	c := sample(batches, rows.Spans)
	s, defs := c.schema(rows.Spans, keep)
	b := newSpanBuilder(s, defs, c.estimate(batches))
	out := &Rows{Table: b.Table, Schema: s, Defs: defs, builder: b.builder, time: b.start}
	for _, batch := range batches {
		err := otlp.Spans(batch.Raw, func(x *otlp.Span) error {
			if b.add(x, batch.Received); b.row%yieldRows == 0 {
				runtime.Gosched()
			}
			return nil
		})
		if err != nil {
			out.Malformed++
		}
	}
	out.Gathered, out.Faulty, out.Order = int64(len(b.keys)), b.faulty, b.spanOrder()
	return out
}

// spanBuilder gathers spans.
type spanBuilder struct {
	*builder
	sorter
	parent, name, kind, start, duration, status, message, state *table.Column
	events, links, droppedEvents, droppedLinks                  *table.Column
	json                                                        []byte
	faulty                                                      int64
}

func newSpanBuilder(s *rows.Schema, defs []column.Def, n int) *spanBuilder {
	b := &spanBuilder{builder: newBuilder(s, defs, n)}
	for name, into := range map[string]**table.Column{
		rows.ColParent: &b.parent, rows.ColName: &b.name, rows.ColKind: &b.kind, rows.ColStart: &b.start, rows.ColDuration: &b.duration, rows.ColStatus: &b.status,
		rows.ColStatusMessage: &b.message, rows.ColTraceState: &b.state, rows.ColEvents: &b.events, rows.ColLinks: &b.links,
		rows.ColDroppedEvents: &b.droppedEvents, rows.ColDroppedLinks: &b.droppedLinks,
	} {
		*into = b.column(name)
	}
	b.keys = make([]sortKey, 0, n)
	return b
}

func (b *spanBuilder) add(s *otlp.Span, received int64) {
	if s.Fault != "" {
		b.faulty++
		return
	}
	row := b.row
	b.common(s.TraceID[:], s.SpanID[:], origin{s.Resource, s.Scope, received})
	b.parent.SetID(row, s.ParentID[:])
	setText(b.name, row, s.Name)
	b.kind.Set(row, signal.Kind(s.Kind).String())
	b.start.SetInt(row, int64(s.Start))
	b.duration.SetInt(row, int64(s.End-s.Start))
	b.status.Set(row, signal.Status(s.Status).String())
	setText(b.message, row, s.StatusMessage)
	setText(b.state, row, s.TraceState)
	setInt(b.flags, row, int64(s.Flags))
	setInt(b.dropped, row, int64(s.DroppedAttributes))
	setInt(b.droppedEvents, row, int64(s.DroppedEvents))
	setInt(b.droppedLinks, row, int64(s.DroppedLinks))
	if len(s.Events) > 0 {
		b.json = appendEvents(b.json[:0], s)
		b.events.SetCopy(row, b.json)
	}
	if len(s.Links) > 0 {
		b.json = appendLinks(b.json[:0], s)
		b.links.SetCopy(row, b.json)
	}
	b.setAttributes(s.Attrs, &s.TraceID)
	b.keys = append(b.keys, spanKey(s.TraceID, int64(s.Start), s.SpanID, row))
	if s.SpanID == [8]byte{} {
		b.noteHash(row, xxhash.Sum64(s.Raw))
	}
	b.row++
	b.Rows = b.row
}

// appendEvents writes a span's events as JSON: a list of maps with time (Unix ns), name, attributes, dropped.
func appendEvents(out []byte, s *otlp.Span) []byte {
	out = append(out, '[')
	s.EachEvent(func(e *otlp.Event) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = jsontext.Append(append(out, `{"time":`...), int64(e.Time))
		out = jsontext.Append(append(out, `,"name":`...), e.Name)
		out = appendExtras(out, e.Attrs, e.DroppedAttributes)
	})
	return append(out, ']')
}

// appendExtras ends an event or a link.
func appendExtras(out []byte, attrs []otlp.Attr, dropped uint32) []byte {
	if len(attrs) > 0 {
		out = jsontext.AppendAttrs(append(out, `,"attributes":`...), attrs)
	}
	if dropped > 0 {
		out = jsontext.Append(append(out, `,"dropped":`...), int64(dropped))
	}
	return append(out, '}')
}

// appendLinks writes a span's links as JSON: a list of maps with trace_id, span_id, trace_state, flags, attributes,
// dropped.
func appendLinks(out []byte, s *otlp.Span) []byte {
	out = append(out, '[')
	s.EachLink(func(l *otlp.Link) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = jsontext.Append(append(out, `{"trace_id":`...), signal.TraceID(l.TraceID).String())
		out = jsontext.Append(append(out, `,"span_id":`...), signal.SpanID(l.SpanID).String())
		if l.TraceState != "" {
			out = jsontext.Append(append(out, `,"trace_state":`...), l.TraceState)
		}
		if l.Flags != 0 {
			out = jsontext.Append(append(out, `,"flags":`...), int64(l.Flags))
		}
		out = appendExtras(out, l.Attrs, l.DroppedAttributes)
	})
	return append(out, ']')
}
