package agent

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"weft/internal/otlp"
)

// bytesCodec passes messages through, so that neither generator nor collector cost the machine much.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = bytesCodec{}

// serveCounting is a collector that counts spans and forgets them.
func serveCounting(b *testing.B, addr string) *atomic.Int64 {
	b.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	var spans atomic.Int64
	server := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.MaxRecvMsgSize(64<<20),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var in, out []byte
			if err := stream.RecvMsg(&in); err != nil {
				return err
			}
			n, err := otlp.SignalTraces.Items(in)
			if err != nil {
				return err
			}
			spans.Add(int64(n))
			return stream.SendMsg(&out)
		}))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	b.Cleanup(func() { server.Stop(); <-done })
	return &spans
}

// spanBatch is n spans of some 480 bytes with 10 attributes each, in traces of 8.
func spanBatch(b *testing.B, n int) []byte {
	b.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "cart-api")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1, byte(i / 8), byte(i / 8 >> 8)})
		s.SetSpanID(pcommon.SpanID{2, byte(i), byte(i >> 8)})
		s.SetName("GET /cart/{id}")
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(1_700_000_000_000_000_000)
		s.SetEndTimestamp(1_700_000_000_100_000_000)
		for a := range 10 {
			s.Attributes().PutStr(fmt.Sprintf("http.attribute.number.%d", a), fmt.Sprintf("value %d of %d", a, i))
		}
	}
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// agentMetric reads one value from the agent's ops port.
func (n node) metric(b *testing.B, name string) float64 {
	b.Helper()
	answer, err := http.Get("http://" + n.ops + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		if value, found := strings.CutPrefix(string(line), name+" "); found {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}

// BenchmarkAgent is the whole agent as a process: spans come in over gRPC, go through its log and leave for a collector
// that forgets them. CPU is the agent's alone. The yardstick is the full decode of a span in this process.
func BenchmarkAgent(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("%d spans a batch", size), func(b *testing.B) {
			n := newNode(b)
			received := serveCounting(b, n.collector)
			defer n.process(b)()
			conn, err := grpc.NewClient(n.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			raw := spanBatch(b, size)
			batches := max(1, b.N/size)
			cpu, mallocs := n.metric(b, "process_cpu_seconds_total"), n.metric(b, "go_memstats_mallocs_total")
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(batches))
			var senders sync.WaitGroup
			for range 4 {
				senders.Go(func() {
					for left.Add(-1) >= 0 {
						var out []byte
						if err := conn.Invoke(b.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &raw, &out); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			senders.Wait()
			spans := int64(batches * size)
			await(b, "delivered", func() bool { return received.Load() >= spans })
			b.StopTimer()
			b.ReportMetric((n.metric(b, "process_cpu_seconds_total")-cpu)*1e6/float64(spans), "agent-cpu-µs/span")
			b.ReportMetric((n.metric(b, "go_memstats_mallocs_total")-mallocs)/float64(spans), "agent-allocs/span")
			b.ReportMetric(float64(len(raw))/float64(size), "B/span")
		})
	}
	b.Run("yardstick: pdata decode", func(b *testing.B) {
		raw := spanBatch(b, 512)
		before := cpuTime(b)
		for range max(1, b.N/512) {
			if _, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime(b)-before)*1e6/float64(max(1, b.N/512)*512), "cpu-µs/span")
	})
}

// cpuTime is what this process has used, in seconds.
func cpuTime(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}
