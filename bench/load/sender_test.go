package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// receiver is an OTLP server whose answers a test decides.
type receiver struct {
	ptraceotlp.UnimplementedGRPCServer
	logs
	answer func(call int64) error
	left   int64 // items that partial_success leaves out
	calls  atomic.Int64
	mu     sync.Mutex
	traces map[string]int // spans by trace ID, of acknowledged batches
}

func (r *receiver) Export(_ context.Context, request ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	response := ptraceotlp.NewExportResponse()
	if err := r.answer(r.calls.Add(1)); err != nil {
		return response, err
	}
	if r.left > 0 {
		response.PartialSuccess().SetRejectedSpans(r.left)
		response.PartialSuccess().SetErrorMessage("no room")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range request.Traces().ResourceSpans().All() {
		for _, s := range rs.ScopeSpans().At(0).Spans().All() {
			r.traces[s.TraceID().String()]++
		}
	}
	return response, nil
}

// logs counts records.
type logs struct{ records *atomic.Int64 }

type logServer struct {
	plogotlp.UnimplementedGRPCServer
	logs
}

func (l *logServer) Export(_ context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	l.records.Add(int64(request.Logs().LogRecordCount()))
	return plogotlp.NewExportResponse(), nil
}

func newReceiver(t *testing.T, answer func(call int64) error) (*receiver, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{answer: answer, traces: map[string]int{}, logs: logs{&atomic.Int64{}}}
	server := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, r)
	plogotlp.RegisterGRPCServer(server, &logServer{logs: r.logs})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r, listener.Addr().String()
}

func send(t *testing.T, cfg Config) *Sender {
	t.Helper()
	s, err := NewSender(cfg, NewModel(11, false))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func ok(int64) error { return nil }

// Every trace up to the limit comes once, both signals, in either layout, and the list says just that.
func TestTheListIsWhatCame(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the receivers have ended
	for _, scattered := range []bool{false, true} {
		r, endpoint := newReceiver(t, ok)
		s := send(t, Config{Endpoint: endpoint, Spans: 1e6, Logs: 5e5, Traces: 4, Scattered: scattered, Limit: 256})
		if len(r.traces) != 256 || r.records.Load() != 128*SpansPerTrace {
			t.Fatalf("scattered %v: %d traces, %d records came", scattered, len(r.traces), r.records.Load())
		}
		for n := range uint64(256) {
			if id, _ := s.Model.IDs(n); r.traces[id] != SpansPerTrace {
				t.Fatalf("scattered %v: %d spans of trace %d", scattered, r.traces[id], n)
			}
		}
		if s.Ledger.Items(Spans) != 256*SpansPerTrace || s.Ledger.Items(Logs) != 128*SpansPerTrace {
			t.Errorf("scattered %v: the list has %d and %d items", scattered, s.Ledger.Items(Spans), s.Ledger.Items(Logs))
		}
		if n := s.Counts(Spans); n.Acknowledged != 256*SpansPerTrace || n.Refused+n.Failed+n.Rejected != 0 {
			t.Errorf("%+v", n)
		}
	}
}

// A refusal that names a time is obeyed; what is refused for good or taken in part is counted, and in no list.
func TestRefusals(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the receivers have ended
	const wait = 30 * time.Millisecond
	busy, err := status.New(codes.Unavailable, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		t.Fatal(err)
	}
	one := Config{Spans: 1e6, Traces: 1, Connections: 1, InFlight: 1, Limit: 4}
	r, endpoint := newReceiver(t, func(call int64) error {
		if call <= 3 {
			return busy.Err()
		}
		return nil
	})
	one.Endpoint = endpoint
	start := time.Now()
	s := send(t, one)
	if n := s.Counts(Spans); n.Refused != 3 || n.Acknowledged != 4*SpansPerTrace || len(r.traces) != 4 || time.Since(start) < 3*wait {
		t.Errorf("%+v after %v", n, time.Since(start))
	}
	_, one.Endpoint = newReceiver(t, func(call int64) error {
		if call == 2 {
			return status.Error(codes.InvalidArgument, "bad")
		}
		return nil
	})
	s = send(t, one)
	if n := s.Counts(Spans); n.Failed != SpansPerTrace || n.Acknowledged != 3*SpansPerTrace || s.Ledger.Items(Spans) != 3*SpansPerTrace || s.LastFault() == nil {
		t.Errorf("%+v", n)
	}
	r, one.Endpoint = newReceiver(t, ok)
	r.left = 2
	s = send(t, one)
	if n := s.Counts(Spans); n.Rejected != 8 || n.Acknowledged != 0 || s.Ledger.Items(Spans) != 0 || s.LastFault() == nil {
		t.Errorf("%+v", n)
	}
}

// A server that goes away and comes back gets what it had not acknowledged.
func TestABatchIsSentUntilItIsAcknowledged(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the receivers have ended
	r, endpoint := newReceiver(t, func(call int64) error {
		if call <= 2 {
			return status.Error(codes.Unavailable, "gone")
		}
		return nil
	})
	s := send(t, Config{Endpoint: endpoint, Spans: 1e6, Traces: 2, Connections: 1, InFlight: 1, Limit: 2})
	if n := s.Counts(Spans); n.Disconnected != 2 || n.Acknowledged != 2*SpansPerTrace || len(r.traces) != 2 {
		t.Errorf("%+v", n)
	}
}

// Finish lets what was begun be acknowledged, and begins nothing more.
func TestFinish(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the receivers have ended
	begun := make(chan struct{})
	var once sync.Once
	r, endpoint := newReceiver(t, func(int64) error { once.Do(func() { close(begun) }); return nil })
	s, err := NewSender(Config{Endpoint: endpoint, Spans: 100_000, Traces: 8}, NewModel(1, false))
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-begun; s.Finish(); s.Finish() }()
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Ledger.Items(Spans) != len(r.traces)*SpansPerTrace || len(r.traces) == 0 {
		t.Errorf("%d spans in the list, %d traces came", s.Ledger.Items(Spans), len(r.traces))
	}
}
