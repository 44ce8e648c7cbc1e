package otlpreceiver

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"weft/internal/otlp"
)

func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// field is one of protobuf, around bytes.
func field(id protowire.Number, body ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, id, protowire.BytesType), body)
}

func inBatch(items ...[]byte) []byte {
	var scope []byte
	for _, item := range items {
		scope = append(scope, field(2, item...)...)
	}
	return field(1, field(2, scope...)...)
}

func span(trace, id int, more ...byte) []byte {
	out := append(field(1, bytes.Repeat([]byte{1}, trace)...), field(2, bytes.Repeat([]byte{2}, id)...)...)
	return append(append(out, field(5, []byte("GET /cart")...)...), more...)
}

// nested is lists inside one another.
func nested(levels int) []byte {
	value := field(1, 'x')
	sizes := []int{len(value)}
	for range levels {
		list := 1 + protowire.SizeBytes(sizes[len(sizes)-1])
		sizes = append(sizes, list, 1+protowire.SizeBytes(list))
	}
	var out []byte
	for i := len(sizes) - 2; i >= 0; i-- {
		id := protowire.Number(1 + 4*(i%2)) // the value of a list, the list of a value
		out = protowire.AppendVarint(protowire.AppendTag(out, id, protowire.BytesType), uint64(sizes[i]))
	}
	return append(out, value...)
}

func attr(key string, value []byte) []byte {
	return field(9, append(field(1, []byte(key)...), field(2, value...)...)...)
}

func many(n int, piece []byte) []byte { return bytes.Repeat(piece, n) }

// Every case comes over gRPC and HTTP, to a Sink and to a pipeline.
func TestBadInput(t *testing.T) {
	good := span(16, 8)
	upsideDown := spans(1)
	upsideDown.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetEndTimestamp(1)
	tests := map[string]struct {
		batch    []byte
		kept     int
		rejected int64
		why      string
		code     codes.Code
		http     int
	}{
		"nothing":                {nil, 0, 0, "", codes.OK, 200},
		"one span":               {inBatch(good), 1, 0, "", codes.OK, 200},
		"100k spans":             {tracesBytes(t, spans(100_000)), 100_000, 0, "", codes.OK, 200},
		"10k attributes":         {inBatch(span(16, 8, many(10_000, attr("k", field(1, 'v')))...)), 1, 0, "", codes.OK, 200},
		"70k attributes":         {inBatch(good, span(16, 8, many(70_000, []byte{9<<3 | 2, 0})...)), 1, 1, "65536 side by side", codes.OK, 200},
		"70k events":             {inBatch(good, span(16, 8, many(70_000, []byte{11<<3 | 2, 0})...)), 1, 1, "more than 65536 events", codes.OK, 200},
		"invalid UTF-8":          {inBatch(span(16, 8, attr("k\xff", field(1, '\xff'))...)), 1, 0, "", codes.OK, 200},
		"end before start":       {tracesBytes(t, upsideDown), 1, 0, "", codes.OK, 200},
		"short trace ID":         {inBatch(good, span(15, 8), good), 2, 1, `trace_id has 15 bytes: "GET /cart"`, codes.OK, 200},
		"long span ID":           {inBatch(good, span(16, 9)), 1, 1, "span_id has 9 bytes", codes.OK, 200},
		"no trace ID":            {inBatch(good, span(0, 8)), 1, 1, "no trace_id", codes.OK, 200},
		"no span ID":             {inBatch(span(16, 0), good, span(16, 0)), 1, 2, "no span_id", codes.OK, 200},
		"no good span":           {inBatch(span(1, 1)), 0, 1, "trace_id has 1 bytes", codes.OK, 200},
		"forty lists":            {inBatch(good, span(16, 8, attr("k", nested(40))...)), 1, 1, "32 inside one another", codes.OK, 200},
		"ten thousand lists":     {inBatch(good, span(16, 8, attr("k", nested(10_000))...)), 1, 1, "32 inside one another", codes.OK, 200},
		"in the resource":        {append(inBatch(good), field(1, append(field(1, field(1, field(2, nested(10_000)...)...)...), field(2, field(2, good...)...)...)...)...), 1, 1, "32 inside", codes.OK, 200},
		"truncated":              {tracesBytes(t, spans(10))[:100], 0, 0, "", codes.InvalidArgument, 400},
		"truncated in the span":  {inBatch([]byte{9<<3 | 2, 100, 1}), 0, 0, "", codes.InvalidArgument, 400},
		"not protobuf":           {[]byte("hello"), 0, 0, "", codes.InvalidArgument, 400},
		"wrong type of a field":  {inBatch(append([]byte{5 << 3, 1}, good...)), 0, 0, "", codes.InvalidArgument, 400},
		"begins like compressed": {[]byte{compressed, 1, 2, 3}, 0, 0, "", codes.InvalidArgument, 400},
	}
	for _, way := range []string{"sink", "pipeline"} {
		sink, through := everything(), otlp.SignalMetrics
		if way == "pipeline" {
			through = otlp.SignalTraces
		}
		s := open(t, defaults(t), sink, through)
		conn := s.dial(t)
		for name, test := range tests {
			t.Run(way+"/"+name, func(t *testing.T) {
				var response ptraceotlp.ExportResponse
				check := func(transport string, out []byte, before int) {
					t.Helper()
					response = ptraceotlp.NewExportResponse()
					if err := response.UnmarshalProto(out); err != nil {
						t.Fatal(err)
					}
					partial := response.PartialSuccess()
					if partial.RejectedSpans() != test.rejected || !strings.Contains(partial.ErrorMessage(), test.why) || (test.why == "") != (partial.ErrorMessage() == "") {
						t.Errorf("%s: %d rejected: %q", transport, partial.RejectedSpans(), partial.ErrorMessage())
					}
					if got := s.items() - before; got != test.kept {
						t.Errorf("%s: %d kept, want %d", transport, got, test.kept)
					}
				}
				for _, zip := range [][]grpc.CallOption{nil, {grpc.UseCompressor(grpcgzip.Name)}} {
					before := s.items()
					out, err := export(t.Context(), conn, otlp.SignalTraces, test.batch, zip...)
					if status.Code(err) != test.code || pauseOf(err) != 0 {
						t.Errorf("gRPC: %v, to come again in %v", err, pauseOf(err))
					}
					check("gRPC", out, before)
				}
				before := s.items()
				r := s.post(t, "/v1/traces", asProtobuf, test.batch)
				if r.code != test.http || r.header.Get("Retry-After") != "" || r.header.Get("Content-Type") != protobufType {
					t.Fatalf("HTTP: %d %v %q", r.code, r.header, r.body)
				}
				if r.code != 200 {
					if got := r.status(t); codes.Code(got.GetCode()) != test.code || got.GetMessage() == "" {
						t.Errorf("HTTP: %v", got)
					}
					r.body = nil
				}
				check("HTTP", r.body, before)
			})
		}
	}
}

