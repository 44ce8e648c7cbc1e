package storetest

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/collector/signal"
	"weft/internal/semconv"
)

func traceExamples(t *testing.T, subject *Subject[Traces]) {
	ctx := context.Background()
	append := func(batch ptrace.Traces) {
		t.Helper()
		if err := subject.Store.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	append(Batch(Span(1, 1), Span(1, 2, semconv.RequestIDAttribute, "order-1"), Span(2, 3, "request_id", "order-1")))
	append(Batch(Span(3, 4, semconv.ClientRequestID, "mine"), Span(3, 5, semconv.ClientTraceID, "0af7651916cd43dd8448eb211c80319c")))
	append(Batch(Span(1, 2, semconv.RequestIDAttribute, "order-1"))) // sent again
	append(Batch(Span(1, 6, "guid:x-request-id", signal.TraceID(trace(1)).String())))
	list := Batch(Span(4, 7))
	list.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().
		PutEmptySlice(semconv.RequestIDAttribute).AppendEmpty().SetStr("in-a-list")
	append(list)
	append(ptrace.NewTraces())

	for _, disturbed := range []bool{false, true} {
		if disturbed {
			subject.Store = subject.Disturb(t)
		}
		for id, want := range map[byte]string{1: "1 2 6 ", 2: "3 ", 3: "4 5 ", 4: "7 ", 9: ""} {
			spans, err := subject.Store.ByTrace(ctx, signal.TraceID(trace(id)))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range spans {
				got += fmt.Sprint(s.SpanID[0], " ")
			}
			if got != want {
				t.Errorf("disturbed %v: trace %d has spans %q, want %q", disturbed, id, got, want)
			}
		}
		for id, want := range map[string][]byte{
			"order-1": {1, 2}, "mine": {3}, "0af7651916cd43dd8448eb211c80319c": {3}, "in-a-list": {4}, "": {}, "order": {},
			signal.TraceID(trace(1)).String(): {1}, signal.TraceID(trace(9)).String(): {},
		} {
			var traces []signal.TraceID
			for _, i := range want {
				traces = appendTo(traces, signal.TraceID(trace(i)))
			}
			got, err := subject.Store.TracesOf(ctx, id)
			ok(t, err)
			same(t, "TracesOf "+id, sorted(got), traces)
		}
	}
}

func appendTo[T any](list []T, item T) []T { return append(list, item) }

func logExamples(t *testing.T, subject *Subject[Logs]) {
	ctx := context.Background()
	append := func(batch plog.Logs) {
		t.Helper()
		if err := subject.Store.Append(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	hex := signal.TraceID(trace(1)).String()
	first := LogBatch(Log(1, "a", "request_id", "order-1"), Log(1, "a", "request_id", "order-1"), Log(2, "b"))
	append(first)
	append(first) // sent again: two equal lines of one batch stay two
	append(LogBatch(Log(0, "c", "trace_id", hex), Log(0, "d", "request_id", "order-1"), Log(0, "e", "request_id", hex)))
	append(LogBatch(Log(1, "f", "request.id", hex)))
	for _, disturbed := range []bool{false, true} {
		if disturbed {
			subject.Store = subject.Disturb(t)
		}
		check := func(what, want string, logs []signal.Log, err error) {
			t.Helper()
			got := ""
			for _, l := range logs {
				got += l.Body
			}
			if err != nil || got != want {
				t.Errorf("disturbed %v: %s: %q, %v; want %q", disturbed, what, got, err, want)
			}
		}
		for id, want := range map[byte]string{1: "aacf", 2: "b", 3: ""} {
			logs, err := subject.Store.ByTrace(ctx, signal.TraceID(trace(id)))
			check(fmt.Sprint("trace ", id), want, logs, err)
		}
		for id, want := range map[string]string{"order-1": "aad", hex: "ef", "unknown": "", "": ""} {
			logs, err := subject.Store.ByRequest(ctx, id)
			check("request "+id, want, logs, err)
		}
	}
}

// Batch makes one resource's batch of spans.
func Batch(spans ...func(ptrace.Span)) ptrace.Traces {
	batch := ptrace.NewTraces()
	rs := batch.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(semconv.ServiceName, "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	for _, fill := range spans {
		fill(ss.Spans().AppendEmpty())
	}
	return batch
}

// Span makes a span; attributes are keys and values in turn.
func Span(inTrace, id byte, attributes ...string) func(ptrace.Span) {
	return func(s ptrace.Span) {
		s.SetTraceID(trace(inTrace))
		s.SetSpanID(pcommon.SpanID{id})
		s.SetName("GET /")
		s.SetStartTimestamp(pcommon.Timestamp(id))
		s.SetEndTimestamp(pcommon.Timestamp(id) + 1000)
		put(s.Attributes(), attributes)
	}
}

// LogBatch makes one resource's batch of log records.
func LogBatch(logs ...func(plog.LogRecord)) plog.Logs {
	batch := plog.NewLogs()
	rl := batch.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr(semconv.ServiceName, "shop")
	sl := rl.ScopeLogs().AppendEmpty()
	for _, fill := range logs {
		fill(sl.LogRecords().AppendEmpty())
	}
	return batch
}

// Log makes a log record, later the longer its body's first letter is in the alphabet.
func Log(inTrace byte, body string, attributes ...string) func(plog.LogRecord) {
	return func(r plog.LogRecord) {
		r.SetTraceID(trace(inTrace))
		r.SetTimestamp(pcommon.Timestamp(body[0]))
		r.Body().SetStr(body)
		put(r.Attributes(), attributes)
	}
}

func put(attrs pcommon.Map, pairs []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		attrs.PutStr(pairs[i], pairs[i+1])
	}
}
