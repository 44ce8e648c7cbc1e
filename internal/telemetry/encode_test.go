package telemetry

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"weft/internal/telemetry/delivery"
)

// request wraps items as the sender does; each gets the tag that the queue gives it.
func request(resource []Attr, items ...[]byte) []byte {
	var body []byte
	for _, item := range items {
		body = protowire.AppendTag(body, delivery.ItemField, protowire.BytesType)
		body = protowire.AppendBytes(body, item)
	}
	return append(delivery.Wrap(appendAttrs(nil, resourceAttributes, resource), len(body)), body...)
}

func sampleSpan() *Span {
	start := time.Unix(1_700_000_000, 123456789)
	return &Span{
		TraceID: NewTraceID(), SpanID: NewSpanID(), ParentID: NewSpanID(), Name: "GET /api/items/{id}", Kind: KindServer,
		Start: start, End: start.Add(12 * time.Millisecond), Error: true, StatusMessage: "the endpoint answered 503",
		Attrs: []Attr{
			Str("http.request.method", "GET"), Int("http.response.status_code", 503), Bool("weft.sampled", true),
			Bool("weft.off", false), Float("weft.share", 0.25), Int("negative", -3), Str("empty", ""),
			Str("url.path", "/api/items/"+strings.Repeat("x", 300)),
		},
		Links:  []Link{{TraceID: NewTraceID(), SpanID: NewSpanID(), Attrs: []Attr{Str("why", "untrusted client")}}},
		Events: []Event{{Time: start.Add(time.Millisecond), Name: "exception", Attrs: []Attr{Str("exception.message", "boom")}}},
	}
}

func decodeSpan(t testing.TB, s *Span, proxy string) ptrace.Span {
	t.Helper()
	raw := request([]Attr{Str("service.name", "gateway")}, appendSpan(nil, s, proxy))
	traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	resource := traces.ResourceSpans().At(0)
	if name, _ := resource.Resource().Attributes().Get("service.name"); name.Str() != "gateway" {
		t.Fatalf("resource %v", resource.Resource().Attributes().AsRaw())
	}
	if scope := resource.ScopeSpans().At(0).Scope().Name(); scope != delivery.ScopeName {
		t.Fatalf("scope %q", scope)
	}
	return resource.ScopeSpans().At(0).Spans().At(0)
}

func sameAttrs(t testing.TB, what string, got pcommon.Map, want []Attr) {
	t.Helper()
	if got.Len() != len(want) {
		t.Fatalf("%s: %d attributes, want %d", what, got.Len(), len(want))
	}
	i := 0
	for key, value := range got.All() {
		w := want[i].cleaned()
		i++
		if key != w.Key {
			t.Fatalf("%s: key %q, want %q", what, key, w.Key)
		}
		if f, ok := w.Value().(float64); ok && math.IsNaN(f) && math.IsNaN(value.Double()) {
			continue
		}
		if value.AsRaw() != w.Value() {
			t.Fatalf("%s: %s = %#v, want %#v", what, key, value.AsRaw(), w.Value())
		}
	}
}

func checkSpan(t testing.TB, s *Span, proxy string) {
	t.Helper()
	got := decodeSpan(t, s, proxy)
	want := s.Attrs
	if proxy != "" {
		want = append(want[:len(want):len(want)], Str("weft.proxy", proxy))
	}
	sameAttrs(t, "span", got.Attributes(), want)
	switch {
	case got.TraceID() != s.TraceID, got.SpanID() != s.SpanID, got.ParentSpanID() != s.ParentID:
		t.Fatalf("IDs %v %v %v", got.TraceID(), got.SpanID(), got.ParentSpanID())
	case got.Name() != clean(s.Name), got.Kind() != ptrace.SpanKind(s.Kind):
		t.Fatalf("name %q kind %v", got.Name(), got.Kind())
	case uint64(got.StartTimestamp()) != uint64(s.Start.UnixNano()), uint64(got.EndTimestamp()) != uint64(s.End.UnixNano()):
		t.Fatalf("times %v %v", got.StartTimestamp(), got.EndTimestamp())
	case s.Error != (got.Status().Code() == ptrace.StatusCodeError), s.Error && got.Status().Message() != clean(s.StatusMessage):
		t.Fatalf("status %v %q", got.Status().Code(), got.Status().Message())
	case got.Links().Len() != len(s.Links), got.Events().Len() != len(s.Events):
		t.Fatalf("%d links, %d events", got.Links().Len(), got.Events().Len())
	}
	for i, l := range s.Links {
		g := got.Links().At(i)
		if g.TraceID() != l.TraceID || g.SpanID() != l.SpanID {
			t.Fatalf("link %v %v", g.TraceID(), g.SpanID())
		}
		sameAttrs(t, "link", g.Attributes(), l.Attrs)
	}
	for i, e := range s.Events {
		g := got.Events().At(i)
		if g.Name() != clean(e.Name) || uint64(g.Timestamp()) != uint64(e.Time.UnixNano()) {
			t.Fatalf("event %q at %v", g.Name(), g.Timestamp())
		}
		sameAttrs(t, "event", g.Attributes(), e.Attrs)
	}
}

