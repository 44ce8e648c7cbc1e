package otlp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
)

// rich is a batch with everything in it that OTLP has.
func rich(t testing.TB) ptrace.Traces {
	t.Helper()
	batch := ptrace.NewTraces()
	for r := range 3 {
		rs := batch.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.37.0")
		everyType(rs.Resource().Attributes(), r)
		rs.Resource().SetDroppedAttributesCount(1)
		for range 2 {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.SetSchemaUrl("scope")
			ss.Scope().SetName("scope")
			ss.Scope().SetVersion("1")
			everyType(ss.Scope().Attributes(), r)
			for i := range 4 {
				s := ss.Spans().AppendEmpty()
				s.SetTraceID([16]byte{1, byte(r)})
				s.SetSpanID([8]byte{byte(i + 1)})
				s.SetParentSpanID([8]byte{byte(i)})
				s.SetName(fmt.Sprintf("span %d", i))
				s.SetKind(ptrace.SpanKind(i % 6))
				s.SetStartTimestamp(pcommon.Timestamp(1e18 + i))
				s.SetEndTimestamp(pcommon.Timestamp(1e18 + 10*i))
				s.SetFlags(0x101)
				s.TraceState().FromRaw("a=b")
				s.SetDroppedAttributesCount(2)
				s.SetDroppedEventsCount(3)
				s.SetDroppedLinksCount(4)
				s.Status().SetCode(ptrace.StatusCode(i % 3))
				s.Status().SetMessage("message")
				everyType(s.Attributes(), i)
				e := s.Events().AppendEmpty()
				e.SetName("exception")
				e.SetTimestamp(7)
				everyType(e.Attributes(), i)
				l := s.Links().AppendEmpty()
				l.SetTraceID([16]byte{9})
				l.SetSpanID([8]byte{9})
				everyType(l.Attributes(), i)
			}
		}
	}
	return batch
}

func everyType(attrs pcommon.Map, n int) {
	attrs.PutStr("text", strings.Repeat("x", n))
	attrs.PutInt("int", int64(-n))
	attrs.PutDouble("double", 1.5)
	attrs.PutBool("bool", n%2 == 0)
	attrs.PutEmpty("empty")
	attrs.PutEmptyBytes("bytes").FromRaw([]byte{1, 2})
	list := attrs.PutEmptySlice("list")
	list.AppendEmpty().SetStr("first")
	list.AppendEmpty().SetEmptyMap().PutStr("inner", "value")
}

func richLogs(t testing.TB) plog.Logs {
	t.Helper()
	batch := plog.NewLogs()
	rl := batch.ResourceLogs().AppendEmpty()
	everyType(rl.Resource().Attributes(), 1)
	sl := rl.ScopeLogs().AppendEmpty()
	for i := range 8 {
		r := sl.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.Timestamp(i))
		r.SetObservedTimestamp(5)
		r.SetSeverityNumber(plog.SeverityNumber(i * 3))
		r.SetSeverityText("INFO")
		r.SetTraceID([16]byte{byte(i)})
		r.SetSpanID([8]byte{byte(i)})
		r.SetFlags(1)
		r.SetEventName("event")
		r.SetDroppedAttributesCount(1)
		everyType(r.Attributes(), i)
		if i%2 == 0 {
			r.Body().SetStr("body")
		} else {
			everyType(r.Body().SetEmptyMap(), i)
		}
	}
	return batch
}