// items are the spans that have been kept, by the sink and by the pipeline.
func (s *station) items() int {
	return s.sink.items(otlp.SignalTraces) + s.traces.SpanCount()
}

func pauseOf(err error) (seconds float64) {
	if err == nil {
		return 0
	}
	return retryInfo(status.Convert(err)).GetRetryDelay().AsDuration().Seconds()
}

// bomb is gzip of n MiB of zeros: a thousandth of that.
func bomb(t testing.TB, n int) []byte {
	t.Helper()
	return bytes.Repeat(gzipped(t, make([]byte, mib)), n)
}

// raw sends what is compressed already.
type raw struct{}

func (raw) Name() string                                 { return "gzip" }
func (raw) Compress(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil }
func (raw) Do(w io.Writer, p []byte) error               { _, err := w.Write(p); return err }
func (raw) Type() string                                 { return "gzip" }
func (raw) Decompress(r io.Reader) (io.Reader, error)    { return r, nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// dialRaw is a connection whose messages are said to be gzip, whatever they are.
func (s *station) dialRaw(t testing.TB) *grpc.ClientConn {
	t.Helper()
	return s.dial(t, grpc.WithCompressor(raw{})) //nolint:staticcheck // a test of what a hostile sender does
}

func TestTooLarge(t *testing.T) {
	s := open(t, small(t), everything(), otlp.SignalMetrics)
	conn, zipped := s.dial(t), s.dialRaw(t)
	over := inBatch(span(16, 8, attr("k", field(1, make([]byte, 8*mib)...))...))
	lying := bomb(t, 300)
	copy(lying[len(lying)-4:], []byte{10, 0, 0, 0}) // the end says ten bytes
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(mib))
	if err != nil {
		t.Fatal(err)
	}
	zeros := bytes.Repeat(encoder.EncodeAll(make([]byte, mib), nil), 300)
	gzipBomb := bomb(t, 4096)
	zip := func(encoding string) map[string]string {
		return map[string]string{"Content-Type": protobufType, "Content-Encoding": encoding}
	}
	for name, send := range map[string]func() (int, codes.Code){
		"gRPC":            func() (int, codes.Code) { return s.exported(t, conn, over) },
		"gRPC bomb":       func() (int, codes.Code) { return s.exported(t, zipped, gzipBomb) },
		"gRPC lying bomb": func() (int, codes.Code) { return s.exported(t, zipped, lying) },
		"HTTP":            func() (int, codes.Code) { return s.posted(t, asProtobuf, over) },
		"HTTP chunked": func() (int, codes.Code) {
			return s.posted(t, map[string]string{"Content-Type": protobufType, "chunked": ""}, over)
		},
		"HTTP bomb":       func() (int, codes.Code) { return s.posted(t, zip("gzip"), gzipBomb) },
		"HTTP lying bomb": func() (int, codes.Code) { return s.posted(t, zip("gzip"), lying) },
		"HTTP zstd bomb":  func() (int, codes.Code) { return s.posted(t, zip("zstd"), zeros) },
		// A frame that wants a window of a gigabyte.
		"HTTP zstd window": func() (int, codes.Code) {
			return s.posted(t, zip("zstd"), []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 1, 0, 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			code, grpcCode := send()
			runtime.ReadMemStats(&after)
			if grpcCode != codes.ResourceExhausted || code != 0 && code != http.StatusRequestEntityTooLarge {
				t.Errorf("%d %v", code, grpcCode)
			}
			// The sender's copies are among it.
			if made := after.TotalAlloc - before.TotalAlloc; made > 60*mib {
				t.Errorf("%d MiB were allocated", made/mib)
			}
		})
	}
	if got := s.counted(t, "weft_receiver_refused_requests", "too_large"); got != 9 {
		t.Errorf("%d refusals counted", got)
	}
}

