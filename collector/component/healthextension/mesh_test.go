package healthextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/identity"
	"weft/internal/sample"
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

// dial connects to the lane as the given identity.
func (a *authority) dial(t *testing.T, lane string, id identity.ID) *grpc.ClientConn {
	t.Helper()
	source := identity.NewLocalSource(id, a.issue)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = source.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := source.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+lane, grpc.WithTransportCredentials(credentials.NewTLS(source.ClientTLS(identity.Allow(identity.RoleCollector)))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func id(role identity.Role, service, instance string) identity.ID {
	return identity.ID{TrustDomain: identity.TrustDomain, Role: role, Service: service, Instance: instance}
}

// testKeeper gets its certificates from a, not from a configured control.
func testKeeper(t *testing.T, a *authority) *Keeper {
	t.Helper()
	k := NewKeeper()
	k.source = func(c *Config) *identity.Source { return identity.NewLocalSource(c.id(), a.issue) }
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func testConfig(data string) *Config {
	c := defaultConfig().(*Config)
	c.Lane, c.Data, c.Settle, c.Backoff = "127.0.0.1:0", data, time.Second, time.Minute
	c.MaxBackoff = time.Minute
	c.Identity.Socket = "unused" // enabled; the keeper's source is the test's
	return c
}

func startExtension(t *testing.T, k *Keeper, cfg *Config) *Extension {
	t.Helper()
	f := k.Factory()
	ext, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ext.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ext.Shutdown(context.Background()) })
	started := ext.(*Extension)
	// Before the lane has its certificate, a caller's handshake fails, as it should.
	for deadline := time.Now().Add(10 * time.Second); started.Readiness() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(started.Readiness())
		}
	}
	return started
}

var (
	_ extension.Extension = (*Extension)(nil)
	_ component.Config    = (*Config)(nil)
)

// fleet is three endpoints of payment and the proxies that call them, with counters that grow.
type fleet struct {
	epoch   uint64
	reports map[string]*sample.Report
}

var callers = []string{"orders/orders-1", "orders/orders-2", "orders/orders-3"}
var endpoints = []string{"payment-1", "payment-2", "payment-3"}

func newFleet() *fleet {
	f := &fleet{epoch: uint64(time.Now().UnixNano()), reports: map[string]*sample.Report{}}
	for _, name := range callers {
		r := &sample.Report{Reporter: name, Epoch: f.epoch}
		for _, instance := range endpoints {
			r.Samples = append(r.Samples, sample.Sample{Endpoint: sample.Key{Service: "payment", Instance: instance}, Latency: sample.Sketch{}})
		}
		f.reports[name] = r
	}
	return f
}

// next is a caller's report after n more attempts at every endpoint, of which bad fail at payment-2.
func (f *fleet) next(name string, n, bad uint64) *wire.SampleReport {
	r := f.reports[name]
	r.Sequence++
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Endpoint.Instance == "payment-2" {
			s.FirstAttempts[sample.Error] += bad
			s.FirstAttempts[sample.OK] += n - bad
			s.FailedIDs = []string{"req-of-" + name}
		} else {
			s.FirstAttempts[sample.OK] += n
		}
	}
	return r.ToWire()
}

func controlReport() *wire.ControlReport {
	out := &wire.ControlReport{Full: true, Proxies: callers}
	for _, instance := range endpoints {
		out.Members = append(out.Members, &wire.Member{Service: "payment", Instance: instance, Address: "127.0.0.1:1", Protocol: "http"})
	}
	return out
}
