package queue

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/agent/component/queue/export"
	"weft/internal/otlp"
	"weft/internal/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is the collector. What it answers to a request is up to answer; what it accepts it keeps.
type far struct {
	plogotlp.UnimplementedGRPCServer
	mu       sync.Mutex
	answer   func(bodies []string) (rejected int, err error)
	asked    int
	requests [][]string
	addr     string
	stop     func()
}

func (f *far) Export(_ context.Context, in plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	out := plogotlp.NewExportResponse()
	got := bodies(in.Logs())
	rejected := 0
	if f.answer != nil {
		var err error
		if rejected, err = f.answer(got); err != nil {
			return out, err
		}
	}
	if rejected > 0 {
		out.PartialSuccess().SetRejectedLogRecords(int64(rejected))
		out.PartialSuccess().SetErrorMessage("not those")
	}
	f.requests = append(f.requests, got)
	return out, nil
}

func bodies(logs plog.Logs) (out []string) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				out = append(out, record.Body().AsString())
			}
		}
	}
	return out
}

func (f *far) state() (asked int, got []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, slices.Concat(f.requests...)
}

func (f *far) set(answer func([]string) (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// serve opens the collector's port, at the address that it had before.
func (f *far) serve(t testing.TB) (stop func()) {
	t.Helper()
	if f.addr == "" {
		f.addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	server := grpc.NewServer(grpc.MaxRecvMsgSize(export.MaxBatch))
	plogotlp.RegisterGRPCServer(server, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	var once sync.Once
	stop = func() { once.Do(func() { server.Stop(); <-done }) }
	t.Cleanup(stop)
	f.stop = stop
	return stop
}

func (f *far) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.requests = 0, nil
}

func testConfig(dir, addr string) Config {
	cfg := *defaultConfig().(*Config)
	cfg.Dir, cfg.Collector.Endpoint, cfg.ReservePercent = dir, addr, 0
	cfg.RetryWithin, cfg.Collector.ReconnectWithin = 20*time.Millisecond, 50*time.Millisecond
	return cfg
}

func testDeps() Deps { return Deps{FS: wal.OS{}, Now: time.Now, Log: zap.NewNop()} }

// start opens a queue and sends; stop ends both and may be called early.
func start(t testing.TB, cfg Config, deps Deps) (q *Queue, stop func()) {
	t.Helper()
	q, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			_ = q.Close()
		})
	}
	t.Cleanup(stop)
	return q, stop
}

func batch(t testing.TB, names ...string) []byte {
	t.Helper()
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for _, name := range names {
		records.AppendEmpty().Body().SetStr(name)
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustTake(t testing.TB, q *Queue, names ...string) {
	t.Helper()
	if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, names...)); err != nil {
		t.Fatal(err)
	}
}

func await(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in 30 s", what)
		}
	}
}

func awaitSent(t testing.TB, q *Queue) Snapshot {
	t.Helper()
	await(t, "sent", func() bool { return q.Snapshot(otlp.SignalLogs).Queued == 0 })
	s := q.Snapshot(otlp.SignalLogs)
	if !s.Holds() {
		t.Fatalf("the ledger does not balance: %+v", s.Ledger)
	}
	return s
}

func withRetryInfo(code codes.Code, delay time.Duration) error {
	s, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

func TestOnlyInvalidArgumentIsFinal(t *testing.T) {
	tests := map[string]struct {
		answers []error
		dead    int64
	}{
		"accepted":             {nil, 0},
		"unavailable":          {[]error{status.Error(codes.Unavailable, ""), status.Error(codes.Unavailable, "")}, 0},
		"asked to wait":        {[]error{withRetryInfo(codes.Unavailable, time.Millisecond)}, 0},
		"too big for now":      {[]error{status.Error(codes.ResourceExhausted, "")}, 0},
		"internal":             {[]error{status.Error(codes.Internal, "")}, 0},
		"not known there yet":  {[]error{status.Error(codes.Unimplemented, "")}, 0},
		"credential not valid": {[]error{status.Error(codes.Unauthenticated, ""), status.Error(codes.PermissionDenied, "")}, 0},
		"bad data":             {[]error{status.Error(codes.InvalidArgument, "no")}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := &far{answer: func([]string) (int, error) {
				if len(test.answers) == 0 {
					return 0, nil
				}
				err := test.answers[0]
				test.answers = test.answers[1:]
				return 0, err
			}}
			f.serve(t)
			q, _ := start(t, testConfig(t.TempDir(), f.addr), testDeps())
			want := len(test.answers) + 1 - int(test.dead)
			mustTake(t, q, "a")
			s := awaitSent(t, q)
			if asked, got := f.state(); asked != want || len(got) != 1-int(test.dead) {
				t.Errorf("asked %d times, has %q; want %d", asked, got, want)
			}
			if s.Sent != 1-test.dead || s.Dropped[dropDeadLetter] != test.dead || s.DeadLetters.Items != test.dead {
				t.Errorf("ledger %+v", s)
			}
		})
	}
}

