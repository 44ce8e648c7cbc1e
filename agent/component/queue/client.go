package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

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
	"google.golang.org/protobuf/encoding/protowire"
)

// maxBatch is what agent and collector take in one message, uncompressed.
const maxBatch = 64 << 20

// client is the connection to the collector, which all signals share.
type client struct {
	conn    *grpc.ClientConn
	timeout time.Duration
}

// dial reaches for nothing yet: ready does, and again within ReconnectWithin whenever the collector was lost.
func dial(cfg Config) (*client, error) {
	transport := insecure.NewCredentials()
	if cfg.TLS {
		transport = credentials.NewTLS(nil)
	}
	calls := []grpc.CallOption{grpc.MaxCallSendMsgSize(2 * maxBatch), grpc.ForceCodecV2(codec{})}
	if cfg.Compression == gzip.Name {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	retry := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: cfg.ReconnectWithin}
	conn, err := grpc.NewClient(cfg.Endpoint, grpc.WithTransportCredentials(transport), grpc.WithDefaultCallOptions(calls...),
		grpc.WithUserAgent("weft-agent"), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 2 * time.Second}),
		// A collector that vanished without a word is noticed, and dialled again, while requests wait for it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}))
	return &client{conn, cfg.Timeout}, err
}

// ready waits for a connection.
func (c *client) ready(ctx context.Context) error {
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

// export sends one Export request, which is the bytes of it, and returns what the collector has rejected of its items.
func (c *client) export(ctx context.Context, method string, b *body) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var out answer
	err := c.conn.Invoke(ctx, method, b, &out)
	return out, err
}

// body is a view of a parcel's bytes. gRPC may hold on to them after a call has ended, by its deadline.
type body struct {
	data []byte
	from *parcel
}

// answer is what all three Export responses have in common.
type answer struct {
	rejected int64
	message  string
}

// codec carries bytes as they are. Its name is that of the content type.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*body)
	if !ok {
		return nil, errors.New("only bytes are sent")
	}
	if mem.IsBelowBufferPoolingThreshold(cap(b.data)) { // gRPC would not tell when it has done with so few
		return mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), b.data...))}, nil
	}
	b.from.holders.Add(1)
	return mem.BufferSlice{mem.NewBuffer(&b.data, release{&b.from.holders})}, nil
}

// release is told when gRPC has done with a parcel's bytes.
type release struct{ holders *atomic.Int32 }

func (release) Get(int) *[]byte { panic("nothing is taken from here") }
func (r release) Put(*[]byte)   { r.holders.Add(-1) }

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	out, ok := v.(*answer)
	if !ok {
		return errors.New("only answers are read")
	}
	*out = parseAnswer(data.Materialize())
	return nil
}

// parseAnswer reads partial_success. An answer that cannot be read is a success all the same: the status says so.
func parseAnswer(b []byte) (out answer) {
	for partial := range fields(b, 1, protowire.BytesType) {
		for n := range fields(partial, 1, protowire.VarintType) {
			rejected, _ := protowire.ConsumeVarint(n)
			out.rejected = max(0, int64(rejected))
		}
		for text := range fields(partial, 2, protowire.BytesType) {
			out.message = string(text)
		}
	}
	return out
}

// fields yields the values of one field: the content of bytes, and numbers as they are encoded.
func fields(b []byte, number protowire.Number, want protowire.Type) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n, wire, tag := protowire.ConsumeTag(b)
			if tag < 0 {
				return
			}
			size := protowire.ConsumeFieldValue(n, wire, b[tag:])
			if size < 0 {
				return
			}
			value := b[tag : tag+size]
			b = b[tag+size:]
			if n != number || wire != want {
				continue
			}
			if wire == protowire.BytesType {
				value, _ = protowire.ConsumeBytes(value)
			}
			if !yield(value) {
				return
			}
		}
	}
}

// final says that the collector will never take these bytes. Every other answer is a matter of time.
func final(err error) bool { return status.Code(err) == codes.InvalidArgument }

// patience is how long the collector asks to be left alone; 0 when it does not say.
func patience(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return min(retry.GetRetryDelay().AsDuration(), maxPatience)
		}
	}
	return 0
}

// maxPatience bounds what a collector may ask for: it must not be able to silence an agent.
const maxPatience = time.Minute
