package otlpreceiver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"weft/internal/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a Sink that remembers.
type log struct {
	component.StartFunc
	component.ShutdownFunc
	signals []otlp.Signal
	take    func(context.Context, otlp.Signal, []byte) (Rejected, error)

	mu   sync.Mutex
	kept map[otlp.Signal][][]byte
	n    map[otlp.Signal]int // items in them
}

func (s *log) Takes(signal otlp.Signal) bool { return slices.Contains(s.signals, signal) }

func (s *log) Take(ctx context.Context, signal otlp.Signal, batch []byte) (Rejected, error) {
	var rejected Rejected
	if s.take != nil {
		r, err := s.take(ctx, signal, batch)
		if err != nil {
			return r, err
		}
		rejected = r
	}
	kept, n, more, err := otlp.Admit(signal, batch)
	if err != nil {
		return rejected, err
	}
	rejected.Add(more)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept, s.n = map[otlp.Signal][][]byte{}, map[otlp.Signal]int{}
	}
	s.n[signal] += n
	s.kept[signal] = append(s.kept[signal], bytes.Clone(kept))
	return rejected, nil
}

func (s *log) items(signal otlp.Signal) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[signal]
}

// host has extensions and keeps what a component says of itself.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func hostWith(sink component.Component) host {
	h := host{componenttest.NewNopHost(), map[component.ID]component.Component{}}
	h.extensions[component.MustNewID("other")] = struct {
		component.StartFunc
		component.ShutdownFunc
	}{}
	if sink != nil {
		h.extensions[component.MustNewID("log")] = sink
	}
	return h
}

// station is a receiver that runs.
type station struct {
	cfg        *Config
	sink       *log
	traces     *consumertest.TracesSink // of the pipelines
	logs       *consumertest.LogsSink
	metrics    *consumertest.MetricsSink
	components []component.Component
	receiver   *otlpReceiver
	reader     *metric.ManualReader
	grpc, http string
}

// free finds addresses that nobody has.
func free(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func defaults(t testing.TB) *Config {
	cfg := DefaultConfig()
	cfg.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = free(t)
	cfg.Protocols.HTTP.GetOrInsertDefault().NetAddr.Endpoint = free(t)
	return cfg
}

// small is a receiver of messages of up to 8 MiB, and as many in flight.
func small(t testing.TB) *Config {
	cfg := defaults(t)
	cfg.Protocols.GRPC.Get().MaxRecvMsgSizeMiB = 8
	cfg.Protocols.HTTP.Get().MaxRequestBodySize = 8 * mib
	cfg.InFlightBytes = 8 * mib
	return cfg
}

// open starts a receiver: signals in through have a pipeline, those of the sink go there.
func open(t testing.TB, cfg *Config, sink *log, through ...otlp.Signal) *station {
	t.Helper()
	s := build(t, cfg, sink, through...)
	var ext component.Component
	if sink != nil {
		ext = sink
	}
	for _, c := range s.components {
		if err := c.Start(t.Context(), hostWith(ext)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.close(t))
	return s
}

func (s *station) close(t testing.TB) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for _, c := range s.components {
			if err := c.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
		if used := s.receiver.budget.used.Load(); used != 0 {
			t.Errorf("%d bytes are still in flight", used)
		}
	}
}

// build makes the components of a configuration, as the Collector does; it starts none.
func build(t testing.TB, cfg *Config, sink *log, through ...otlp.Signal) *station {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &station{
		cfg: cfg, sink: sink, reader: metric.NewManualReader(),
		traces: new(consumertest.TracesSink), logs: new(consumertest.LogsSink), metrics: new(consumertest.MetricsSink),
	}
	f := NewFactory()
	set := receivertest.NewNopSettings(f.Type())
	set.MeterProvider = metric.NewMeterProvider(metric.WithReader(s.reader))
	for _, signal := range through {
		var c component.Component
		var err error
		switch signal {
		case otlp.SignalTraces:
			c, err = f.CreateTraces(t.Context(), set, cfg, s.traces)
		case otlp.SignalLogs:
			c, err = f.CreateLogs(t.Context(), set, cfg, s.logs)
		case otlp.SignalMetrics:
			c, err = f.CreateMetrics(t.Context(), set, cfg, s.metrics)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.components = append(s.components, c)
	}
	s.receiver = s.components[0].(*otlpReceiver)
	if cfg.Protocols.GRPC.HasValue() {
		s.grpc = cfg.Protocols.GRPC.Get().NetAddr.Endpoint
	}
	if cfg.Protocols.HTTP.HasValue() {
		s.http = "http://" + cfg.Protocols.HTTP.Get().NetAddr.Endpoint
	}
	return s
}

// counted is the sum of a counter's points that have all the given attributes.
func (s *station) counted(t *testing.T, name string, attrs ...string) (sum int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			data, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !ok {
				continue
			}
			for _, point := range data.DataPoints {
				has := map[string]bool{}
				for _, kv := range point.Attributes.ToSlice() {
					has[kv.Value.AsString()] = true
				}
				if !slices.ContainsFunc(attrs, func(a string) bool { return !has[a] }) {
					sum += point.Value
				}
			}
		}
	}
	return sum
}