func TestSpanDecodesAsItWas(t *testing.T) {
	whole := sampleSpan()
	root := sampleSpan()
	root.ParentID, root.Error, root.Links, root.Events = [8]byte{}, false, nil, nil
	hostile := sampleSpan()
	hostile.Name = "GET /\xff\xfe"
	hostile.StatusMessage = "\xc3"
	hostile.Attrs = []Attr{Str("user_agent.original", strings.Repeat("é", maxText)), Str("\xf0", "a\x00b")}
	for name, s := range map[string]*Span{"whole": whole, "root": root, "hostile": hostile, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			checkSpan(t, s, "gateway")
			checkSpan(t, s, "")
		})
	}
	if text := decodeSpan(t, hostile, "").Name(); !utf8.ValidString(text) {
		t.Fatalf("name %q is not UTF-8", text)
	}
}

func TestRecordDecodesAsItWas(t *testing.T) {
	r := &Record{
		Time: time.Unix(1_700_000_000, 5), TraceID: NewTraceID(), SpanID: NewSpanID(), Severity: SeverityWarn,
		Body: "GET /api/home 200", Attrs: []Attr{Str("request_id", "abc"), Int("status", 200)},
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(request(nil, appendRecord(nil, r)))
	if err != nil {
		t.Fatal(err)
	}
	got := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	if got.TraceID() != r.TraceID || got.SpanID() != r.SpanID || got.Body().Str() != r.Body || got.SeverityText() != "WARN" ||
		got.SeverityNumber() != plog.SeverityNumberWarn || got.Timestamp() != pcommon.NewTimestampFromTime(r.Time) {
		t.Fatalf("got %v %v %q %q", got.TraceID(), got.SpanID(), got.Body().Str(), got.SeverityText())
	}
	sameAttrs(t, "record", got.Attributes(), r.Attrs)
}

func TestHistogramsDecodeAsTheyWere(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	h := newHistograms("gateway", start)
	trace := NewTraceID()
	h.observe("http.server.request.duration", 0.005, trace, []Attr{Str("http.route", "/a"), Int("http.response.status_code", 200)})
	h.observe("http.server.request.duration", 0.3, [16]byte{}, []Attr{Int("http.response.status_code", 200), Str("http.route", "/a")})
	h.observe("http.server.request.duration", 99, trace, []Attr{Str("http.route", "/b")})
	h.observe("http.client.request.duration", 1, trace, nil)
	items := appendHistograms(nil, h.read(), window{start, start.Add(time.Minute), time.Time{}})
	metrics, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(append(delivery.Wrap(nil, len(items)), items...))
	if err != nil {
		t.Fatal(err)
	}
	all := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	if all.Len() != 2 || all.At(1).Name() != "http.server.request.duration" || all.At(1).Unit() != "s" {
		t.Fatalf("%d metrics", all.Len())
	}
	server := all.At(1).Histogram()
	if server.AggregationTemporality() != pmetric.AggregationTemporalityCumulative || server.DataPoints().Len() != 2 {
		t.Fatalf("%v, %d points", server.AggregationTemporality(), server.DataPoints().Len())
	}
	for _, p := range server.DataPoints().All() {
		if p.ExplicitBounds().Len() != len(bounds) || p.BucketCounts().Len() != len(bounds)+1 || p.StartTimestamp() != pcommon.NewTimestampFromTime(start) {
			t.Fatalf("bounds %v counts %v start %v", p.ExplicitBounds(), p.BucketCounts(), p.StartTimestamp())
		}
		if proxy, _ := p.Attributes().Get("weft.proxy"); proxy.Str() != "gateway" {
			t.Fatalf("attributes %v", p.Attributes().AsRaw())
		}
		route, _ := p.Attributes().Get("http.route")
		switch route.Str() {
		case "/a":
			if p.Count() != 2 || p.Sum() != 0.305 || p.BucketCounts().At(0) != 1 || p.BucketCounts().At(7) != 1 {
				t.Fatalf("/a: count %d sum %v buckets %v", p.Count(), p.Sum(), p.BucketCounts().AsRaw())
			}
			if p.Exemplars().Len() != 1 || p.Exemplars().At(0).TraceID() != trace || p.Exemplars().At(0).DoubleValue() != 0.005 {
				t.Fatalf("/a: exemplars %d", p.Exemplars().Len())
			}
		case "/b":
			if p.BucketCounts().At(len(bounds)) != 1 {
				t.Fatalf("/b: buckets %v", p.BucketCounts().AsRaw())
			}
		}
	}
}

func FuzzSpan(f *testing.F) {
	f.Add([]byte("0123456789abcdef01234567"), "GET /", "key", "value", int64(7), true)
	f.Add([]byte{}, "\xff", "", strings.Repeat("é", 3000), int64(math.MinInt64), false)
	f.Fuzz(func(t *testing.T, ids []byte, name, key, value string, number int64, failed bool) {
		ids = append(ids, make([]byte, 24)...)
		attrs := []Attr{
			Str(key, value), Int(value, number), Float(key+"f", math.Float64frombits(uint64(number))), Bool(name, failed),
		}
		s := &Span{
			Name: name, Kind: uint8(binary.BigEndian.Uint16(ids) % 6), Start: time.Unix(0, number), End: time.Unix(0, number/2),
			Error: failed, StatusMessage: value, Attrs: attrs,
		}
		copy(s.TraceID[:], ids)
		copy(s.SpanID[:], ids[16:])
		if failed {
			s.Links = []Link{{TraceID: s.TraceID, SpanID: s.SpanID, Attrs: attrs[:2]}, {}}
			s.Events = []Event{{Time: s.Start, Name: key, Attrs: attrs}}
		}
		checkSpan(t, s, "sidecar")
	})
}
