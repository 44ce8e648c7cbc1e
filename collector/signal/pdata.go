package signal

import (
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
)

// Spans are the spans of a decoded batch. It goes by way of the bytes, so that there is one set of rules.
func Spans(batch ptrace.Traces) []Span {
	raw, _ := new(ptrace.ProtoMarshaler).MarshalTraces(batch) // never fails
	out := make([]Span, 0, batch.SpanCount())
	var d Decoder
	_ = otlp.Spans(raw, func(s *otlp.Span) error { // what was encoded is sound
		out = append(out, d.Span(s))
		return nil
	})
	return out
}

// Logs are the records of a decoded batch.
func Logs(batch plog.Logs) []Log {
	raw, _ := new(plog.ProtoMarshaler).MarshalLogs(batch)
	out := make([]Log, 0, batch.LogRecordCount())
	var d Decoder
	_ = otlp.Logs(raw, func(l *otlp.Log) error {
		out = append(out, d.Log(l))
		return nil
	})
	return out
}