// bytesCodec sends bytes as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}

func (s *station) dial(t testing.TB, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.grpc, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// export sends bytes over gRPC, and returns the bytes of the response.
func export(ctx context.Context, conn *grpc.ClientConn, signal otlp.Signal, batch []byte, opts ...grpc.CallOption) ([]byte, error) {
	var out []byte
	err := conn.Invoke(ctx, "/"+grpcServices[signal]+"/Export", batch, &out, append(opts, grpc.ForceCodec(bytesCodec{}))...)
	return out, err
}

// response is what came back over HTTP.
type response struct {
	code   int
	header http.Header
	body   []byte
}

func (s *station) post(t testing.TB, path string, headers map[string]string, body []byte) response {
	t.Helper()
	r, err := s.send(t.Context(), http.MethodPost, path, headers, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *station) send(ctx context.Context, method, path string, headers map[string]string, body io.Reader) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.http+path, body)
	if err != nil {
		return response{}, err
	}
	for k, v := range maps.All(headers) {
		req.Header.Set(k, v)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, answer}, err
}

// status is the google.rpc.Status in a refusal.
func (r response) status(t *testing.T) *spb.Status {
	t.Helper()
	out := &spb.Status{}
	decode := proto.Unmarshal
	if r.header.Get("Content-Type") == jsonType {
		decode = protojson.Unmarshal
	}
	if err := decode(r.body, out); err != nil {
		t.Fatalf("%d with a body that is no status: %v: %q", r.code, err, r.body)
	}
	return out
}

var (
	asProtobuf = map[string]string{"Content-Type": protobufType}
	asJSON     = map[string]string{"Content-Type": jsonType}
)

func spans(n int) ptrace.Traces {
	batch := ptrace.NewTraces()
	rs := batch.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i), byte(i >> 8), byte(i >> 16)})
		s.SetSpanID([8]byte{2, byte(i), byte(i >> 8), byte(i >> 16)})
		s.SetName("GET /cart")
		s.SetStartTimestamp(1e18)
		s.SetEndTimestamp(1e18 + 1e6)
	}
	return batch
}

func tracesBytes(t testing.TB, batch ptrace.Traces) []byte {
	t.Helper()
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func logsBytes(t testing.TB, n int) []byte {
	t.Helper()
	batch := plog.NewLogs()
	records := batch.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		records.AppendEmpty().Body().SetStr("paid")
	}
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func metricsBytes(t testing.TB, n int) []byte {
	t.Helper()
	batch := pmetric.NewMetrics()
	m := batch.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("queue")
	points := m.SetEmptyGauge().DataPoints()
	for i := range n {
		points.AppendEmpty().SetIntValue(int64(i))
	}
	raw, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var errDisk = errors.New("disk is full")

var _ receiver.Traces = (*otlpReceiver)(nil)