// Both transports take 64 MiB, whatever gRPC and the Collector have for defaults.
func TestSixtyFourMiB(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	conn := s.dial(t)
	fits := inBatch(span(16, 8, attr("k", field(1, make([]byte, 64*mib-200)...))...))
	if _, got := s.exported(t, conn, fits); got != codes.OK {
		t.Errorf("over gRPC: %v", got)
	}
	if r := s.post(t, "/v1/traces", asProtobuf, fits); r.code != http.StatusOK {
		t.Errorf("over HTTP: %d", r.code)
	}
	over := append(fits, make([]byte, 200)...)
	if _, got := s.exported(t, conn, over); got != codes.ResourceExhausted {
		t.Errorf("over gRPC: %v", got)
	}
	if r := s.post(t, "/v1/traces", asProtobuf, over); r.code != http.StatusRequestEntityTooLarge {
		t.Errorf("over HTTP: %d", r.code)
	}
}

func (s *station) exported(t *testing.T, conn *grpc.ClientConn, batch []byte) (int, codes.Code) {
	t.Helper()
	_, err := export(t.Context(), conn, otlp.SignalTraces, batch, grpc.MaxCallSendMsgSize(1<<30))
	if pauseOf(err) != 0 {
		t.Errorf("a repeat would be too large again, and yet %v", err)
	}
	return 0, status.Code(err)
}

func (s *station) posted(t *testing.T, headers map[string]string, body []byte) (int, codes.Code) {
	t.Helper()
	var content io.Reader = bytes.NewReader(body)
	if _, chunked := headers["chunked"]; chunked {
		content = struct{ io.Reader }{content}
	}
	r, err := s.send(t.Context(), http.MethodPost, "/v1/traces", headers, content)
	if err != nil {
		t.Fatal(err)
	}
	if r.header.Get("Retry-After") != "" {
		t.Error("a repeat would be too large again, and yet is asked for")
	}
	return r.code, codes.Code(r.status(t).GetCode())
}

