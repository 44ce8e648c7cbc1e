// Package export carries OTLP Export requests to a collector, as the bytes that they are.
package export

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

// MaxBatch is what agent and collector take in one message, uncompressed.
const MaxBatch = 64 << 20

// methods are the services of OTLP, by signal.
var methods = map[otlp.Signal]string{
	otlp.SignalTraces:  "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
	otlp.SignalLogs:    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
	otlp.SignalMetrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}

// Config is the collector and the way to it.
type Config struct {
	// Endpoint is the collector's OTLP gRPC HOST:PORT.
	Endpoint string `mapstructure:"endpoint"`
	// TLS asks for a server certificate that the system's roots verify; without it the connection is plain, which is
	// meant for loopback.
	TLS bool `mapstructure:"tls"`
	// Compression is "none" (loopback) or "gzip".
	Compression string `mapstructure:"compression"`
	// Timeout bounds one request; it is tried again.
	Timeout time.Duration `mapstructure:"timeout"`
	// ReconnectWithin bounds the pause between attempts to reach a collector that was away.
	ReconnectWithin time.Duration `mapstructure:"reconnect_within"`
}

// Client is the connection to the collector, which all signals share.
type Client struct {
	conn    *grpc.ClientConn
	timeout time.Duration
}

// Dial reaches for nothing yet: Ready does, and again within ReconnectWithin whenever the collector was lost.
func Dial(cfg Config) (*Client, error) {
	transport := insecure.NewCredentials()
	if cfg.TLS {
		transport = credentials.NewTLS(nil)
	}
	calls := []grpc.CallOption{grpc.MaxCallSendMsgSize(2 * MaxBatch), grpc.ForceCodecV2(codec{})}
	if cfg.Compression == gzip.Name {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	retry := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: cfg.ReconnectWithin}
	conn, err := grpc.NewClient(cfg.Endpoint, grpc.WithTransportCredentials(transport), grpc.WithDefaultCallOptions(calls...),
		grpc.WithUserAgent("weft-agent"), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 2 * time.Second}),
		// A collector that vanished without a word is noticed, and dialled again, while requests wait for it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}))
	return &Client{conn, cfg.Timeout}, err
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Connected says whether there is a connection.
func (c *Client) Connected() bool { return c.conn.GetState() == connectivity.Ready }

// Ready waits for a connection.
func (c *Client) Ready(ctx context.Context) error {
	for {
		state := c.conn.GetState()
		if state == connectivity.Ready {
			return nil
		}
		if state == connectivity.Idle {
			c.conn.Connect()
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}

// Export sends one request and returns what the collector has rejected of its items.
func (c *Client) Export(ctx context.Context, signal otlp.Signal, b Body) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out Answer
	err := c.conn.Invoke(ctx, methods[signal], &b, &out)
	return out, err
}

// Body is the bytes of one request. gRPC may hold on to them after a call has ended, by its deadline: while Holders is
// not 0 they must not be written to.
type Body struct {
	Data    []byte
	Holders *atomic.Int32
}

// Answer is what all three Export responses have in common.
type Answer struct {
	Rejected int64
	Message  string
}

// codec carries bytes as they are. Its name is that of the content type.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*Body)
	if !ok {
		return nil, errors.New("only bytes are sent")
	}
	if mem.IsBelowBufferPoolingThreshold(cap(b.Data)) { // gRPC would not tell when it has done with so few
		return mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), b.Data...))}, nil
	}
	b.Holders.Add(1)
	return mem.BufferSlice{mem.NewBuffer(&b.Data, release{b.Holders})}, nil
}

// release is told when gRPC has done with a request's bytes.
type release struct{ holders *atomic.Int32 }

func (release) Get(int) *[]byte { panic("nothing is taken from here") }
func (r release) Put(*[]byte)   { r.holders.Add(-1) }

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	out, ok := v.(*Answer)
	if !ok {
		return errors.New("only answers are read")
	}
	*out = parseAnswer(data.Materialize())
	return nil
}

// parseAnswer reads partial_success, whose fields have the same numbers in all three responses: it takes each for that of
// log records. An answer that cannot be read is a success all the same: the status says so.
func parseAnswer(b []byte) Answer {
	response := plogotlp.NewExportResponse()
	if response.UnmarshalProto(b) != nil {
		return Answer{}
	}
	partial := response.PartialSuccess()
	return Answer{max(0, partial.RejectedLogRecords()), partial.ErrorMessage()}
}

// Final says that the collector will never take these bytes. Every other answer is a matter of time.
func Final(err error) bool { return status.Code(err) == codes.InvalidArgument }

// Patience is how long the collector asks to be left alone; 0 when it does not say.
func Patience(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return min(retry.GetRetryDelay().AsDuration(), maxPatience)
		}
	}
	return 0
}

// maxPatience bounds what a collector may ask for: it must not be able to silence an agent.
const maxPatience = time.Minute
