package signal

import (
	"bytes"
	"cmp"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/plog"

	"weft/internal/otlp"
	"weft/internal/semconv"
)

// FromSpan is the span in memory of its own. Text that is not UTF-8 is mended.
func FromSpan(s *otlp.Span) Span { return new(Decoder).Span(s) }

// FromLog is the log record in memory of its own. Text that is not UTF-8 is mended.
func FromLog(l *otlp.Log) Log { return new(Decoder).Log(l) }

// Decoder decodes one item after another; those of one resource share its attributes. The zero Decoder is ready. It is
// not safe for concurrent use.
type Decoder struct {
	raw               []byte // of the resource that was decoded last
	resource          Attributes
	service, instance string
}

// Span is the span in memory of its own.
func (d *Decoder) Span(in *otlp.Span) Span {
	d.from(in.Resource)
	attrs := attributes(in.Attrs)
	s := Span{
		TraceID: in.TraceID, SpanID: in.SpanID, ParentID: in.ParentID, TraceState: own(in.TraceState), Flags: in.Flags,
		Name: own(in.Name), Kind: Kind(in.Kind), Start: int64(in.Start), End: int64(in.End),
		Status: Status(in.Status), StatusMessage: own(in.StatusMessage), Service: d.service, Instance: d.instance,
		RequestID: requestID(attrs), ClientRequestID: attrs.Text(semconv.ClientRequestID),
		Attributes: attrs, Resource: d.resource, ResourceSchema: own(in.Resource.SchemaURL),
		Scope: own(in.Scope.Name), ScopeVersion: own(in.Scope.Version), ScopeAttributes: scopeAttributes(in.Scope), ScopeSchema: own(in.Scope.SchemaURL),
		DroppedAttributes: in.DroppedAttributes, DroppedEvents: in.DroppedEvents, DroppedLinks: in.DroppedLinks,
	}
	if len(in.Events) > 0 {
		s.Events = make([]Event, 0, len(in.Events))
		in.EachEvent(func(e *otlp.Event) {
			s.Events = append(s.Events, Event{int64(e.Time), own(e.Name), attributes(e.Attrs), e.DroppedAttributes})
		})
	}
	if len(in.Links) > 0 {
		s.Links = make([]Link, 0, len(in.Links))
		in.EachLink(func(l *otlp.Link) {
			s.Links = append(s.Links, Link{l.TraceID, l.SpanID, attributes(l.Attrs), own(l.TraceState), l.Flags, l.DroppedAttributes})
		})
	}
	return s
}

// Log is the log record in memory of its own.
func (d *Decoder) Log(in *otlp.Log) Log {
	d.from(in.Resource)
	attrs := attributes(in.Attrs)
	l := Log{
		Time: cmp.Or(int64(in.Time), int64(in.Observed)), Observed: int64(in.Observed),
		TraceID: in.TraceID, SpanID: in.SpanID, Flags: in.Flags, Service: d.service, Instance: d.instance, RequestID: requestID(attrs),
		Severity:       strings.ToUpper(cmp.Or(own(in.SeverityText), plog.SeverityNumber(in.SeverityNumber).String())),
		SeverityNumber: in.SeverityNumber, Body: own(in.Body.String()), EventName: own(in.EventName),
		Attributes: attrs, DroppedAttributes: in.DroppedAttributes, Resource: d.resource, ResourceSchema: own(in.Resource.SchemaURL),
		Scope: own(in.Scope.Name), ScopeVersion: own(in.Scope.Version), ScopeAttributes: scopeAttributes(in.Scope), ScopeSchema: own(in.Scope.SchemaURL),
	}
	// Applications that log IDs as plain fields are as findable as those that fill the OTLP columns.
	if l.TraceID.IsZero() {
		l.TraceID, _ = ParseTraceID(attrs.Text(semconv.TraceIDLog))
	}
	return l
}

// from decodes the resource, unless the item before had the same.
func (d *Decoder) from(resource *otlp.Resource) {
	// The bytes are compared, not where they lie: a buffer may be used again for another batch.
	if d.resource == nil || !bytes.Equal(d.raw, resource.Raw) {
		d.raw, d.resource = bytes.Clone(resource.Raw), attributes(resource.Attrs)
		d.service, d.instance = d.resource.Text(semconv.ServiceName), d.resource.Text(semconv.ServiceInstanceID)
	}
}

// requestID is the first alias that holds text; instrumentations write header attributes as lists.
func requestID(attrs Attributes) string {
	for _, key := range semconv.RequestIDAliases {
		value := attrs[key]
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = list[0]
		}
		if text, ok := value.(string); ok && text != "" {
			return text
		}
	}
	return ""
}

func scopeAttributes(scope *otlp.Scope) Attributes {
	if len(scope.Attrs) == 0 {
		return nil
	}
	return attributes(scope.Attrs)
}

func attributes(in []otlp.Attr) Attributes { return mend(otlp.Owned(in)).(map[string]any) }

// Valid is the text, with U+FFFD in the place of what is not UTF-8.
func Valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// own is valid text in memory of its own.
func own(view string) string { return strings.Clone(Valid(view)) }

// mend makes all text in an attribute value valid.
func mend(value any) any {
	switch v := value.(type) {
	case string:
		return Valid(v)
	case []any:
		for i := range v {
			v[i] = mend(v[i])
		}
	case map[string]any:
		for key, item := range v {
			if text, ok := item.(string); !ok || !utf8.ValidString(text) {
				v[key] = mend(item)
			}
			if !utf8.ValidString(key) {
				delete(v, key)
				v[Valid(key)] = mend(item)
			}
		}
	}
	return value
}
