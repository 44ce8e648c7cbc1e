package facts

import (
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"pgregory.net/rapid"

	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		span signal.Span
		want Span
	}{
		"nothing said": {signal.Span{}, Span{}},
		"a gateway's request": {
			signal.Span{Kind: signal.KindServer, RequestID: "r", ClientRequestID: "c", Attributes: signal.Attributes{
				semconv.WeftProxy: "gateway", semconv.HTTPRequestMethod: "GET", semconv.HTTPRoute: "/a/{id}", semconv.HTTPResponseStatusCode: int64(502), semconv.ClientTraceID: "t"}},
			Span{Kind: signal.KindServer, Proxy: Gateway, Method: "GET", Route: "/a/{id}", Status: 502, Failed: true, RequestID: "r", ClientRequestID: "c", ClientTrace: "t"}},
		"an older instrumentation": {
			signal.Span{Kind: signal.KindClient, Attributes: signal.Attributes{"http.method": "PUT", "http.status_code": int64(204), "db.system": "redis", "db.name": "0"}},
			Span{Kind: signal.KindClient, Method: "PUT", Status: 204, Database: Database{System: "redis", Name: "0"}}},
		"a refusal is no failure": {
			signal.Span{Kind: signal.KindClient, Status: signal.StatusError, Attributes: signal.Attributes{semconv.HTTPResponseStatusCode: int64(404)}},
			Span{Kind: signal.KindClient, Code: signal.StatusError, Status: 404}},
		"a response that broke off is one": {
			signal.Span{Kind: signal.KindClient, Status: signal.StatusError, Attributes: signal.Attributes{semconv.HTTPResponseStatusCode: int64(200)}},
			Span{Kind: signal.KindClient, Code: signal.StatusError, Status: 200, Failed: true}},
		"a retry": {
			signal.Span{Kind: signal.KindClient, Attributes: signal.Attributes{semconv.HTTPResendCount: int64(2), semconv.WeftService: "payment", semconv.WeftTraceRepaired: true}},
			Span{Kind: signal.KindClient, Resend: 2, Called: "payment", Repaired: true}},
		"nonsense": {
			signal.Span{Kind: signal.Kind(99), RequestID: strings.Repeat("x", 129), Attributes: signal.Attributes{
				semconv.HTTPResponseStatusCode: int64(-7), semconv.HTTPResendCount: int64(-1), semconv.WeftTraceRepaired: "yes", semconv.HTTPRequestMethod: 5, semconv.WeftProxy: "squid"}},
			Span{Kind: signal.Kind(99), Proxy: OtherProxy}},
	} {
		if got := Read(&tc.span); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestAliasesAreSemconvs(t *testing.T) {
	if len(semconv.RequestIDAliases) != len(requestIDs{}) {
		t.Fatalf("%d aliases", len(semconv.RequestIDAliases))
	}
	for i, key := range semconv.RequestIDAliases {
		if aliasOf(key) != i {
			t.Errorf("%s is at %d, want %d", key, aliasOf(key), i)
		}
		if len(key) < shortest || len(key) > longest {
			t.Errorf("%s would be skipped", key)
		}
	}
}

// keys are those that mean something, and two that do not.
var keys = append([]string{
	semconv.WeftProxy, semconv.WeftService, semconv.HTTPRequestMethod, oldHTTPMethod, semconv.HTTPRoute, semconv.URLPath, semconv.ClientTraceID,
	semconv.ClientRequestID, dbSystem, oldDBSystem, peerService, dbNamespace, oldDBName, semconv.ServerAddress, semconv.HTTPResponseStatusCode,
	oldHTTPStatus, semconv.HTTPResendCount, semconv.WeftTraceRepaired, semconv.TraceIDLog, semconv.ServiceName, semconv.ServiceInstanceID,
	"", "something.else", strings.Repeat("long", 20), "weft.prox\xff",
}, semconv.RequestIDAliases...)

func put(t *rapid.T, attrs pcommon.Map) {
	for range rapid.IntRange(0, 12).Draw(t, "attributes") {
		value(t, attrs.PutEmpty(rapid.SampledFrom(keys).Draw(t, "key")))
	}
}

func value(t *rapid.T, v pcommon.Value) {
	text := rapid.SampledFrom([]string{"", "gateway", "sidecar", "x", "bad\xff\xfe", strings.Repeat("y", 128), strings.Repeat("\xff", 129),
		strings.Repeat("z", 126) + "\xff", "0123456789abcdef0123456789abcdef"})
	switch rapid.IntRange(0, 6).Draw(t, "type") {
	case 0, 1, 2:
		v.SetStr(text.Draw(t, "text"))
	case 3:
		v.SetInt(rapid.SampledFrom([]int64{0, -1, 1, 200, 404, 503, 999, 1000, 1 << 40, -1 << 63}).Draw(t, "int"))
	case 4:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case 5:
		list := v.SetEmptySlice()
		for range rapid.IntRange(0, 2).Draw(t, "elements") {
			list.AppendEmpty().SetStr(text.Draw(t, "element"))
		}
		if rapid.IntRange(0, 9).Draw(t, "nested") == 0 {
			list.AppendEmpty().SetEmptySlice().AppendEmpty().SetStr("deep")
		}
	case 6:
		v.SetEmptyMap().PutStr("k", "v")
	}
}

// bothWays holds what the walk says of a batch against what the decoded items say.
func bothWays(t interface{ Fatalf(string, ...any) }, spans, logs []byte) {
	var s Span
	_ = otlp.Spans(spans, func(in *otlp.Span) error {
		decoded := signal.FromSpan(in)
		if ReadWire(in, &s); s != Read(&decoded) {
			t.Fatalf("of the wire %+v\ndecoded     %+v", s, Read(&decoded))
		}
		return nil
	})
	var l Log
	_ = otlp.Logs(logs, func(in *otlp.Log) error {
		decoded := signal.FromLog(in)
		if ReadLogWire(in, &l); l != ReadLog(&decoded) {
			t.Fatalf("of the wire %+v\ndecoded     %+v", l, ReadLog(&decoded))
		}
		return nil
	})
}

func TestBothWaysSayTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		traces, logs := ptrace.NewTraces(), plog.NewLogs()
		rs := traces.ResourceSpans().AppendEmpty()
		put(t, rs.Resource().Attributes())
		s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetTraceID([16]byte{1})
		s.SetSpanID([8]byte{byte(rapid.IntRange(0, 1).Draw(t, "id"))})
		s.SetName(rapid.SampledFrom([]string{"", "op", "\xff"}).Draw(t, "name"))
		s.SetKind(ptrace.SpanKind(rapid.IntRange(-1, 7).Draw(t, "kind")))
		s.Status().SetCode(ptrace.StatusCode(rapid.IntRange(-1, 3).Draw(t, "status")))
		s.SetStartTimestamp(pcommon.Timestamp(rapid.Uint64().Draw(t, "start")))
		s.SetEndTimestamp(pcommon.Timestamp(rapid.Uint64().Draw(t, "end")))
		put(t, s.Attributes())
		for range rapid.IntRange(0, 2).Draw(t, "links") {
			link := s.Links().AppendEmpty()
			link.SetTraceID([16]byte{2})
			link.SetSpanID([8]byte{byte(rapid.IntRange(0, 1).Draw(t, "linked"))})
		}
		rl := logs.ResourceLogs().AppendEmpty()
		put(t, rl.Resource().Attributes())
		r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetTraceID([16]byte{byte(rapid.IntRange(0, 1).Draw(t, "log trace"))})
		r.SetTimestamp(pcommon.Timestamp(rapid.IntRange(0, 1).Draw(t, "time")))
		r.SetObservedTimestamp(7)
		put(t, r.Attributes())
		bothWays(t, marshal(traces), marshalLogs(logs))
	})
}

