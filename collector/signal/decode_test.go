package signal

import (
	"math"
	"reflect"
	"testing"
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
	"weft/internal/semconv"
)

// everyType fills in a value of each type that OTLP has, with text that is not UTF-8 wherever text can be.
func everyType(attrs pcommon.Map) {
	attrs.PutStr("text", "a\xffb")
	attrs.PutInt("int", -7)
	attrs.PutDouble("double", 1.5)
	attrs.PutBool("bool", true)
	attrs.PutEmpty("empty")
	attrs.PutEmptyBytes("bytes").FromRaw([]byte{1, 0xff})
	list := attrs.PutEmptySlice("list")
	list.AppendEmpty().SetStr("\xfe")
	list.AppendEmpty().SetEmptyMap().PutStr("in\xffner", "v")
}

func everyTypeDecoded() Attributes {
	return Attributes{"text": "a�b", "int": int64(-7), "double": 1.5, "bool": true, "empty": nil, "bytes": []byte{1, 0xff},
		"list": []any{"�", map[string]any{"in�ner": "v"}}}
}

func with(more Attributes) Attributes {
	all := everyTypeDecoded()
	for key, value := range more {
		all[key] = value
	}
	return all
}

func TestASpanLosesNothing(t *testing.T) {
	batch := ptrace.NewTraces()
	rs := batch.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("resource schema")
	everyType(rs.Resource().Attributes())
	rs.Resource().Attributes().PutStr(semconv.ServiceName, "orders")
	rs.Resource().Attributes().PutStr(semconv.ServiceInstanceID, "orders-1")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.SetSchemaUrl("scope schema")
	ss.Scope().SetName("scope")
	ss.Scope().SetVersion("2")
	everyType(ss.Scope().Attributes())
	s := ss.Spans().AppendEmpty()
	s.SetTraceID([16]byte{1})
	s.SetSpanID([8]byte{2})
	s.SetParentSpanID([8]byte{3})
	s.TraceState().FromRaw("a=b")
	s.SetFlags(0x101)
	s.SetName("GET \xff")
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(10)
	s.SetEndTimestamp(20)
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("broke")
	s.SetDroppedAttributesCount(4)
	s.SetDroppedEventsCount(5)
	s.SetDroppedLinksCount(6)
	everyType(s.Attributes())
	s.Attributes().PutStr(semconv.ClientRequestID, "mine")
	s.Attributes().PutEmptySlice(semconv.RequestIDAttribute).AppendEmpty().SetStr("r")
	e := s.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(15)
	e.SetDroppedAttributesCount(7)
	everyType(e.Attributes())
	l := s.Links().AppendEmpty()
	l.SetTraceID([16]byte{8})
	l.SetSpanID([8]byte{9})
	l.TraceState().FromRaw("c=d")
	l.SetFlags(1)
	l.SetDroppedAttributesCount(8)
	everyType(l.Attributes())
	ss.Spans().AppendEmpty() // one of which nothing is said

	resource := with(Attributes{semconv.ServiceName: "orders", semconv.ServiceInstanceID: "orders-1"})
	want := []Span{{
		TraceID: TraceID{1}, SpanID: SpanID{2}, ParentID: SpanID{3}, TraceState: "a=b", Flags: 0x101, Name: "GET �", Kind: KindServer,
		Start: 10, End: 20, Status: StatusError, StatusMessage: "broke", Service: "orders", Instance: "orders-1", RequestID: "r", ClientRequestID: "mine",
		Attributes: with(Attributes{semconv.ClientRequestID: "mine", semconv.RequestIDAttribute: []any{"r"}}),
		Resource:   resource, ResourceSchema: "resource schema", Scope: "scope", ScopeVersion: "2", ScopeAttributes: everyTypeDecoded(), ScopeSchema: "scope schema",
		Events:            []Event{{15, "exception", everyTypeDecoded(), 7}},
		Links:             []Link{{TraceID{8}, SpanID{9}, everyTypeDecoded(), "c=d", 1, 8}},
		DroppedAttributes: 4, DroppedEvents: 5, DroppedLinks: 6,
	}, {
		Service: "orders", Instance: "orders-1", Attributes: Attributes{}, Resource: resource, ResourceSchema: "resource schema",
		Scope: "scope", ScopeVersion: "2", ScopeAttributes: everyTypeDecoded(), ScopeSchema: "scope schema",
	}}
	if got := Spans(batch); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestALogLosesNothing(t *testing.T) {
	batch := plog.NewLogs()
	rl := batch.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl("resource schema")
	rl.Resource().Attributes().PutStr(semconv.ServiceName, "orders")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.SetSchemaUrl("scope schema")
	sl.Scope().SetName("scope")
	sl.Scope().SetVersion("2")
	r := sl.LogRecords().AppendEmpty()
	r.SetTimestamp(10)
	r.SetObservedTimestamp(11)
	r.SetSeverityNumber(plog.SeverityNumberWarn2)
	r.SetFlags(1)
	r.SetTraceID([16]byte{1})
	r.SetSpanID([8]byte{2})
	r.SetEventName("weft.verdict")
	r.SetDroppedAttributesCount(3)
	everyType(r.Attributes())
	r.Body().SetEmptyMap().PutDouble("nan", math.NaN())
	plain := sl.LogRecords().AppendEmpty()
	plain.SetObservedTimestamp(12)
	plain.SetSeverityText("info")
	plain.Body().SetStr("hello \xff")
	plain.Attributes().PutStr(semconv.TraceIDLog, TraceID{9}.String())
	plain.Attributes().PutStr("request-id", "r")

	resource := Attributes{semconv.ServiceName: "orders"}
	want := []Log{{
		Time: 10, Observed: 11, TraceID: TraceID{1}, SpanID: SpanID{2}, Flags: 1, Service: "orders", Severity: "WARN2", SeverityNumber: 14,
		Body: `{"nan":"NaN"}`, EventName: "weft.verdict", Attributes: everyTypeDecoded(), DroppedAttributes: 3,
		Resource: resource, ResourceSchema: "resource schema", Scope: "scope", ScopeVersion: "2", ScopeSchema: "scope schema",
	}, {
		Time: 12, Observed: 12, TraceID: TraceID{9}, Service: "orders", RequestID: "r", Severity: "INFO", Body: "hello �",
		Attributes: Attributes{semconv.TraceIDLog: TraceID{9}.String(), "request-id": "r"},
		Resource:   resource, ResourceSchema: "resource schema", Scope: "scope", ScopeVersion: "2", ScopeSchema: "scope schema",
	}}
	if got := Logs(batch); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestADecoderOwnsItsMemory: two batches lie in the same bytes, one after the other, and differ in their resource only.
func TestADecoderOwnsItsMemory(t *testing.T) {
	encode := func(service string) []byte {
		batch := ptrace.NewTraces()
		rs := batch.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr(semconv.ServiceName, service)
		list := rs.ScopeSpans().AppendEmpty().Spans()
		list.AppendEmpty().SetName("op")
		list.AppendEmpty().SetName("op")
		raw, err := new(ptrace.ProtoMarshaler).MarshalTraces(batch)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	memory := encode("orders")
	var d Decoder
	var got []Span
	for _, service := range []string{"orders", "basket"} {
		copy(memory, encode(service))
		if err := otlp.Spans(memory, func(s *otlp.Span) error {
			got = append(got, d.Span(s))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	clear(memory)
	for i, want := range []string{"orders", "orders", "basket", "basket"} {
		if s := got[i]; s.Service != want || s.Resource.Text(semconv.ServiceName) != want || s.Name != "op" {
			t.Errorf("span %d: %+v", i, s)
		}
	}
	if unsafe.StringData(got[0].Service) != unsafe.StringData(got[1].Service) {
		t.Error("spans of one resource do not share it")
	}
}
