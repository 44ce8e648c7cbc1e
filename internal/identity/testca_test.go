package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testCA signs whatever it is asked to.
type testCA struct {
	key     *ecdsa.PrivateKey
	root    *x509.Certificate
	further [][]byte // more roots for the bundle
	ttl     time.Duration
	serial  atomic.Int64
}

func newTestCA(t testing.TB, domain string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{key: key, root: root, ttl: time.Hour}
}

func (ca *testCA) issue(_ context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	request, err := x509.ParseCertificateRequest(in.GetCsr())
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(in.GetSpiffeId())
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial.Add(1)), URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(ca.ttl), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.root, request.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	return &wire.IssueResponse{Chain: [][]byte{der, ca.root.Raw}, Bundle: append([][]byte{ca.root.Raw}, ca.further...)}, nil
}

func proxy(service, instance string) ID {
	return ID{TrustDomain: TrustDomain, Role: RoleProxy, Service: service, Instance: instance}
}

// source has a certificate of ca, and does not run.
func (ca *testCA) source(t testing.TB, id ID) *Source {
	t.Helper()
	s := NewLocalSource(id, ca.issue)
	s.renew(t.Context())
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// echo serves TLS connections with config until the test ends; each line that comes goes back.
func echo(t testing.TB, config *tls.Config) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 64)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					if _, err := conn.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

// call opens a connection and has one exchange, so that the server's judgement of the client is known too.
func call(t testing.TB, address string, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return conn, exchange(conn)
}

func exchange(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 16))
	return err
}