func marshal(batch ptrace.Traces) []byte {
	raw, _ := new(ptrace.ProtoMarshaler).MarshalTraces(batch)
	return raw
}

func marshalLogs(batch plog.Logs) []byte {
	raw, _ := new(plog.ProtoMarshaler).MarshalLogs(batch)
	return raw
}

// typical is a span as a sidecar makes it, some 480 bytes, and a log record of its service.
func typical() ([]byte, []byte) {
	traces, logs := ptrace.NewTraces(), plog.NewLogs()
	rs := traces.ResourceSpans().AppendEmpty()
	rl := logs.ResourceLogs().AppendEmpty()
	for _, attrs := range []pcommon.Map{rs.Resource().Attributes(), rl.Resource().Attributes()} {
		attrs.PutStr("service.name", "orders")
		attrs.PutStr("service.version", "1.4.2")
		attrs.PutStr("service.instance.id", "orders-2")
	}
	list := rs.ScopeSpans().AppendEmpty().Spans()
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range 1000 {
		s := list.AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i), byte(i >> 8)})
		s.SetSpanID([8]byte{byte(i), byte(i >> 8), 1})
		s.SetParentSpanID([8]byte{1})
		s.SetName("GET /orders/{id}")
		s.SetKind(ptrace.SpanKindClient)
		s.SetStartTimestamp(1_800_000_000_000_000_000)
		s.SetEndTimestamp(1_800_000_000_012_000_000)
		a := s.Attributes()
		a.PutStr(semconv.WeftProxy, "sidecar")
		a.PutStr(semconv.HTTPRequestMethod, "GET")
		a.PutInt(semconv.HTTPResponseStatusCode, 200)
		a.PutStr(semconv.HTTPRoute, "/orders/{id}")
		a.PutStr(semconv.URLPath, "/orders/81723")
		a.PutStr(semconv.RequestIDAttribute, "0123456789abcdef0123456789abcdef")
		a.PutStr(semconv.WeftService, "payment")
		a.PutStr(semconv.WeftEndpoint, "payment-2")
		a.PutStr(semconv.ServerAddress, "127.0.0.1")
		a.PutInt(semconv.ServerPort, 40213)
		r := records.AppendEmpty()
		r.SetTraceID([16]byte{1, byte(i), byte(i >> 8)})
		r.SetTimestamp(1_800_000_000_000_000_000)
		r.Body().SetStr("charged the card of customer 4711 with 12.90 EUR")
		r.Attributes().PutStr(semconv.RequestIDLog, "0123456789abcdef0123456789abcdef")
		r.Attributes().PutStr("http.route", "/orders/{id}")
		r.Attributes().PutInt("customer", 4711)
	}
	return marshal(traces), marshalLogs(logs)
}

