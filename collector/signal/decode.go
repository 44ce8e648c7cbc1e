package signal

import (
	"cmp"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/semconv"
)

// Spans decodes every span of a batch.
func Spans(batch ptrace.Traces) []Span {
	out := make([]Span, 0, batch.SpanCount())
	for _, rs := range batch.ResourceSpans().All() {
		resource := attributes(rs.Resource().Attributes())
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				out = append(out, span(s, resource, ss.Scope().Name()))
			}
		}
	}
	return out
}

func span(in ptrace.Span, resource Attributes, scope string) Span {
	attrs := attributes(in.Attributes())
	s := Span{
		TraceID: TraceID(in.TraceID()), SpanID: SpanID(in.SpanID()), ParentID: SpanID(in.ParentSpanID()),
		Name: in.Name(), Kind: Kind(in.Kind()), Start: int64(in.StartTimestamp()), End: int64(in.EndTimestamp()),
		Status: Status(in.Status().Code()), StatusMessage: in.Status().Message(),
		Service: resource.Text(semconv.ServiceName), Instance: resource.Text(semconv.ServiceInstanceID),
		RequestID: requestID(attrs), ClientRequestID: attrs.Text(semconv.ClientRequestID),
		Attributes: attrs, Resource: resource, Scope: scope,
	}
	for _, e := range in.Events().All() {
		s.Events = append(s.Events, Event{Time: int64(e.Timestamp()), Name: e.Name(), Attributes: attributes(e.Attributes())})
	}
	for _, l := range in.Links().All() {
		s.Links = append(s.Links, Link{TraceID: TraceID(l.TraceID()), SpanID: SpanID(l.SpanID()), Attributes: attributes(l.Attributes())})
	}
	return s
}

// Logs decodes every record of a batch.
func Logs(batch plog.Logs) []Log {
	out := make([]Log, 0, batch.LogRecordCount())
	for _, rl := range batch.ResourceLogs().All() {
		resource := attributes(rl.Resource().Attributes())
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				out = append(out, logRecord(r, resource))
			}
		}
	}
	return out
}

func logRecord(in plog.LogRecord, resource Attributes) Log {
	attrs := attributes(in.Attributes())
	l := Log{
		Time: cmp.Or(int64(in.Timestamp()), int64(in.ObservedTimestamp())), Observed: int64(in.ObservedTimestamp()),
		TraceID: TraceID(in.TraceID()), SpanID: SpanID(in.SpanID()),
		Service: resource.Text(semconv.ServiceName), Instance: resource.Text(semconv.ServiceInstanceID),
		RequestID: requestID(attrs), Severity: strings.ToUpper(cmp.Or(in.SeverityText(), in.SeverityNumber().String())),
		SeverityNumber: int32(in.SeverityNumber()), Body: in.Body().AsString(), Attributes: attrs, Resource: resource,
	}
	// Applications that log IDs as plain fields are as findable as those that fill the OTLP columns.
	if l.TraceID.IsZero() {
		l.TraceID, _ = ParseTraceID(attrs.Text(semconv.TraceIDLog))
	}
	return l
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

func attributes(in pcommon.Map) Attributes { return in.AsRaw() }
