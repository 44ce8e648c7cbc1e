package otlpreceiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/internal/otlp"
)

func pausing(t *testing.T, code codes.Code, pause time.Duration) error {
	t.Helper()
	s, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pause)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// What a Sink or a pipeline fails with, and what the sender sees of it.
func TestErrorsBecomeAnswers(t *testing.T) {
	tests := map[string]struct {
		err    error
		code   codes.Code
		http   int
		pause  float64 // seconds; none: the sender drops the batch
		reason string
	}{
		"plain":               {errDisk, codes.Unavailable, 503, 1, "unavailable"},
		"wrapped":             {fmt.Errorf("append: %w", errDisk), codes.Unavailable, 503, 1, "unavailable"},
		"unavailable":         {status.Error(codes.Unavailable, "full"), codes.Unavailable, 503, 1, "unavailable"},
		"too short a pause":   {pausing(t, codes.Unavailable, time.Millisecond), codes.Unavailable, 503, 1, "unavailable"},
		"its own pause":       {pausing(t, codes.Unavailable, 2500*time.Millisecond), codes.Unavailable, 503, 2.5, "unavailable"},
		"wrapped pause":       {fmt.Errorf("append: %w", pausing(t, codes.Unavailable, 7*time.Second)), codes.Unavailable, 503, 7, "unavailable"},
		"aborted":             {status.Error(codes.Aborted, "no"), codes.Aborted, 503, 1, "failed"},
		"exhausted for now":   {pausing(t, codes.ResourceExhausted, 3*time.Second), codes.ResourceExhausted, 429, 3, "unavailable"},
		"exhausted for good":  {status.Error(codes.ResourceExhausted, "too large"), codes.ResourceExhausted, 413, 0, "too_large"},
		"too large":           {errTooLarge, codes.ResourceExhausted, 413, 0, "too_large"},
		"busy":                {errBusy, codes.Unavailable, 503, 1, "busy"},
		"malformed":           {fmt.Errorf("walk: %w", otlp.ErrMalformed), codes.InvalidArgument, 400, 0, "bad_data"},
		"invalid":             {status.Error(codes.InvalidArgument, "no\xff"), codes.InvalidArgument, 400, 0, "bad_data"},
		"permanent":           {consumererror.NewPermanent(errDisk), codes.Internal, 500, 0, "failed"},
		"permission":          {status.Error(codes.PermissionDenied, "no"), codes.PermissionDenied, 403, 0, "failed"},
		"unauthenticated":     {status.Error(codes.Unauthenticated, "no"), codes.Unauthenticated, 401, 0, "failed"},
		"cancelled":           {context.Canceled, codes.Canceled, 503, 1, "cancelled"},
		"deadline":            {fmt.Errorf("sync: %w", context.DeadlineExceeded), codes.DeadlineExceeded, 503, 1, "cancelled"},
		"unknown":             {status.Error(codes.Unknown, "no"), codes.Unknown, 500, 0, "failed"},
		"text is not UTF-8":   {errors.New("name \xff"), codes.Unavailable, 503, 1, "unavailable"},
		"status without UTF8": {status.Error(codes.Unavailable, "name \xff"), codes.Unavailable, 503, 1, "unavailable"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sink := everything()
			sink.take = func(context.Context, otlp.Signal, []byte) (Rejected, error) { return Rejected{}, test.err }
			s := open(t, defaults(t), sink, otlp.SignalMetrics)
			_, err := export(t.Context(), s.dial(t), otlp.SignalTraces, tracesBytes(t, spans(3)))
			if status.Code(err) != test.code || pauseOf(err) != test.pause {
				t.Errorf("gRPC: %v, to come again in %v s", err, pauseOf(err))
			}
			r := s.post(t, "/v1/traces", asProtobuf, tracesBytes(t, spans(3)))
			after := map[float64]string{0: "", 1: "1", 2.5: "3", 3: "3", 7: "7"}[test.pause]
			if r.code != test.http || r.header.Get("Retry-After") != after {
				t.Errorf("HTTP: %d, to come again in %q s", r.code, r.header.Get("Retry-After"))
			}
			if got := r.status(t); codes.Code(got.GetCode()) != test.code {
				t.Errorf("HTTP: %v", got)
			}
			if requests, items := s.counted(t, "weft_receiver_refused_requests", test.reason), s.counted(t, "weft_receiver_refused_items", test.reason); requests != 2 || items != 6 {
				t.Errorf("counted %d requests, %d items", requests, items)
			}
			if got := s.counted(t, "weft_receiver_accepted_items"); got != 0 {
				t.Errorf("%d refused items were counted as accepted", got)
			}
		})
	}
}