func FuzzBothWays(f *testing.F) {
	spans, logs := typical()
	f.Add(spans[:2000], logs[:2000])
	f.Fuzz(func(t *testing.T, spans, logs []byte) { bothWays(t, spans, logs) })
}

func TestReadingAllocatesNothing(t *testing.T) {
	spans, logs := typical()
	var s Span
	_ = otlp.Spans(spans, func(in *otlp.Span) error {
		if n := testing.AllocsPerRun(10, func() { ReadWire(in, &s) }); n != 0 {
			t.Fatalf("%v allocations a span", n)
		}
		return otlp.ErrMalformed
	})
	var l Log
	_ = otlp.Logs(logs, func(in *otlp.Log) error {
		if n := testing.AllocsPerRun(10, func() { ReadLogWire(in, &l) }); n != 0 {
			t.Fatalf("%v allocations a record", n)
		}
		return otlp.ErrMalformed
	})
	if s.RequestID == "" || l.RequestID == "" {
		t.Fatal("nothing was read")
	}
}

// BenchmarkRead puts the facts' price beside that of the walk they come from and of the full decode, the yardstick.
func BenchmarkRead(b *testing.B) {
	spans, logs := typical()
	per := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/item")
	}
	b.Run("decode spans", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = new(ptrace.ProtoUnmarshaler).UnmarshalTraces(spans)
		}
		per(b)
	})
	b.Run("walk spans", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = otlp.Spans(spans, func(*otlp.Span) error { return nil })
		}
		per(b)
	})
	b.Run("walk spans and read", func(b *testing.B) {
		b.ReportAllocs()
		var s Span
		for b.Loop() {
			_ = otlp.Spans(spans, func(in *otlp.Span) error { ReadWire(in, &s); return nil })
		}
		per(b)
	})
	b.Run("walk logs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = otlp.Logs(logs, func(*otlp.Log) error { return nil })
		}
		per(b)
	})
	b.Run("walk logs and read", func(b *testing.B) {
		b.ReportAllocs()
		var l Log
		for b.Loop() {
			_ = otlp.Logs(logs, func(in *otlp.Log) error { ReadLogWire(in, &l); return nil })
		}
		per(b)
	})
}
