package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector answers exports from a script, then accepts.
type collector struct {
	plogotlp.UnimplementedGRPCServer
	mu      sync.Mutex
	script  []error
	asked   int
	records []string
}

func (c *collector) Export(_ context.Context, in plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if len(c.script) > 0 {
		err := c.script[0]
		c.script = c.script[1:]
		if err != nil {
			return plogotlp.NewExportResponse(), err
		}
	}
	for _, rl := range in.Logs().ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				c.records = append(c.records, record.Body().AsString())
			}
		}
	}
	return plogotlp.NewExportResponse(), nil
}

func (c *collector) state() (asked int, records string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, strings.Join(c.records, ",")
}

func (c *collector) serve(t *testing.T, addr string) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	plogotlp.RegisterGRPCServer(server, c)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	stop := func() { server.Stop(); <-done }
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

func batch(body string) plog.Logs {
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr(body)
	return logs
}

func withRetryInfo(code codes.Code, delay time.Duration) error {
	s, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

// start makes an exporter without a queue, so that Consume returns what became of the batch.
func start(t *testing.T, addr string) func(plog.Logs) error {
	t.Helper()
	cfg := defaultConfig().(*Config)
	cfg.Endpoint, cfg.ReconnectWithin = addr, 50*time.Millisecond
	cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = 5*time.Millisecond, 20*time.Millisecond
	cfg.Queue = configoptional.None[exporterhelper.QueueBatchConfig]()
	e, err := NewFactory().CreateLogs(t.Context(), exportertest.NewNopSettings(NewFactory().Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown(context.Background()) })
	return func(logs plog.Logs) error { return e.ConsumeLogs(t.Context(), logs) }
}

func TestOnlyInvalidArgumentIsFinal(t *testing.T) {
	tests := map[string]struct {
		answers []error
		asked   int
		records string
		fault   codes.Code
	}{
		"accepted":             {nil, 1, "a", codes.OK},
		"unavailable":          {[]error{status.Error(codes.Unavailable, ""), status.Error(codes.Unavailable, "")}, 3, "a", codes.OK},
		"asked to wait":        {[]error{withRetryInfo(codes.Unavailable, time.Millisecond)}, 2, "a", codes.OK},
		"too big for now":      {[]error{status.Error(codes.ResourceExhausted, "")}, 2, "a", codes.OK},
		"internal":             {[]error{status.Error(codes.Internal, "")}, 2, "a", codes.OK},
		"not known there yet":  {[]error{status.Error(codes.Unimplemented, "")}, 2, "a", codes.OK},
		"credential not valid": {[]error{status.Error(codes.Unauthenticated, ""), status.Error(codes.PermissionDenied, "")}, 3, "a", codes.OK},
		"bad data":             {[]error{status.Error(codes.InvalidArgument, "")}, 1, "", codes.InvalidArgument},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &collector{script: test.answers}
			addr, _ := c.serve(t, "127.0.0.1:0")
			err := start(t, addr)(batch("a"))
			if got := status.Code(errors.Unwrap(err)); test.fault != codes.OK && got != test.fault {
				t.Errorf("error %v, want %v", err, test.fault)
			}
			if test.fault == codes.OK && err != nil {
				t.Error(err)
			}
			if asked, records := c.state(); asked != test.asked || records != test.records {
				t.Errorf("asked %d times, has %q; want %d and %q", asked, records, test.asked, test.records)
			}
		})
	}
}

func TestAnItemWaitsForACollectorThatIsAway(t *testing.T) {
	c := &collector{}
	addr, stop := c.serve(t, "127.0.0.1:0")
	send := start(t, addr)
	if err := send(batch("before")); err != nil {
		t.Fatal(err)
	}
	stop()
	done := make(chan error, 1)
	go func() { done <- send(batch("during")) }()
	select {
	case err := <-done:
		t.Fatalf("gave up: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	c.serve(t, addr)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, records := c.state(); records != "before,during" {
		t.Errorf("collector has %q", records)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	if err := (&Config{Endpoint: "127.0.0.1:1", Compression: "gzip", ReconnectWithin: time.Second}).Validate(); err != nil {
		t.Fatal(err)
	}
	err := (&Config{Endpoint: "nowhere", Compression: "zip"}).Validate()
	for _, key := range []string{"endpoint: ", "compression: ", "reconnect_within: "} {
		if !strings.Contains(fmt.Sprint(err), key) {
			t.Errorf("error does not name %q: %v", key, err)
		}
	}
}