// What a Sink has left out comes back as partial_success, and is not counted as accepted.
func TestASinkMayReject(t *testing.T) {
	sink := everything()
	sink.take = func(context.Context, otlp.Signal, []byte) (Rejected, error) {
		return Rejected{Items: 2, Why: "too old\xff", Reason: "age"}, nil
	}
	s := open(t, defaults(t), sink, otlp.SignalMetrics)
	out, err := export(t.Context(), s.dial(t), otlp.SignalLogs, logsBytes(t, 5))
	if want := field(1, append([]byte{1 << 3, 2}, field(2, []byte("too old\ufffd")...)...)...); err != nil || !bytes.Equal(out, want) {
		t.Errorf("%v %x, want %x", err, out, want)
	}
	r := s.post(t, "/v1/logs", asJSON, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{},{}]}]}]}`))
	if want := "{\"partialSuccess\":{\"errorMessage\":\"too old\ufffd\",\"rejectedLogRecords\":\"2\"}}"; r.code != 200 || string(r.body) != want {
		t.Errorf("%d %s, want %s", r.code, r.body, want)
	}
	if accepted, rejected := s.counted(t, "weft_receiver_accepted_items", "logs"), s.counted(t, "weft_receiver_rejected_items", "other"); accepted != 4 || rejected != 4 {
		t.Errorf("%d accepted, %d rejected", accepted, rejected)
	}
}

// gate is a Sink that keeps whoever comes until it opens.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate(sink *log) *gate {
	g := &gate{entered: make(chan struct{}, 100), open: make(chan struct{})}
	sink.take = func(ctx context.Context, _ otlp.Signal, _ []byte) (Rejected, error) {
		g.entered <- struct{}{}
		select {
		case <-g.open:
			return Rejected{}, nil
		case <-ctx.Done():
			return Rejected{}, ctx.Err()
		}
	}
	return g
}

func TestTheBudgetIsForAllRequests(t *testing.T) {
	cfg := small(t)
	sink := everything()
	g := newGate(sink)
	s := open(t, cfg, sink, otlp.SignalMetrics)
	conn := s.dial(t)
	large := inBatch(span(16, 8, attr("k", field(1, make([]byte, 7*mib/2)...))...))
	done := make(chan error, 1)
	go func() {
		_, err := export(t.Context(), conn, otlp.SignalTraces, large)
		done <- err
	}()
	<-g.entered
	if used := s.receiver.budget.used.Load(); used != 7*mib/2+mib/2 { // rounded
		t.Errorf("%d bytes are in flight", used)
	}
	larger := inBatch(span(16, 8, attr("k", field(1, make([]byte, 5*mib)...))...))
	busy := func(name string, err error) {
		t.Helper()
		if status.Code(err) != codes.Unavailable || pauseOf(err) != 1 {
			t.Errorf("%s: %v, to come again in %v s", name, err, pauseOf(err))
		}
	}
	_, err := export(t.Context(), conn, otlp.SignalTraces, larger)
	busy("gRPC", err)
	_, err = export(t.Context(), s.dialRaw(t), otlp.SignalTraces, gzipped(t, larger))
	busy("gRPC gzip", err)
	for name, headers := range map[string]map[string]string{"HTTP": asProtobuf, "HTTP gzip": {"Content-Type": protobufType, "Content-Encoding": "gzip"}} {
		body := larger
		if name != "HTTP" {
			body = gzipped(t, larger)
		}
		if r := s.post(t, "/v1/traces", headers, body); r.code != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "1" || codes.Code(r.status(t).GetCode()) != codes.Unavailable {
			t.Errorf("%s: %d %v", name, r.code, r.header)
		}
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Errorf("the first one: %v", err)
	}
	for range 2 {
		if _, err := export(t.Context(), conn, otlp.SignalTraces, larger); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	}
	if got := s.counted(t, "weft_receiver_refused_requests", "busy"); got != 4 {
		t.Errorf("%d refusals counted", got)
	}
}

// A decoder makes more of a batch than came; that is in the budget too.
func TestTheBudgetIsForWhatIsDecoded(t *testing.T) {
	cfg := small(t)
	s := open(t, cfg, everything(), otlp.SignalTraces, otlp.SignalMetrics)
	if _, err := export(t.Context(), s.dial(t), otlp.SignalTraces, tracesBytes(t, spans(20_000))); err != nil {
		t.Errorf("usual spans: %v", err)
	}
	events := span(16, 8, many(60_000, []byte{11<<3 | 2, 0})...)
	_, err := export(t.Context(), s.dial(t), otlp.SignalTraces, inBatch(events, events))
	if status.Code(err) != codes.ResourceExhausted || pauseOf(err) != 0 {
		t.Errorf("a hundred times as much: %v", err)
	}
	text := append([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[`), bytes.Repeat([]byte("{},"), 200_000)...)
	text = append(text[:len(text)-1], "]}]}]}"...)
	if r := s.post(t, "/v1/traces", asJSON, text); r.code != http.StatusRequestEntityTooLarge {
		t.Errorf("200k spans of JSON: %d", r.code)
	}
	points := bytes.Repeat([]byte{1<<3 | 2, 0}, 1_000_000)
	_, err = export(t.Context(), s.dial(t), otlp.SignalMetrics, inBatch(field(5, points...)))
	if status.Code(err) != codes.ResourceExhausted || pauseOf(err) != 0 {
		t.Errorf("a million points: %v", err)
	}
}

