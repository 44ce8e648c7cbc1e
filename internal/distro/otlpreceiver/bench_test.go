package otlpreceiver

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	stock "go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/grpc"
	grpcgzip "google.golang.org/grpc/encoding/gzip"

	"weft/internal/otlp"
)

// nop is a Sink that is done at once.
type nop struct {
	component.StartFunc
	component.ShutdownFunc
}

func (nop) Takes(otlp.Signal) bool { return true }
func (nop) Take(context.Context, otlp.Signal, []byte) (Rejected, error) {
	return Rejected{}, nil
}

// BenchmarkReceive is the receiver beside the stock one: spans of 480 bytes with ten attributes, over gRPC on loopback. The
// sender, whose batches are encoded before, is in it.
func BenchmarkReceive(b *testing.B) {
	const n = 1000
	batch := ptrace.NewTraces()
	ss := batch.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i)})
		s.SetSpanID([8]byte{byte(i), byte(i >> 8), 1})
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
	raw := tracesBytes(b, batch)

	f := stock.NewFactory()
	config := f.CreateDefaultConfig().(*stock.Config)
	config.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = free(b)
	theirs, err := f.CreateTraces(b.Context(), receivertest.NewNopSettings(f.Type()), config, consumertest.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	through := func(signal otlp.Signal) *otlpReceiver { return build(b, defaults(b), everything(), signal).receiver }
	sink, decoded := through(otlp.SignalMetrics), through(otlp.SignalTraces)
	decoded.pipelines[otlp.SignalTraces] = tracesPipeline(consumertest.NewNop())
	for _, run := range []struct {
		name      string
		component component.Component
		addr      string
		options   []grpc.CallOption
	}{
		{"stock", theirs, config.Protocols.GRPC.Get().NetAddr.Endpoint, nil},
		{"sink", sink, sink.cfg.Protocols.GRPC.Get().NetAddr.Endpoint, nil},
		{"pipeline", decoded, decoded.cfg.Protocols.GRPC.Get().NetAddr.Endpoint, nil},
		{"stock/gzip", theirs, config.Protocols.GRPC.Get().NetAddr.Endpoint, []grpc.CallOption{grpc.UseCompressor(grpcgzip.Name)}},
		{"sink/gzip", sink, sink.cfg.Protocols.GRPC.Get().NetAddr.Endpoint, []grpc.CallOption{grpc.UseCompressor(grpcgzip.Name)}},
	} {
		h := host{componenttest.NewNopHost(), map[component.ID]component.Component{component.MustNewID("nop"): nop{}}}
		if err := run.component.Start(b.Context(), h); err != nil {
			b.Fatal(err)
		}
		conn := (&station{grpc: run.addr}).dial(b)
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := export(b.Context(), conn, otlp.SignalTraces, raw, run.options...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
		})
		b.Cleanup(func() { _ = run.component.Shutdown(context.Background()) })
	}
}
