package check

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft/bench/load"
	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// Trace is what was acknowledged of one trace.
type Trace struct {
	Number uint64
	Have   [2]uint8 // by signal: a bit for each item
	Base   [2]int64 // by signal, what the items' times were drawn from
}

// Traces are the traces of a list, in order of their number.
func Traces(entries []load.Acknowledged) []Trace {
	byNumber := map[uint64]*Trace{}
	for _, a := range entries {
		for n := range uint64(a.Traces) {
			t := byNumber[a.First+n]
			if t == nil {
				t = &Trace{Number: a.First + n}
				byNumber[t.Number] = t
			}
			t.Base[a.Signal] = a.Base
			for i := a.From; i < a.To; i++ {
				t.Have[a.Signal] |= 1 << i
			}
		}
	}
	out := make([]Trace, 0, len(byNumber))
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		out = append(out, *byNumber[number])
	}
	return out
}

// items are a trace's items of a signal as lines of text, by the ID of their span: there is one record a span.
func (t *Trace) items(e *load.Encoder, signal load.Signal) (map[string]string, error) {
	out := map[string]string{}
	for i := range uint8(load.SpansPerTrace) {
		if t.Have[signal]>>i&1 == 0 {
			continue
		}
		raw := e.Append(nil, load.Batch{Signal: signal, From: i, To: i + 1, Traces: 1, First: t.Number, Base: t.Base[signal]})
		var err error
		if signal == load.Spans {
			err = otlp.Spans(raw, func(s *otlp.Span) error { out[hex.EncodeToString(s.SpanID[:])] = sentSpan(s); return nil })
		} else {
			err = otlp.Logs(raw, func(l *otlp.Log) error { out[hex.EncodeToString(l.SpanID[:])] = sentRecord(l); return nil })
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// The lines below must say the same of an item as it was sent and as it is shown.

func sentSpan(s *otlp.Span) string {
	parent := ""
	if s.ParentID != [8]byte{} {
		parent = hex.EncodeToString(s.ParentID[:])
	}
	return fmt.Sprintf("%x in %q %s of %s/%s from %d for %d, %s:%s", s.SpanID, parent, s.Name, s.Resource.Text(semconv.ServiceName),
		s.Resource.Text(semconv.ServiceInstanceID), s.Start, s.End-s.Start, [...]string{"unset", "ok", "error"}[s.Status], sentAttributes(s.Attrs))
}

func shownSpan(s *Span) string {
	return fmt.Sprintf("%s in %q %s of %s/%s from %d for %d, %s:%s", s.SpanID, s.ParentID, s.Name, s.Service, s.Instance, s.Start, s.Duration, s.Status,
		shownAttributes(s.Attributes))
}

func sentRecord(l *otlp.Log) string {
	return fmt.Sprintf("%x: %s of %s/%s at %d in %s: %q%s", l.SpanID, l.SeverityText, l.Resource.Text(semconv.ServiceName),
		l.Resource.Text(semconv.ServiceInstanceID), l.Time, otlp.Find(l.Attrs, semconv.RequestIDLog).Text(), signal.ValueText(&l.Body), sentAttributes(l.Attrs))
}

func shownRecord(r *Record) string {
	return fmt.Sprintf("%s: %s of %s/%s at %d in %s: %q%s", r.SpanID, r.Severity, r.Service, r.Instance, r.Time, r.RequestID, r.Body, shownAttributes(r.Attributes))
}

func sentAttributes(attrs []otlp.Attr) string {
	lines := make([]string, 0, len(attrs))
	for i := range attrs {
		lines = append(lines, fmt.Sprintf(" %s=%s", attrs[i].Key, signal.ValueText(&attrs[i].Value)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func shownAttributes(attributes map[string]any) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		fmt.Fprintf(&out, " %s=%v", key, attributes[key])
	}
	return out.String()
}
