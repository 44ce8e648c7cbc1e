package storetest

import (
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/internal/semconv"
)

// IDs are those that random batches use: few, so that they meet.
func IDs() []string {
	return []string{
		"order-1", "a", "", signal.TraceID(trace(1)).String(), signal.TraceID(trace(2)).String(), "0AF7651916CD43DD8448EB211C80319C",
	}
}

func names() []string {
	return append([]string{semconv.ClientRequestID, semconv.ClientTraceID, semconv.HTTPRoute}, semconv.RequestIDAliases...)
}

func randomAttributes(t *rapid.T) []string {
	var out []string
	for range rapid.IntRange(0, 2).Draw(t, "attributes") {
		out = append(out, rapid.SampledFrom(names()).Draw(t, "name"), rapid.SampledFrom(IDs()).Draw(t, "value"))
	}
	return out
}

// RandomTraces draws a batch. A span is always the same when its IDs are: who sends one twice sends it as it was.
func RandomTraces(t *rapid.T) ptrace.Traces {
	spans := make([]func(ptrace.Span), rapid.IntRange(0, 5).Draw(t, "spans"))
	for i := range spans {
		trace, id := rapid.ByteRange(0, 4).Draw(t, "trace"), rapid.ByteRange(1, 250).Draw(t, "span")
		pick := func(from []string, by int) string { return from[(int(id)*by+int(trace))%len(from)] }
		var attributes []string
		for n := range int(id) % 3 {
			attributes = append(attributes, pick(names(), n+1), pick(IDs(), n+3))
		}
		spans[i] = Span(trace, id, attributes...)
	}
	return Batch(spans...)
}

// RandomLogs draws a batch.
func RandomLogs(t *rapid.T) plog.Logs {
	logs := make([]func(plog.LogRecord), rapid.IntRange(0, 5).Draw(t, "records"))
	for i := range logs {
		body := rapid.StringMatching("[a-c]").Draw(t, "body")
		logs[i] = Log(rapid.ByteRange(0, 4).Draw(t, "trace"), body, randomAttributes(t)...)
	}
	return LogBatch(logs...)
}
