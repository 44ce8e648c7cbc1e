package otlpreceiver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"weft/internal/otlp"
)

func everything() *log { return &log{signals: signals} }

// A signal without a pipeline goes to the Sink as it came; metrics alone name the receiver in the YAML.
func TestBytesGoToTheSinkAsTheyCame(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	batches := map[otlp.Signal][]byte{otlp.SignalTraces: tracesBytes(t, spans(3)), otlp.SignalLogs: logsBytes(t, 4), otlp.SignalMetrics: metricsBytes(t, 5)}
	conn := s.dial(t)
	for signal, batch := range batches {
		out, err := export(t.Context(), conn, signal, batch)
		if err != nil || len(out) != 0 {
			t.Errorf("%s over gRPC: %v %x", signal, err, out)
		}
		if r := s.post(t, "/v1/"+string(signal), asProtobuf, batch); r.code != 200 || len(r.body) != 0 {
			t.Errorf("%s over HTTP: %d %q", signal, r.code, r.body)
		}
	}
	for _, signal := range []otlp.Signal{otlp.SignalTraces, otlp.SignalLogs} {
		if len(s.sink.kept[signal]) != 2 {
			t.Fatalf("the sink has %d batches of %s", len(s.sink.kept[signal]), signal)
		}
		for _, kept := range s.sink.kept[signal] {
			if !bytes.Equal(kept, batches[signal]) {
				t.Errorf("%s came as other bytes", signal)
			}
		}
	}
	if len(s.sink.kept[otlp.SignalMetrics]) != 0 || s.metrics.DataPointCount() != 10 {
		t.Errorf("metrics have a pipeline, and yet it got %d points", s.metrics.DataPointCount())
	}
	for _, transport := range []string{"grpc", "http"} {
		for signal, want := range map[otlp.Signal]int64{otlp.SignalTraces: 3, otlp.SignalLogs: 4, otlp.SignalMetrics: 5} {
			if got := s.counted(t, "weft_receiver_accepted_items", transport, string(signal)); got != want {
				t.Errorf("%d %s accepted over %s, want %d", got, signal, transport, want)
			}
		}
	}
}

// Three signals' components are one server; a dry run, which makes them and starts none, leaves no trace.
func TestSignalsShareAServer(t *testing.T) {
	cfg := defaults(t)
	dry := build(t, cfg, everything(), signals...)
	s := open(t, cfg, everything(), otlp.SignalLogs, otlp.SignalMetrics, otlp.SignalTraces)
	for _, c := range s.components {
		if c != s.components[0] {
			t.Error("two servers for one configuration")
		}
	}
	if s.receiver == dry.receiver {
		t.Error("the dry run's server was started")
	}
	conn := s.dial(t)
	for signal, batch := range map[otlp.Signal][]byte{otlp.SignalTraces: tracesBytes(t, spans(3)), otlp.SignalLogs: logsBytes(t, 4), otlp.SignalMetrics: metricsBytes(t, 5)} {
		if _, err := export(t.Context(), conn, signal, batch); err != nil {
			t.Errorf("%s: %v", signal, err)
		}
	}
	if got := []int{s.traces.SpanCount(), s.logs.LogRecordCount(), s.metrics.DataPointCount()}; !slices.Equal(got, []int{3, 4, 5}) || len(s.sink.kept) != 0 {
		t.Errorf("the pipelines have %v, the sink %d", got, len(s.sink.kept))
	}
	if n := dry.traces.SpanCount() + dry.logs.LogRecordCount() + dry.metrics.DataPointCount(); n != 0 {
		t.Errorf("the dry run got %d items", n)
	}
	s.close(t)()
	again := open(t, cfg, everything(), otlp.SignalLogs) // a reload has the same configuration
	if _, err := export(t.Context(), conn, otlp.SignalTraces, tracesBytes(t, spans(1)), grpc.WaitForReady(true)); err != nil || again.sink.items(otlp.SignalTraces) != 1 {
		t.Errorf("after a restart: %v", err)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		cfg := defaults(t)
		addr := cfg.Protocols.GRPC.Get().NetAddr.Endpoint
		if protocol == "http" {
			addr = cfg.Protocols.HTTP.Get().NetAddr.Endpoint
		}
		taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := build(t, cfg, nil, signals...)
		for _, c := range s.components {
			if err := c.Start(t.Context(), hostWith(nil)); err == nil {
				t.Errorf("%s started", protocol)
			}
		}
		_ = taken.Close()
	}
}

// Who has been let in is answered.
func TestShutdownDrains(t *testing.T) {
	sink := everything()
	g := newGate(sink)
	s := open(t, defaults(t), sink, otlp.SignalMetrics)
	answers := bothWays(t, s, g)
	stopped := make(chan error, 1)
	go func() { stopped <- s.receiver.Shutdown(context.Background()) }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped while requests ran: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(g.open)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := s.sink.items(otlp.SignalTraces); got != 2 {
		t.Errorf("%d spans kept", got)
	}
}

