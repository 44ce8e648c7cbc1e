package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"weft/internal/endpoints"
	"weft/internal/sample"
	"weft/internal/semconv"
)

// certificate is self-signed for one instance.
func certificate(t *testing.T, instance string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{instance}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// meshEndpoint serves TLS as instance, with HTTP/1.1 and HTTP/2.
func meshEndpoint(t *testing.T, instance string, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate(t, instance)}, NextProtos: []string{"h2", "http/1.1"},
	}}
	done := make(chan error)
	go func() { done <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// newMeshRig serves "shop" by endpoints with TLS, which must prove the instance that the table names.
func newMeshRig(t *testing.T, route Route, addresses ...string) *rig {
	t.Helper()
	var list []endpoints.Endpoint
	for i, a := range addresses {
		list = append(list, endpoints.Endpoint{
			Service: "shop", Instance: fmt.Sprintf("shop-%d", i+1), Address: a, TLS: true, Protocol: "http", Weight: 100,
		})
	}
	r := &rig{t: t, table: endpoints.NewTable(nil), route: route}
	r.table.Update(map[string][]endpoints.Endpoint{"shop": list})
	cfg := DefaultConfig()
	cfg.Balance.ProbeShare = 0
	r.start(cfg, Deps{Table: r.table, Recorder: r, TLS: func(e *endpoints.Endpoint) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			if got := s.PeerCertificates[0].DNSNames[0]; got != e.Instance {
				return errors.New(got + " answered for " + e.Instance)
			}
			return nil
		}}
	}})
	return r
}

func meshRoute() Route {
	return Route{Service: "shop", ConnectTimeout: time.Second, ResponseTimeout: 500 * time.Millisecond}
}

func TestMeshEndpointsSpeakForThemselves(t *testing.T) {
	tests := map[string]struct {
		answer  http.HandlerFunc
		method  string
		want    int
		outcome sample.Outcome
		retried bool
	}{
		"a cause further down is not retried":       {status(500, semconv.HeaderCause, "mysql/mysql-1"), "GET", 500, sample.Downstream, false},
		"the application is not there":              {status(502, semconv.HeaderOutcome, "connect_failure"), "GET", 200, sample.ConnectFailure, true},
		"which a POST may not find out twice":       {status(502, semconv.HeaderOutcome, "connect_failure"), "POST", 502, sample.ConnectFailure, false},
		"the application hangs":                     {status(504, semconv.HeaderOutcome, "timeout"), "GET", 200, sample.Timeout, true},
		"a refusal by the sidecar is Weft's own":    {status(403, semconv.HeaderOutcome, "load"), "GET", 403, sample.Load, false},
		"an outcome nobody knows speaks against no": {status(500, semconv.HeaderOutcome, "what"), "GET", 500, sample.Load, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newMeshRig(t, meshRoute(), meshEndpoint(t, "shop-1", test.answer), meshEndpoint(t, "shop-2", ok))
			code, _, attempts := r.until(test.method, "")
			if code != test.want || attempts[0].Outcome != test.outcome || test.retried != (len(attempts) == 2) {
				t.Fatalf("status %d, outcome %v, %d attempts", code, attempts[0].Outcome, len(attempts))
			}
			if test.outcome == sample.Downstream && (attempts[0].Cause != "mysql/mysql-1" || r.calls[len(r.calls)-1].Cause != "mysql/mysql-1") {
				t.Fatalf("cause %q, call %+v", attempts[0].Cause, r.calls)
			}
		})
	}
}

func TestAnotherInstanceAtTheAddressGetsNothing(t *testing.T) {
	r := newMeshRig(t, meshRoute(), meshEndpoint(t, "shop-9", ok))
	code, _ := r.do("POST", "secret")
	if a := r.recorded(1)[0]; code != 502 || a.Outcome != sample.ConnectFailure {
		t.Fatalf("status %d outcome %v", code, a.Outcome)
	}
}

// A process that is stopped accepts connections, but no handshake ends.
func TestAHandshakeThatHangsIsAConnectFailure(t *testing.T) {
	route := meshRoute()
	route.ConnectTimeout = 100 * time.Millisecond
	r := newMeshRig(t, route, broken(t, hangs), meshEndpoint(t, "shop-2", ok))
	code, _, attempts := r.until("POST", "body")
	if code != 200 || attempts[0].Outcome != sample.ConnectFailure {
		t.Fatalf("status %d outcome %v", code, attempts[0].Outcome)
	}
}

func TestProtocolsStayWhatTheyAre(t *testing.T) {
	for _, major := range []int{1, 2} {
		r := newMeshRig(t, meshRoute(), meshEndpoint(t, "shop-1", func(w http.ResponseWriter, q *http.Request) {
			fmt.Fprintf(w, "HTTP/%d, patience %s", q.ProtoMajor, q.Header.Get(semconv.HeaderTimeout))
		}))
		c := r.client
		if major == 2 {
			c = http2Client()
		}
		res, err := c.Get(r.front.URL)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(res.Body)
		res.Body.Close()
		c.CloseIdleConnections()
		if want := fmt.Sprintf("HTTP/%d, patience 500", major); string(raw) != want {
			t.Errorf("endpoint saw %q, want %q", raw, want)
		}
	}
}

func TestHTTP2EndpointThatHangs(t *testing.T) {
	hung := make(chan struct{})
	r := newMeshRig(t, meshRoute(), meshEndpoint(t, "shop-1", func(http.ResponseWriter, *http.Request) { <-hung }), meshEndpoint(t, "shop-2", ok))
	t.Cleanup(func() { close(hung) })
	r.client = http2Client()
	t.Cleanup(r.client.CloseIdleConnections)
	code, _, attempts := r.until("GET", "")
	if code != 200 || attempts[0].Outcome != sample.Timeout {
		t.Fatalf("status %d outcome %v", code, attempts[0].Outcome)
	}
}
