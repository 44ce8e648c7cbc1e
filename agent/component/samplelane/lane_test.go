package samplelane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/identity"
	"weft/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs what a Source asks for, as control does.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	domain := &url.URL{Scheme: "spiffe", Host: identity.TrustDomain}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, URIs: []*url.URL{domain},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{root, key}
}

func (a *authority) issue(_ context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	csr, err := x509.ParseCertificateRequest(in.GetCsr())
	if err != nil {
		return nil, err
	}
	id, err := url.Parse(in.GetSpiffeId())
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{id}, NotBefore: time.Now().Add(-time.Minute), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, a.root, csr.PublicKey, a.key)
	return &wire.IssueResponse{Chain: [][]byte{der}, Bundle: [][]byte{a.root.Raw}, NotAfterUnix: until.Unix()}, err
}

// source is ready, and runs until the test ends.
func (a *authority) source(t *testing.T, role identity.Role, service, instance string) *identity.Source {
	t.Helper()
	s := identity.NewLocalSource(identity.ID{TrustDomain: identity.TrustDomain, Role: role, Service: service, Instance: instance}, a.issue)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// collector is the far end of the lane.
type collector struct {
	wire.UnimplementedSamplesServer
	got chan *wire.SampleReport
}

func (c *collector) Report(stream grpc.BidiStreamingServer[wire.SampleReport, wire.SampleReceipt]) error {
	for {
		report, err := stream.Recv()
		if err != nil {
			return nil
		}
		select {
		case c.got <- report:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func serve(t *testing.T, addr string, source *identity.Source) (*collector, *grpc.Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{got: make(chan *wire.SampleReport, 16)}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(source.ServerTLS(identity.Allow(identity.RoleAgent)))))
	wire.RegisterSamplesServer(server, c)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c, server, listener.Addr().String()
}

func dial(t *testing.T, addr string, source *identity.Source) grpc.BidiStreamingClient[wire.SampleReport, wire.SampleReceipt] {
	t.Helper()
	stream, err := tryDial(t, addr, source)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func tryDial(t *testing.T, addr string, source *identity.Source) (grpc.BidiStreamingClient[wire.SampleReport, wire.SampleReceipt], error) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(source.ClientTLS(identity.Allow(identity.RoleAgent)))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return wire.NewSamplesClient(conn).Report(t.Context())
}

func startLane(t *testing.T, source *identity.Source, collector string) *lane {
	t.Helper()
	cfg := &Config{Endpoint: "127.0.0.1:0", Collector: collector, Instance: "agent-1"}
	l, err := newLane(cfg, source, componenttest.NewNopTelemetrySettings())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Shutdown(context.Background()) })
	return l
}

func TestLaneStampsTheReporterAndRelays(t *testing.T) {
	ca := newAuthority(t)
	far, _, addr := serve(t, "127.0.0.1:0", ca.source(t, identity.RoleCollector, "collector", "collector-1"))
	l := startLane(t, ca.source(t, identity.RoleAgent, "agent", "agent-1"), addr)
	proxy := dial(t, l.addr, ca.source(t, identity.RoleProxy, "orders", "orders-1"))

	sent := &wire.SampleReport{Reporter: "payment/payment-9", Epoch: 1, Sequence: 1, Endpoints: []*wire.EndpointSample{{Service: "payment", Instance: "payment-2"}}}
	if err := proxy.Send(sent); err != nil {
		t.Fatal(err)
	}
	receipt, err := proxy.Recv()
	if err != nil || receipt.GetSequence() != 1 {
		t.Fatalf("receipt %v, error %v", receipt, err)
	}
	got := <-far.got
	if got.GetReporter() != "orders/orders-1" {
		t.Errorf("reporter is %q, want the certificate's", got.GetReporter())
	}
	if len(got.GetEndpoints()) != 1 || got.GetEndpoints()[0].GetInstance() != "payment-2" {
		t.Errorf("endpoints %v", got.GetEndpoints())
	}
	if err := l.Readiness(); err != nil {
		t.Error(err)
	}
}

func TestLaneComesBackToARestartedCollector(t *testing.T) {
	ca := newAuthority(t)
	identityOfCollector := ca.source(t, identity.RoleCollector, "collector", "collector-1")
	first, server, addr := serve(t, "127.0.0.1:0", identityOfCollector)
	l := startLane(t, ca.source(t, identity.RoleAgent, "agent", "agent-1"), addr)
	proxy := dial(t, l.addr, ca.source(t, identity.RoleProxy, "orders", "orders-1"))
	report := func(n uint64) {
		t.Helper()
		if err := proxy.Send(&wire.SampleReport{Epoch: 1, Sequence: n}); err != nil {
			t.Fatal(err)
		}
		if _, err := proxy.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	report(1)
	<-first.got
	server.Stop()
	second, _, _ := serve(t, addr, identityOfCollector)
	for n := uint64(2); ; n++ { // a proxy reports four times a second, whoever listens
		report(n)
		select {
		case got := <-second.got:
			if got.GetSequence() < 2 {
				t.Errorf("an old report came: %v", got)
			}
			return
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("never relayed again")
		}
	}
}

func TestOnlyProxiesMayReport(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	l := startLane(t, ca.source(t, identity.RoleAgent, "agent", "agent-1"), "")
	tests := map[string]*identity.Source{
		"agent":     ca.source(t, identity.RoleAgent, "agent", "agent-2"),
		"collector": ca.source(t, identity.RoleCollector, "collector", "collector-1"),
		"operator":  ca.source(t, identity.RoleOperator, "weft", "weft"),

		"proxy of another root": stranger.source(t, identity.RoleProxy, "orders", "orders-1"),
	}
	for name, source := range tests {
		t.Run(name, func(t *testing.T) {
			stream, err := tryDial(t, l.addr, source)
			if err == nil {
				_, err = stream.Recv()
			}
			if err == nil {
				t.Fatal("was let in")
			}
		})
	}
}

func TestWithoutAnIdentityTheLaneStaysClosed(t *testing.T) {
	cfg := defaultConfig().(*Config)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ext, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(NewFactory().Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	if err := ext.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestConfigNamesTheKey(t *testing.T) {
	cfg := &Config{Endpoint: "x", Collector: "y", Instance: "a b", Identity: identity.Config{Control: "z"}}
	err := cfg.Validate()
	for _, key := range []string{"endpoint: ", "collector: ", "instance: ", "identity.join_token: ", "identity.control: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("error does not name %q: %v", key, err)
		}
	}
}
