package otlpreceiver

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"go.opentelemetry.io/collector/config/configgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

// grpcServices are the names of OTLP's services, each with the one method Export.
var grpcServices = map[otlp.Signal]string{
	otlp.SignalTraces:  "opentelemetry.proto.collector.trace.v1.TraceService",
	otlp.SignalLogs:    "opentelemetry.proto.collector.logs.v1.LogsService",
	otlp.SignalMetrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
}

func grpcOptions() []configgrpc.ToServerOption {
	return []configgrpc.ToServerOption{
		configgrpc.WithGrpcServerOption(grpc.ForceServerCodecV2(codec{})),
		configgrpc.WithGrpcServerOption(grpc.WaitForHandlers(true)),
		configgrpc.WithGrpcServerOption(grpc.StatsHandler(senders{})),
		configgrpc.WithGrpcServerOption(grpc.RPCDecompressor(unopened{})), //nolint:staticcheck // the only way to decompress within a budget; supported throughout 1.x
	}
}

// grpcService describes a signal's service. To gRPC its method is a stream, though unary on the wire: a stream's handler
// runs before the message is read, and can refuse it unread.
func grpcService(in *intake, b *budget, limit int) *grpc.ServiceDesc {
	h := &grpcIntake{intake: in, budget: b, limit: limit}
	return &grpc.ServiceDesc{
		ServiceName: grpcServices[in.signal],
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Export", Handler: h.export, ClientStreams: true}},
	}
}

type grpcIntake struct {
	*intake
	budget *budget
	limit  int
}

func (g *grpcIntake) export(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	l := &lease{from: g.budget}
	defer l.end()
	batch, err := g.read(stream, l)
	if err != nil {
		g.refuse(ctx, err, 0)
		return refusal(err).Err()
	}
	rejected, err := g.take(ctx, l, batch)
	if err != nil {
		return refusal(err).Err()
	}
	return stream.SendMsg(reply(rejected))
}

// read takes the message into the lease, decompressed.
func (g *grpcIntake) read(stream grpc.ServerStream, l *lease) ([]byte, error) {
	if encoded, ok := grpc.ServerTransportStreamFromContext(stream.Context()).(interface{ RecvCompress() string }); ok {
		switch name := encoded.RecvCompress(); name {
		case "", encoding.Identity, gzipName:
		default:
			return nil, status.Errorf(codes.Unimplemented, "grpc-encoding %q is not among identity and gzip", name)
		}
	}
	from := senderOf(stream.Context())
	m := message{lease: l, expected: from.expected(g.budget.limit)}
	if err := l.reserve(m.expected); err != nil {
		return nil, err
	}
	if err := stream.RecvMsg(&m); err != nil {
		return nil, err
	}
	from.sent(int64(len(m.raw)))
	if m.err != nil {
		return nil, m.err
	}
	if len(m.raw) == 0 || m.raw[0] != compressed {
		return m.raw, nil
	}
	return gunzip(l, m.raw[1:], g.limit)
}

// message is what the codec reads into: bytes as they came.
type message struct {
	lease    *lease
	expected int64 // bytes, reserved for it until it is there
	raw      []byte
	err      error // the budget has no room
}

// codec passes bytes through.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m := v.(*message)
	m.lease.giveBack(m.expected)
	size := data.Len()
	buf, err := m.lease.buffer(size)
	if err != nil {
		m.err = err
		return nil // gRPC would make Internal of it, which is final
	}
	m.raw = buf[:data.CopyTo(buf[:size])]
	return nil
}

const (
	gzipName = "gzip"
	// compressed marks a message that is to be decompressed: no field's number is 0, so no protobuf begins with it.
	compressed = 0x07
)

// unopened leaves a message as compressed as it came: it is opened when its size can be taken from the budget.
type unopened struct{}

func (unopened) Type() string { return gzipName }

func (unopened) Do(r io.Reader) ([]byte, error) {
	var size int
	if sized, ok := r.(interface{ Remaining() int }); ok {
		size = sized.Remaining()
	}
	buf := bytes.NewBuffer(make([]byte, 0, 1+size+bytes.MinRead))
	buf.WriteByte(compressed)
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

var gzipReaders sync.Pool

// gunzip decompresses within limit and budget.
func gunzip(l *lease, raw []byte, limit int) ([]byte, error) {
	z, ok := gzipReaders.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(raw)); err != nil {
		return nil, malformed(err)
	}
	out, err := l.readAll(z, announced(raw), limit)
	if err != nil && !errors.Is(err, errBusy) && !errors.Is(err, errTooLarge) {
		return nil, malformed(err)
	}
	return out, err
}

// announced is the size that the end of a gzip file tells, if it can be true.
func announced(raw []byte) int {
	const best = 1032 // deflate's highest ratio
	if len(raw) < 4 {
		return 0
	}
	size := int64(binary.LittleEndian.Uint32(raw[len(raw)-4:]))
	return int(min(size, best*int64(len(raw))))
}
