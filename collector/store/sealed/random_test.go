package sealed

import (
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"weft/internal/semconv"
)

// Few IDs and keys, so that they meet.
var (
	someKeys = append([]string{
		semconv.ClientRequestID, semconv.ClientTraceID, semconv.HTTPRoute, semconv.HTTPResponseStatusCode, semconv.TraceIDLog,
		"a", "b", "long", "$x", "$bytes", "", "bad\xffkey", "q\"uote",
	}, semconv.RequestIDAliases...)
	someTexts = []string{
		"", "x", "order-1", strings.Repeat("0", 31) + "1", strings.Repeat("0", 31) + "2", "0AF7651916CD43DD8448EB211C80319C",
		"caf\xe9", "\x00\n\t\"\\\u2028", "{\"$bytes\":1}", strings.Repeat("long ", 30), "\U0010FFFF",
	}
	someDoubles = []float64{0, 1, -1.5, 1e300, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1 << 53}
	someInts    = []int64{0, 1, 200, -1, math.MaxInt64, math.MinInt64}
)

func drawValue(t *rapid.T, v pcommon.Value, depth int) {
	kinds := 6
	if depth < 4 {
		kinds = 8
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "type") {
	case 0:
		v.SetStr(rapid.SampledFrom(someTexts).Draw(t, "text"))
	case 1:
		v.SetStr(rapid.String().Draw(t, "random"))
	case 2:
		v.SetInt(rapid.SampledFrom(someInts).Draw(t, "int"))
	case 3:
		v.SetDouble(rapid.SampledFrom(someDoubles).Draw(t, "double"))
	case 4:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case 5:
		v.SetEmptyBytes().FromRaw(rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"))
	case 6:
		s := v.SetEmptySlice()
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			drawValue(t, s.AppendEmpty(), depth+1)
		}
	case 7:
		drawAttributes(t, v.SetEmptyMap(), depth+1)
	}
}

func drawAttributes(t *rapid.T, m pcommon.Map, depth int) {
	for range rapid.IntRange(0, 4).Draw(t, "attributes") {
		drawValue(t, m.PutEmpty(rapid.SampledFrom(someKeys).Draw(t, "key")), depth)
	}
	if rapid.IntRange(0, 9).Draw(t, "plain") > 2 { // most look like one another, so that some keys get columns
		m.PutStr("common", rapid.SampledFrom(someTexts).Draw(t, "common"))
		m.PutInt("number", rapid.SampledFrom(someInts).Draw(t, "number"))
		m.PutDouble("double", rapid.SampledFrom(someDoubles).Draw(t, "double"))
		m.PutBool("flag", rapid.Bool().Draw(t, "flag"))
	}
}

func drawTime(t *rapid.T) pcommon.Timestamp {
	return pcommon.Timestamp(rapid.OneOf(rapid.Uint64Range(1e18, 1e18+5), rapid.Uint64Range(0, 2), rapid.Uint64()).Draw(t, "time"))
}

func drawTrace(t *rapid.T) (id pcommon.TraceID) {
	id[15] = rapid.ByteRange(0, 3).Draw(t, "trace")
	return id
}

func drawSpanID(t *rapid.T) (id pcommon.SpanID) {
	id[0] = rapid.ByteRange(0, 6).Draw(t, "span")
	return id
}

func drawText(t *rapid.T) string { return rapid.SampledFrom(someTexts).Draw(t, "text") }

func drawResource(t *rapid.T, r pcommon.Resource) {
	if rapid.Bool().Draw(t, "service") {
		r.Attributes().PutStr(semconv.ServiceName, rapid.SampledFrom([]string{"cart", "pay", "bad\xff", ""}).Draw(t, "name"))
		r.Attributes().PutStr(semconv.ServiceInstanceID, rapid.SampledFrom([]string{"1", "2"}).Draw(t, "instance"))
	}
	if rapid.IntRange(0, 3).Draw(t, "resource") == 0 {
		drawAttributes(t, r.Attributes(), 0)
	}
}

func drawScope(t *rapid.T, s pcommon.InstrumentationScope) {
	if rapid.Bool().Draw(t, "scope") {
		s.SetName(drawText(t))
		s.SetVersion(drawText(t))
	}
	if rapid.IntRange(0, 3).Draw(t, "attrs") == 0 {
		drawAttributes(t, s.Attributes(), 0)
	}
}

func drawTraces(t *rapid.T) ptrace.Traces {
	out := ptrace.NewTraces()
	for range rapid.IntRange(0, 3).Draw(t, "resources") {
		rs := out.ResourceSpans().AppendEmpty()
		drawResource(t, rs.Resource())
		rs.SetSchemaUrl(drawText(t))
		for range rapid.IntRange(0, 2).Draw(t, "scopes") {
			ss := rs.ScopeSpans().AppendEmpty()
			drawScope(t, ss.Scope())
			ss.SetSchemaUrl(drawText(t))
			for range rapid.IntRange(0, 6).Draw(t, "spans") {
				drawSpan(t, ss.Spans().AppendEmpty())
			}
		}
	}
	return out
}