func TestMetricsThatNestTooDeepAreLeftOut(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	metric := func(value []byte) []byte {
		point := field(7, append(field(1, 'k'), field(2, value...)...)...)
		return append(field(1, []byte("queue")...), field(5, append(field(1, point...), field(1, point...)...)...)...)
	}
	out, err := export(t.Context(), s.dial(t), otlp.SignalMetrics, inBatch(metric(nested(3)), metric(nested(100_000)), metric(nil)))
	if err != nil || !bytes.Contains(out, []byte(`metric "queue"`)) || s.metrics.DataPointCount() != 4 {
		t.Errorf("%v %q, %d points", err, out, s.metrics.DataPointCount())
	}
	if got := s.counted(t, "weft_receiver_rejected_items", "metrics", "attributes"); got != 2 {
		t.Errorf("%d points rejected", got)
	}
	resource := append(inBatch(metric(nil)), field(1, field(1, field(1, field(2, nested(100_000)...)...)...)...)...)
	if _, err := export(t.Context(), s.dial(t), otlp.SignalMetrics, resource); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a resource that nests too deep: %v", err)
	}
}

func TestASenderThatGoesAway(t *testing.T) {
	sink := everything()
	g := newGate(sink)
	s := open(t, defaults(t), sink, otlp.SignalMetrics)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	conn := s.dial(t)
	go func() {
		_, err := export(ctx, conn, otlp.SignalTraces, tracesBytes(t, spans(1)))
		done <- err
	}()
	go func() {
		_, err := s.send(ctx, http.MethodPost, "/v1/traces", asProtobuf, bytes.NewReader(tracesBytes(t, spans(1))))
		done <- err
	}()
	<-g.entered
	<-g.entered
	cancel()
	for range 2 {
		if err := <-done; err == nil {
			t.Error("a sender that went away got an answer")
		}
	}
	// A third one goes before it has sent everything.
	half, w := io.Pipe()
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, err := s.send(ctx, http.MethodPost, "/v1/traces", asProtobuf, half)
		done <- err
	}()
	if _, err := w.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = w.CloseWithError(context.Canceled)
	<-done
}