func TestHTTPAlone(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	batch := tracesBytes(t, spans(2))
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(spans(2))
	if err != nil {
		t.Fatal(err)
	}
	zeroID := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}`
	zipped := map[string]string{"Content-Type": protobufType, "Content-Encoding": "gzip"}
	tests := map[string]struct {
		method, path string
		headers      map[string]string
		body         []byte
		code         int
		answer       string
	}{
		"JSON":               {"POST", "/v1/traces", asJSON, text, 200, "{}"},
		"JSON with charset":  {"POST", "/v1/traces", map[string]string{"Content-Type": "application/json; charset=utf-8"}, text, 200, "{}"},
		"JSON, no ID":        {"POST", "/v1/traces", asJSON, []byte(zeroID), 200, `{"partialSuccess":{"errorMessage":"no trace_id: \"a\" of service \"\"","rejectedSpans":"1"}}`},
		"broken JSON":        {"POST", "/v1/traces", asJSON, text[:50], 400, `"code":3`},
		"no JSON":            {"POST", "/v1/traces", asJSON, nil, 400, `"code":3`},
		"JSON, an odd ID":    {"POST", "/v1/traces", asJSON, []byte(strings.Replace(zeroID, `"name"`, `"traceId":"abc","name"`, 1)), 400, `"code":3`},
		"gzip":               {"POST", "/v1/traces", zipped, gzipped(t, batch), 200, ""},
		"not gzip":           {"POST", "/v1/traces", zipped, batch, 400, ""},
		"truncated gzip":     {"POST", "/v1/traces", zipped, gzipped(t, batch)[:40], 400, ""},
		"unknown encoding":   {"POST", "/v1/traces", map[string]string{"Content-Type": protobufType, "Content-Encoding": "rot13"}, batch, 400, ""},
		"text":               {"POST", "/v1/traces", map[string]string{"Content-Type": "text/plain"}, batch, 415, "unsupported media type"},
		"no type":            {"POST", "/v1/traces", nil, batch, 415, "unsupported media type"},
		"GET":                {"GET", "/v1/traces", asProtobuf, nil, 405, "POST"},
		"unknown path":       {"POST", "/v1/profiles", asProtobuf, batch, 404, ""},
		"path of the metric": {"POST", "/v1/metrics", asProtobuf, metricsBytes(t, 1), 200, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := s.send(t.Context(), test.method, test.path, test.headers, bytes.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			answer := strings.ReplaceAll(string(r.body), " ", "")
			if want := strings.ReplaceAll(test.answer, " ", ""); r.code != test.code || !strings.Contains(answer, want) {
				t.Errorf("%d %s", r.code, r.body)
			}
			if r.code == 400 {
				if got := r.status(t); codes.Code(got.GetCode()) != codes.InvalidArgument || r.header.Get("Content-Type") != test.headers["Content-Type"] {
					t.Errorf("%v in %s", got, r.header.Get("Content-Type"))
				}
			}
			if r.code == 405 && r.header.Get("Allow") != "POST" {
				t.Errorf("%v", r.header)
			}
		})
	}
	if got := s.sink.items(otlp.SignalTraces); got != 6 {
		t.Errorf("%d spans kept, want 6", got)
	}
}

// What nobody takes is unimplemented, as it is for the stock receiver.
func TestNobodyTakesIt(t *testing.T) {
	for name, sink := range map[string]*log{"no sink": nil, "a sink for traces": {signals: []otlp.Signal{otlp.SignalTraces}}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, defaults(t), sink, otlp.SignalMetrics)
			_, err := export(t.Context(), s.dial(t), otlp.SignalLogs, logsBytes(t, 1))
			if status.Code(err) != codes.Unimplemented {
				t.Error(err)
			}
			if r := s.post(t, "/v1/logs", asProtobuf, logsBytes(t, 1)); r.code != 404 {
				t.Error(r.code)
			}
		})
	}
}

func TestOneProtocolIsEnough(t *testing.T) {
	cfg := defaults(t)
	cfg.Protocols.HTTP = configoptional.None[HTTPConfig]()
	s := open(t, cfg, everything(), otlp.SignalMetrics)
	if _, err := export(t.Context(), s.dial(t), otlp.SignalTraces, tracesBytes(t, spans(1))); err != nil {
		t.Error(err)
	}
	cfg = DefaultConfig() // names neither
	if err := cfg.Validate(); err == nil {
		t.Error("accepted without any protocol")
	}
}