func drawSpan(t *rapid.T, s ptrace.Span) {
	s.SetTraceID(drawTrace(t))
	s.SetSpanID(drawSpanID(t))
	s.SetParentSpanID(drawSpanID(t))
	s.SetName(drawText(t))
	s.SetKind(ptrace.SpanKind(rapid.IntRange(0, 5).Draw(t, "kind")))
	s.SetStartTimestamp(drawTime(t))
	s.SetEndTimestamp(drawTime(t))
	s.Status().SetCode(ptrace.StatusCode(rapid.IntRange(0, 2).Draw(t, "status")))
	s.Status().SetMessage(drawText(t))
	s.TraceState().FromRaw(drawText(t))
	s.SetFlags(rapid.SampledFrom([]uint32{0, 1, math.MaxUint32}).Draw(t, "flags"))
	s.SetDroppedAttributesCount(rapid.Uint32Range(0, 1).Draw(t, "dropped"))
	s.SetDroppedEventsCount(rapid.Uint32Range(0, 1).Draw(t, "dropped"))
	s.SetDroppedLinksCount(rapid.Uint32Range(0, 1).Draw(t, "dropped"))
	drawAttributes(t, s.Attributes(), 0)
	if rapid.IntRange(0, 2).Draw(t, "more") > 0 {
		return
	}
	for range rapid.IntRange(0, 2).Draw(t, "events") {
		e := s.Events().AppendEmpty()
		e.SetName(drawText(t))
		e.SetTimestamp(drawTime(t))
		e.SetDroppedAttributesCount(rapid.Uint32Range(0, 1).Draw(t, "dropped"))
		drawAttributes(t, e.Attributes(), 0)
	}
	for range rapid.IntRange(0, 2).Draw(t, "links") {
		l := s.Links().AppendEmpty()
		l.SetTraceID(drawTrace(t))
		l.SetSpanID(drawSpanID(t))
		l.TraceState().FromRaw(drawText(t))
		l.SetFlags(rapid.Uint32().Draw(t, "flags"))
		drawAttributes(t, l.Attributes(), 0)
	}
}

func drawLogs(t *rapid.T) plog.Logs {
	out := plog.NewLogs()
	for range rapid.IntRange(0, 3).Draw(t, "resources") {
		rl := out.ResourceLogs().AppendEmpty()
		drawResource(t, rl.Resource())
		rl.SetSchemaUrl(drawText(t))
		for range rapid.IntRange(0, 2).Draw(t, "scopes") {
			sl := rl.ScopeLogs().AppendEmpty()
			drawScope(t, sl.Scope())
			sl.SetSchemaUrl(drawText(t))
			for range rapid.IntRange(0, 6).Draw(t, "records") {
				drawLog(t, sl.LogRecords().AppendEmpty())
			}
		}
	}
	return out
}

func drawLog(t *rapid.T, l plog.LogRecord) {
	l.SetTimestamp(drawTime(t))
	l.SetObservedTimestamp(drawTime(t))
	if rapid.Bool().Draw(t, "traced") {
		l.SetTraceID(drawTrace(t))
		l.SetSpanID(drawSpanID(t))
	}
	l.SetSeverityNumber(plog.SeverityNumber(rapid.IntRange(0, 24).Draw(t, "severity")))
	l.SetSeverityText(rapid.SampledFrom([]string{"", "info", "WARN", "\xff"}).Draw(t, "severity"))
	drawValue(t, l.Body(), 0)
	l.SetEventName(drawText(t))
	l.SetFlags(plog.LogRecordFlags(rapid.Uint32Range(0, 1).Draw(t, "flags")))
	l.SetDroppedAttributesCount(rapid.Uint32Range(0, 1).Draw(t, "dropped"))
	drawAttributes(t, l.Attributes(), 0)
}

// drawBatches draws batches, some of them twice.
func drawBatches[T any](t *rapid.T, draw func(*rapid.T) T, marshal func(T) ([]byte, error)) (out []Batch) {
	for range rapid.IntRange(0, 5).Draw(t, "batches") {
		if len(out) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
			out = append(out, Batch{Received: 1e18, Raw: rapid.SampledFrom(out).Draw(t, "which").Raw})
			continue
		}
		raw, err := marshal(draw(t))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{Received: rapid.Int64Range(1e18, 1e18+100).Draw(t, "received"), Raw: raw})
	}
	return out
}

func drawSpanBatches(t *rapid.T) []Batch {
	var m ptrace.ProtoMarshaler
	return drawBatches(t, drawTraces, m.MarshalTraces)
}

func drawLogBatches(t *rapid.T) []Batch {
	var m plog.ProtoMarshaler
	return drawBatches(t, drawLogs, m.MarshalLogs)
}