// When the time to drain is over, what is left is cancelled, and nothing runs on.
func TestShutdownEnds(t *testing.T) {
	sink := everything()
	g := newGate(sink)
	s := open(t, defaults(t), sink, otlp.SignalMetrics)
	answers := bothWays(t, s, g)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.receiver.Shutdown(ctx)
	for range 2 {
		if err := <-answers; err == nil {
			t.Error("a request that was cut off got an answer")
		}
	}
}

// bothWays sends a span over each transport, and returns when the gate has both.
func bothWays(t *testing.T, s *station, g *gate) <-chan error {
	t.Helper()
	conn := s.dial(t)
	answers := make(chan error, 2)
	batch := tracesBytes(t, spans(1))
	go func() {
		_, err := export(context.Background(), conn, otlp.SignalTraces, batch)
		answers <- err
	}()
	go func() {
		r, err := s.send(context.Background(), http.MethodPost, "/v1/traces", asProtobuf, bytes.NewReader(batch))
		if err == nil && r.code != http.StatusOK {
			err = fmt.Errorf("HTTP %d", r.code)
		}
		answers <- err
	}()
	<-g.entered
	<-g.entered
	return answers
}

// An application's SDK, as it is.
func TestAnUnmodifiedSDK(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	addr := s.cfg.Protocols.HTTP.Get().NetAddr.Endpoint
	clients := map[string]otlptrace.Client{
		"grpc":      otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(s.grpc), otlptracegrpc.WithInsecure()),
		"grpc gzip": otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(s.grpc), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip")),
		"http":      otlptracehttp.NewClient(otlptracehttp.WithEndpoint(addr), otlptracehttp.WithInsecure()),
		"http gzip": otlptracehttp.NewClient(otlptracehttp.WithEndpoint(addr), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression)),
	}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			before := s.sink.items(otlp.SignalTraces)
			exporter, err := otlptrace.New(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
			for range 100 {
				_, span := provider.Tracer("shop").Start(t.Context(), "GET /cart")
				span.End()
			}
			if err := errors.Join(provider.ForceFlush(t.Context()), provider.Shutdown(t.Context())); err != nil {
				t.Fatal(err)
			}
			if got := s.sink.items(otlp.SignalTraces) - before; got != 100 {
				t.Errorf("%d spans kept", got)
			}
		})
	}
}

// The YAML is the stock receiver's, with one key more.
func TestYAML(t *testing.T) {
	cert, key, roots := certificate(t)
	text := `
in_flight_bytes: 134217728
protocols:
  grpc:
    endpoint: ADDR
    max_recv_msg_size_mib: 32
    tls: {cert_file: CERT, key_file: KEY}
    keepalive: {server_parameters: {max_connection_age: 1h}}
  http:
    endpoint: HTTP
    max_request_body_size: 1048576
    traces_url_path: spans
    tls: {cert_file: CERT, key_file: KEY}
`
	addr, web := free(t), free(t)
	text = strings.NewReplacer("ADDR", addr, "HTTP", web, "CERT", cert, "KEY", key).Replace(text)
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	conf, err := retrieved.AsConf()
	if err != nil {
		t.Fatal(err)
	}
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := errors.Join(conf.Unmarshal(cfg), confmap.Validate(cfg)); err != nil {
		t.Fatal(err)
	}
	if cfg.InFlightBytes != 128*mib || cfg.largest() != 32*mib || cfg.Protocols.HTTP.Get().path(otlp.SignalLogs) != "/v1/logs" {
		t.Errorf("%+v", cfg)
	}
	s := open(t, cfg, everything(), otlp.SignalMetrics)
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := export(t.Context(), conn, otlp.SignalTraces, tracesBytes(t, spans(1))); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+web+"/spans", bytes.NewReader(tracesBytes(t, spans(1))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", protobufType)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK || s.sink.items(otlp.SignalTraces) != 2 {
		t.Errorf("HTTP: %d, %d spans", resp.StatusCode, s.sink.items(otlp.SignalTraces))
	}
	cfg.InFlightBytes = mib
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "in_flight_bytes") {
		t.Errorf("a budget under one message: %v", err)
	}
}

// certificate is for 127.0.0.1, in files, and who trusts it.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(cert)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	err = errors.Join(os.WriteFile(certFile, cert, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, roots
}

func TestOddEncodingsOverGRPC(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	conn := s.dial(t, grpc.WithCompressor(odd{})) //nolint:staticcheck // a test of what a strange sender does
	_, err := export(t.Context(), conn, otlp.SignalTraces, tracesBytes(t, spans(1)))
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	if _, err := export(t.Context(), s.dialRaw(t), otlp.SignalTraces, []byte("no gzip")); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

type odd struct{ raw }

func (odd) Type() string { return "rot13" }
