package identity

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHandshake(t *testing.T) {
	ours, theirs := newTestCA(t, TrustDomain), newTestCA(t, TrustDomain)
	short := newTestCA(t, TrustDomain)
	short.key, short.root, short.ttl = ours.key, ours.root, -time.Second
	orders, payment := ours.source(t, proxy("orders", "orders-1")), ours.source(t, proxy("payment", "payment-2"))
	expired := NewLocalSource(proxy("orders", "orders-1"), ours.issue)
	expired.held.Store(expiredMaterial(t, short))
	stranger := newTestCA(t, "elsewhere.example")
	foreign := stranger.source(t, ID{TrustDomain: "elsewhere.example", Role: RoleProxy, Service: "orders", Instance: "orders-1"})

	tests := map[string]struct {
		server, client *tls.Config
		want           string // part of the client's error; empty for none
	}{
		"both known":         {payment.ServerTLS(Allow(RoleProxy)), orders.ClientTLS(Exactly(RoleProxy, "payment", "payment-2")), ""},
		"any of a service":   {payment.ServerTLS(nil), orders.ClientTLS(Exactly("", "payment", "")), ""},
		"another instance":   {payment.ServerTLS(nil), orders.ClientTLS(Exactly(RoleProxy, "payment", "payment-1")), "want proxy/payment/payment-1"},
		"role not allowed":   {payment.ServerTLS(Allow(RoleCollector)), orders.ClientTLS(nil), "bad certificate"},
		"no client identity": {payment.ServerTLS(nil), withoutCertificate(orders.ClientTLS(nil)), "certificate required"},
		"optional, none":     {payment.ServerTLSOptional(), withoutCertificate(orders.ClientTLS(nil)), ""},
		"optional, known":    {payment.ServerTLSOptional(), orders.ClientTLS(nil), ""},
		"optional, expired":  {payment.ServerTLSOptional(), expired.ClientTLS(nil), "bad certificate"},
		"expired client":     {payment.ServerTLS(nil), expired.ClientTLS(nil), "bad certificate"},
		"expired server":     {expired.ServerTLS(nil), orders.ClientTLS(nil), "expired"},
		"another root":       {theirs.source(t, proxy("payment", "payment-2")).ServerTLS(nil), orders.ClientTLS(nil), "unknown authority"},
		"another domain":     {foreign.ServerTLS(nil), orders.ClientTLS(nil), "elsewhere.example"},
		"no certificate yet": {NewLocalSource(proxy("a", "a-1"), ours.issue).ServerTLS(nil), orders.ClientTLS(nil), "internal error"},
		"TLS 1.2 client":     {payment.ServerTLS(nil), downgraded(orders.ClientTLS(nil)), "protocol version"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := call(t, echo(t, test.server), test.client)
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("unexpected error: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func expiredMaterial(t *testing.T, ca *testCA) *material {
	t.Helper()
	ca.ttl = time.Hour
	s := ca.source(t, proxy("orders", "orders-1"))
	m := *s.held.Load()
	ca.ttl = -time.Second
	key, csr, err := newRequest()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ca.issue(t.Context(), wireRequest(csr, s.id))
	if err != nil {
		t.Fatal(err)
	}
	m.certificate = tls.Certificate{Certificate: answer.GetChain(), PrivateKey: key}
	return &m
}

func withoutCertificate(c *tls.Config) *tls.Config {
	c.GetClientCertificate = nil
	return c
}

func downgraded(c *tls.Config) *tls.Config {
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	return c
}

// A resumed session must pass the same judgement as a new one, by the rules of now.
func TestResumptionIsVerified(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	server, client := ca.source(t, proxy("payment", "payment-2")), ca.source(t, proxy("orders", "orders-1"))
	forbidden := errors.New("not any more")
	var verdict error
	config := server.ServerTLS(func(ID) error { return verdict })
	config.SessionTicketsDisabled = false
	address := echo(t, config)
	resuming := client.ClientTLS(nil)
	resuming.SessionTicketsDisabled, resuming.ClientSessionCache, resuming.ServerName = false, tls.NewLRUClientSessionCache(4), "payment"

	if _, err := call(t, address, resuming); err != nil {
		t.Fatal(err)
	}
	conn, err := call(t, address, resuming)
	if err != nil {
		t.Fatal(err)
	}
	if state := conn.ConnectionState(); !state.DidResume {
		t.Fatal("the test is to resume a session, and it did not")
	}
	verdict = forbidden
	if _, err := call(t, address, resuming); err == nil {
		t.Fatal("a resumed session was let in although the identity is forbidden now")
	}
}

func TestNoResumptionByDefault(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	server, client := ca.source(t, proxy("payment", "payment-2")), ca.source(t, proxy("orders", "orders-1"))
	address := echo(t, server.ServerTLS(nil))
	config := client.ClientTLS(nil)
	config.ClientSessionCache, config.ServerName = tls.NewLRUClientSessionCache(4), "payment"
	for range 2 {
		conn, err := call(t, address, config)
		if err != nil {
			t.Fatal(err)
		}
		if conn.ConnectionState().DidResume {
			t.Fatal("resumed")
		}
	}
}

// Certificates and roots are replaced while connections are open: they stay open, and new ones use the new ones.
func TestRotationKeepsConnections(t *testing.T) {
	before, after := newTestCA(t, TrustDomain), newTestCA(t, TrustDomain)
	server, client := before.source(t, proxy("payment", "payment-2")), before.source(t, proxy("orders", "orders-1"))
	address := echo(t, server.ServerTLS(nil))
	old, err := call(t, address, client.ClientTLS(nil))
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name   string
		bundle [][]byte
		ca     *testCA
	}{
		{"both roots trusted, old one signs", [][]byte{after.root.Raw}, before},
		{"new root signs, old one trusted", [][]byte{before.root.Raw}, after},
		{"only the new root", nil, after},
	}
	for _, step := range steps {
		step.ca.further = step.bundle
		for _, s := range []*Source{server, client} { // one after the other: in between, the two differ
			s.issue = step.ca.issue
			s.renew(t.Context())
			if _, err := call(t, address, client.ClientTLS(nil)); err != nil {
				t.Fatalf("%s: new connection: %v", step.name, err)
			}
			if err := exchange(old); err != nil {
				t.Fatalf("%s: open connection: %v", step.name, err)
			}
		}
	}
	fresh, err := call(t, address, client.ClientTLS(nil))
	if err != nil {
		t.Fatal(err)
	}
	if fresh.ConnectionState().PeerCertificates[0].CheckSignatureFrom(after.root) != nil {
		t.Fatal("a new connection does not use the new root")
	}
}

func TestPeer(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	client := ca.source(t, proxy("orders", "orders-1"))
	server := ca.source(t, proxy("payment", "payment-2"))
	conn, err := call(t, echo(t, server.ServerTLS(nil)), client.ClientTLS(nil))
	if err != nil {
		t.Fatal(err)
	}
	state := conn.ConnectionState()
	got, err := PeerFromTLS(&state)
	if err != nil || got != server.ID() {
		t.Fatalf("peer %v, %v, want %v", got, err, server.ID())
	}
	if _, err := PeerFromTLS(&tls.ConnectionState{}); !errors.Is(err, ErrNoPeer) {
		t.Fatalf("error %v, want ErrNoPeer", err)
	}
	if _, err := PeerFromContext(t.Context()); !errors.Is(err, ErrNoPeer) {
		t.Fatalf("error %v, want ErrNoPeer", err)
	}
}

func BenchmarkHandshake(b *testing.B) {
	ca := newTestCA(b, TrustDomain)
	server, client := ca.source(b, proxy("payment", "payment-2")), ca.source(b, proxy("orders", "orders-1"))
	address := echo(b, server.ServerTLS(Allow(RoleProxy)))
	config := client.ClientTLS(Exactly(RoleProxy, "payment", ""))
	b.ReportAllocs()
	for b.Loop() {
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}