func TestTheCollectorsPatienceIsHonoured(t *testing.T) {
	first := time.Time{}
	f := &far{}
	f.answer = func([]string) (int, error) {
		if first.IsZero() {
			first = time.Now()
			return 0, withRetryInfo(codes.Unavailable, 300*time.Millisecond)
		}
		if pause := time.Since(first); pause < 300*time.Millisecond {
			t.Errorf("came again after %v", pause)
		}
		return 0, nil
	}
	f.serve(t)
	q, _ := start(t, testConfig(t.TempDir(), f.addr), testDeps())
	mustTake(t, q, "a")
	awaitSent(t, q)
}

func TestItemsWaitForACollectorThatIsAwayInTheirOrder(t *testing.T) {
	f := &far{}
	stop := f.serve(t)
	q, _ := start(t, testConfig(t.TempDir(), f.addr), testDeps())
	mustTake(t, q, "before")
	awaitSent(t, q)
	stop()
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		mustTake(t, q, fmt.Sprint(i))
	}
	if s := q.Snapshot(otlp.SignalLogs); s.Queued != 50 || !s.Holds() || s.QueuedBytes == 0 {
		t.Errorf("while it is away: %+v", s)
	}
	await(t, "old", func() bool { return q.Snapshot(otlp.SignalLogs).OldestAge > 0 })
	f.serve(t)
	s := awaitSent(t, q)
	if s.OldestAge != 0 || s.Lag == 0 || s.QueuedBytes != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	// Several requests are under way at a time, so between them the order may change.
	asked, got := f.state()
	slices.Sort(got)
	slices.Sort(want)
	if strings.Join(got, ",") != strings.Join(append(want, "before"), ",") {
		t.Errorf("collector has %q", got)
	}
	if asked > 10 {
		t.Errorf("%d requests for 51 records that could be joined", asked)
	}
}

func TestOneBadBatchCostsOnlyItself(t *testing.T) {
	f := &far{}
	stop := f.serve(t)
	stop()
	cfg := testConfig(t.TempDir(), f.addr)
	cfg.InFlight = 1
	q, _ := start(t, cfg, testDeps())
	for i := range 40 {
		if i == 23 {
			mustTake(t, q, "bad 1", "bad 2")
		}
		mustTake(t, q, fmt.Sprint(i))
	}
	f.set(func(got []string) (int, error) {
		for _, body := range got {
			if strings.HasPrefix(body, "bad") {
				return 0, status.Error(codes.InvalidArgument, "bad \x00\xff body")
			}
		}
		return 0, nil
	})
	f.serve(t)
	s := awaitSent(t, q)
	if _, got := f.state(); len(got) != 40 || s.Sent != 40 || s.Dropped[dropDeadLetter] != 2 || s.DeadLetters.Items != 2 {
		t.Fatalf("collector has %q, ledger %+v", got, s)
	}
	raw := readDead(t, cfg)
	for _, part := range []string{`"items":2`, `"signal":"logs"`, `"stringValue":"bad 1"`, `"reason":"bad`, "\n"} {
		if !strings.Contains(raw, part) {
			t.Errorf("dead letter lacks %s: %q", part, raw)
		}
	}
}

func TestWhatTheCollectorRejectsIsDropped(t *testing.T) {
	f := &far{answer: func(got []string) (int, error) { return 2, nil }}
	f.serve(t)
	q, _ := start(t, testConfig(t.TempDir(), f.addr), testDeps())
	mustTake(t, q, "a", "b", "c")
	if s := awaitSent(t, q); s.Sent != 1 || s.Dropped[dropRejected] != 2 || s.Accepted != 3 {
		t.Errorf("ledger %+v", s)
	}
}

func TestAFullQueueAsksToComeAgainAndResumes(t *testing.T) {
	f := &far{}
	f.serve(t)()
	cfg := testConfig(t.TempDir(), f.addr)
	cfg.LimitBytes = 2000
	q, _ := start(t, cfg, testDeps())
	full := func() bool {
		_, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, strings.Repeat("x", 100)))
		if err == nil {
			return false
		}
		if status.Code(err) != codes.Unavailable || export.Patience(err) != time.Second {
			t.Fatalf("refused with %v", err)
		}
		return true
	}
	for !full() {
	}
	s := q.Snapshot(otlp.SignalLogs)
	if !s.Holds() || s.DiskBytes > s.LimitBytes || s.Queued != s.Accepted {
		t.Errorf("full: %+v", s)
	}
	if _, err := q.Take(t.Context(), otlp.SignalLogs, batch(t, strings.Repeat("x", 3000))); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a batch that will never fit: %v", err)
	}
	f.serve(t)
	awaitSent(t, q)
	await(t, "taken again", func() bool { return !full() })
	awaitSent(t, q)
}