func marshalTraces(t testing.TB, batch ptrace.Traces) []byte {
	t.Helper()
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func marshalLogs(t testing.TB, batch plog.Logs) []byte {
	t.Helper()
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func attrs(in []otlp.Attr) (out []string) {
	for i := range in {
		out = append(out, fmt.Sprintf("%s=%#v", in[i].Key, in[i].Value.Any()))
	}
	return out
}

func decodedAttrs(in pcommon.Map) (out []string) {
	for key, value := range in.All() {
		out = append(out, fmt.Sprintf("%s=%#v", key, value.AsRaw()))
	}
	return out
}

func enum(n int32, highest int32) int32 {
	if n < 0 || n > highest {
		return 0
	}
	return n
}

// walkedSpans tells all that a walk shows, one line a span.
func walkedSpans(batch []byte) (lines []string, faults int, err error) {
	err = otlp.Spans(batch, func(s *otlp.Span) error {
		if s.Fault != "" {
			faults++
		}
		line := fmt.Sprint(hex.EncodeToString(s.TraceID[:]), hex.EncodeToString(s.SpanID[:]), hex.EncodeToString(s.ParentID[:]), []byte(s.Name),
			[]byte(s.TraceState), s.Kind, s.Start, s.End, s.DroppedAttributes, s.DroppedEvents, s.DroppedLinks, s.Status, []byte(s.StatusMessage), s.Flags,
			attrs(s.Attrs), attrs(s.Resource.Attrs), []byte(s.Scope.Name), []byte(s.Scope.Version), attrs(s.Scope.Attrs), []byte(s.Scope.SchemaURL), []byte(s.Resource.SchemaURL))
		s.EachEvent(func(e *otlp.Event) {
			line += fmt.Sprint("|e", e.Time, []byte(e.Name), attrs(e.Attrs), e.DroppedAttributes)
		})
		s.EachLink(func(l *otlp.Link) {
			line += fmt.Sprint("|l", l.TraceID, l.SpanID, []byte(l.TraceState), attrs(l.Attrs), l.DroppedAttributes, l.Flags)
		})
		lines = append(lines, line)
		return nil
	})
	return lines, faults, err
}

func decodedSpans(batch ptrace.Traces) (lines []string) {
	for _, rs := range batch.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				trace, span, parent := s.TraceID(), s.SpanID(), s.ParentSpanID()
				line := fmt.Sprint(hex.EncodeToString(trace[:]), hex.EncodeToString(span[:]), hex.EncodeToString(parent[:]), []byte(s.Name()),
					[]byte(s.TraceState().AsRaw()), enum(int32(s.Kind()), 5), uint64(s.StartTimestamp()), uint64(s.EndTimestamp()), s.DroppedAttributesCount(), s.DroppedEventsCount(), s.DroppedLinksCount(),
					enum(int32(s.Status().Code()), 2), []byte(s.Status().Message()), s.Flags(), decodedAttrs(s.Attributes()), decodedAttrs(rs.Resource().Attributes()),
					[]byte(ss.Scope().Name()), []byte(ss.Scope().Version()), decodedAttrs(ss.Scope().Attributes()), []byte(ss.SchemaUrl()), []byte(rs.SchemaUrl()))
				for _, e := range s.Events().All() {
					line += fmt.Sprint("|e", uint64(e.Timestamp()), []byte(e.Name()), decodedAttrs(e.Attributes()), e.DroppedAttributesCount())
				}
				for _, l := range s.Links().All() {
					line += fmt.Sprint("|l", [16]byte(l.TraceID()), [8]byte(l.SpanID()), []byte(l.TraceState().AsRaw()), decodedAttrs(l.Attributes()), l.DroppedAttributesCount(), l.Flags())
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func walkedLogs(batch []byte) (lines []string, faults int, err error) {
	err = otlp.Logs(batch, func(l *otlp.Log) error {
		if l.Fault != "" {
			faults++
		}
		lines = append(lines, fmt.Sprint(l.TraceID, l.SpanID, l.Time, l.Observed, l.SeverityNumber, []byte(l.SeverityText), fmt.Sprintf("%#v", l.Body.Any()),
			attrs(l.Attrs), l.DroppedAttributes, l.Flags, []byte(l.EventName), attrs(l.Resource.Attrs), []byte(l.Scope.Name)))
		return nil
	})
	return lines, faults, err
}

func decodedLogs(batch plog.Logs) (lines []string) {
	for _, rl := range batch.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				lines = append(lines, fmt.Sprint([16]byte(r.TraceID()), [8]byte(r.SpanID()), uint64(r.Timestamp()), uint64(r.ObservedTimestamp()), enum(int32(r.SeverityNumber()), 24),
					[]byte(r.SeverityText()), fmt.Sprintf("%#v", r.Body().AsRaw()), decodedAttrs(r.Attributes()), r.DroppedAttributesCount(), uint32(r.Flags()), []byte(r.EventName()),
					decodedAttrs(rl.Resource().Attributes()), []byte(sl.Scope().Name())))
			}
		}
	}
	return lines
}

func TestAWalkShowsWhatTheFullDecoderDoes(t *testing.T) {
	batch := rich(t)
	got, faults, err := walkedSpans(marshalTraces(t, batch))
	if want := decodedSpans(batch); err != nil || faults != 0 || !slices.Equal(got, want) {
		t.Errorf("%d faults, %v\n got %s\nwant %s", faults, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	logs := richLogs(t)
	got, faults, err = walkedLogs(marshalLogs(t, logs))
	if want := decodedLogs(logs); err != nil || faults != 0 || !slices.Equal(got, want) {
		t.Errorf("%d faults, %v\n got %s\nwant %s", faults, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The full decoder is the judge of every input, but for what it refuses or risks because of a single item.
func FuzzSpans(f *testing.F) {
	f.Add(marshalTraces(f, rich(f)))
	f.Add([]byte{0x0a, 0x03, 0x13, 0x08, 0x14})
	f.Fuzz(func(t *testing.T, batch []byte) {
		got, faults, err := walkedSpans(batch)
		decoded, decodeErr := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(batch)
		switch {
		case err != nil && !errors.Is(err, otlp.ErrMalformed):
			t.Fatal(err)
		case err != nil && decodeErr == nil && faults == 0:
			t.Fatalf("refused by the walk alone: %v", err)
		case err == nil && decodeErr != nil && faults == 0:
			t.Fatalf("refused by the decoder alone: %v", decodeErr)
		case err == nil && decodeErr == nil && faults == 0 && !bytes.Contains(batch, []byte{0xc2, 0x3e}): // field 1000 is moved by the receiver, not by the decoder
			if want := decodedSpans(decoded); !slices.Equal(got, want) {
				t.Fatalf("\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

func FuzzLogs(f *testing.F) {
	f.Add(marshalLogs(f, richLogs(f)))
	f.Fuzz(func(t *testing.T, batch []byte) {
		got, faults, err := walkedLogs(batch)
		decoded, decodeErr := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(batch)
		switch {
		case err != nil && !errors.Is(err, otlp.ErrMalformed):
			t.Fatal(err)
		case (err == nil) != (decodeErr == nil) && faults == 0:
			t.Fatalf("walk %v, decoder %v", err, decodeErr)
		case err == nil && decodeErr == nil && faults == 0 && !bytes.Contains(batch, []byte{0xc2, 0x3e}):
			if want := decodedLogs(decoded); !slices.Equal(got, want) {
				t.Fatalf("\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

func TestWithoutLeavesTheOthers(t *testing.T) {
	raw := marshalTraces(t, rich(t))
	all, _, _ := walkedSpans(raw)
	for _, drop := range [][]int{{}, {0}, {len(all) - 1}, {1, 2, 3, 4, 5, 6, 7, 8}, {3, 11}} {
		places := map[int]bool{}
		var want []string
		for _, i := range drop {
			places[i] = true
		}
		for i, line := range all {
			if !places[i] {
				want = append(want, line)
			}
		}
		got, _, err := walkedSpans(otlp.Without(raw, places))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("without %v: %d spans, want %d, %v", drop, len(got), len(want), err)
		}
	}
	if !bytes.Equal(otlp.Without(raw, nil), raw) {
		t.Error("nothing left out, and yet the bytes differ")
	}
}

func message(id byte, body ...byte) []byte {
	return append([]byte{id<<3 | 2, byte(len(body))}, body...)
}

func inBatch(spans ...[]byte) []byte {
	var scope []byte
	for _, s := range spans {
		scope = append(scope, message(2, s...)...)
	}
	return message(1, message(2, scope...)...)
}

func TestAFaultIsTheItemsAlone(t *testing.T) {
	good := append(message(1, bytes.Repeat([]byte{1}, 16)...), message(2, bytes.Repeat([]byte{2}, 8)...)...)
	for name, bad := range map[string][]byte{
		"short trace ID": message(1, 1, 2, 3),
		"long span ID":   message(2, bytes.Repeat([]byte{1}, 9)...),
		"parent":         message(4, 1),
		"link":           message(13, message(1, 1)...),
	} {
		lines, faults, err := walkedSpans(inBatch(good, bad, good))
		if err != nil || len(lines) != 3 || faults != 1 {
			t.Errorf("%s: %d spans, %d faults, %v", name, len(lines), faults, err)
		}
	}
	nested := []byte{1<<3 | 2, 1, 'x'} // the value of an attribute
	for range 40 {
		nested = prefix(5, prefix(1, nested))
	}
	_, faults, err := walkedSpans(prefix(1, prefix(2, prefix(2, prefix(9, append(message(1, 'k'), prefix(2, nested)...))))))
	if err != nil || faults != 1 {
		t.Errorf("forty lists: %d faults, %v", faults, err)
	}
}

// prefix is message for any length.
func prefix(id byte, body []byte) []byte {
	out := []byte{id<<3 | 2}
	for n := len(body); ; n >>= 7 {
		if n < 0x80 {
			return append(append(out, byte(n)), body...)
		}
		out = append(out, byte(n)|0x80)
	}
}

func TestTruncatedBatchesAreMalformed(t *testing.T) {
	raw := marshalTraces(t, rich(t))
	for _, n := range []int{1, 2, 10, len(raw) / 2, len(raw) - 1} {
		if _, _, err := walkedSpans(raw[:n]); !errors.Is(err, otlp.ErrMalformed) {
			t.Errorf("%d bytes of %d: %v", n, len(raw), err)
		}
	}
}

func TestOwnedOutlivesTheBatch(t *testing.T) {
	raw := marshalTraces(t, rich(t))
	var kept []map[string]any
	_ = otlp.Spans(raw, func(s *otlp.Span) error {
		kept = append(kept, otlp.Owned(s.Attrs))
		return nil
	})
	want := []map[string]any{}
	for _, line := range rich(t).ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
		want = append(want, line.Attributes().AsRaw())
	}
	clear(raw)
	if !reflect.DeepEqual(kept[:4], want) {
		t.Errorf("got %v, want %v", kept[0], want[0])
	}
}

// BenchmarkSpans is against the full decoder, on spans of 480 bytes with ten attributes.
func BenchmarkSpans(b *testing.B) {
	batch := ptrace.NewTraces()
	ss := batch.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	const n = 1000
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i)})
		s.SetSpanID([8]byte{byte(i), byte(i >> 8)})
		s.SetParentSpanID([8]byte{1})
		s.SetName("GET /api/items/{id}")
		s.SetKind(2)
		s.SetStartTimestamp(1e18)
		s.SetEndTimestamp(1e18 + 1e6)
		for k := range 9 {
			s.Attributes().PutStr(fmt.Sprintf("some.attribute.number.%d", k), "a value of twenty b.")
		}
		s.Attributes().PutInt("http.response.status_code", 200)
	}
	raw := marshalTraces(b, batch)
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = otlp.Spans(raw, func(s *otlp.Span) error { return nil })
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
	})
}
