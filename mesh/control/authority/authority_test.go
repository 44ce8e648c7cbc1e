package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/wire"
)

const domain = "weft.local"

func TestRootIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "control")
	first, err := openRoot(dir, domain)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "root.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("root.key: %v, %v, want mode 0600", info, err)
	}
	second, err := openRoot(dir, domain)
	if err != nil {
		t.Fatal(err)
	}
	if first.hash() != second.hash() || !first.key.Equal(second.key) {
		t.Fatal("a restart made a new root")
	}
	if first.key.Curve != elliptic.P256() {
		t.Fatalf("curve %v, want P-256", first.key.Curve.Params().Name)
	}
}

func TestRootRefused(t *testing.T) {
	tests := map[string]struct {
		spoil func(dir string) error
		want  string // empty: opens
	}{
		"untouched":        {func(string) error { return nil }, ""},
		"key is readable":  {func(dir string) error { return os.Chmod(filepath.Join(dir, "root.key"), 0o640) }, "want 0600"},
		"key is gone":      {func(dir string) error { return os.Remove(filepath.Join(dir, "root.key")) }, "no such file"},
		"crash before end": {func(dir string) error { return os.Remove(filepath.Join(dir, "root.pem")) }, ""},
		"key of another":   {swapKey, "not for the key"},
		"empty root":       {func(dir string) error { return os.WriteFile(filepath.Join(dir, "root.pem"), nil, 0o644) }, "no certificate"},
		"garbage key":      {func(dir string) error { return os.WriteFile(filepath.Join(dir, "root.key"), []byte("x"), 0o600) }, "no PEM block"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := openRoot(dir, domain); err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := openRoot(dir, domain)
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("unexpected error: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
		})
	}
	dir := t.TempDir()
	if _, err := openRoot(dir, domain); err != nil {
		t.Fatal(err)
	}
	if _, err := openRoot(dir, "elsewhere.example"); err == nil || !strings.Contains(err.Error(), "not of trust domain") {
		t.Fatalf("error %v for another trust domain", err)
	}
}

func swapKey(dir string) error {
	if err := os.Remove(filepath.Join(dir, "root.key")); err != nil {
		return err
	}
	_, err := newKey(filepath.Join(dir, "root.key"))
	return err
}

func TestCertificate(t *testing.T) {
	r, err := openRoot(t.TempDir(), domain)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := request(t)
	id := identity.ID{TrustDomain: domain, Role: identity.RoleProxy, Service: "payment", Instance: "payment-2"}
	leaf, err := r.sign(id, &key.PublicKey, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != id.URI() || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Fatalf("URIs %v, CA %v, usage %v", leaf.URIs, leaf.IsCA, leaf.KeyUsage)
	}
	if life := time.Until(leaf.NotAfter); life < 59*time.Minute || life > time.Hour {
		t.Fatalf("lives %v, want 1 h", life)
	}
	forever, err := r.sign(id, &key.PublicKey, 2*rootLife)
	if err != nil || forever.NotAfter.After(r.certificate.NotAfter) {
		t.Fatalf("%v: a certificate outlives its root", err)
	}
}

func request(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	now := time.Now()
	const agent, other = "spiffe://weft.local/agent/agent/agent-1", "spiffe://weft.local/agent/agent/agent-2"
	open := func() *tokens {
		t.Helper()
		book, err := openTokens(path)
		if err != nil {
			t.Fatal(err)
		}
		return book
	}
	secret, err := open().create(now, agent, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(raw), secret) {
		t.Fatalf("%v: the secret itself is on disk", err)
	}
	steps := []struct {
		name, secret, id, key string
		at                    time.Duration
		ok                    bool
	}{
		{"unknown secret", "x" + secret, agent, "k1", 0, false},
		{"for another identity", secret, other, "k1", 0, false},
		{"first use", secret, agent, "k1", 0, true},
		{"the same request again", secret, agent, "k1", time.Second, true},
		{"second use", secret, agent, "k2", time.Second, false},
		{"the same request, too late", secret, agent, "k1", 2 * time.Minute, false},
	}
	for _, step := range steps { // each by a new process, so the disk decides
		if err := open().redeem(now.Add(step.at), step.secret, step.id, []byte(step.key)); (err == nil) != step.ok {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	if _, err := open().create(now, agent, longestTokenTTL+time.Second); err == nil {
		t.Error("a token for ever")
	}
}

func TestTokensAreBounded(t *testing.T) {
	now := time.Now()
	book := &tokens{path: filepath.Join(t.TempDir(), "tokens.json"), byHash: map[string]token{}}
	for i := range mostTokens {
		book.byHash[hashHex([]byte{byte(i), byte(i >> 8)})] = token{Expires: now.Add(time.Minute)}
	}
	if _, err := book.create(now, "spiffe://weft.local/agent/a/a", time.Minute); err == nil {
		t.Fatal("no bound")
	}
	if _, err := book.create(now.Add(2*time.Minute), "spiffe://weft.local/agent/a/a", time.Minute); err != nil {
		t.Fatalf("expired tokens still count: %v", err)
	}
}

// Without any proof, or with a bad request, there is no certificate.
func TestIssueRefused(t *testing.T) {
	a, err := Open(t.TempDir(), domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, good := request(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRequest, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	const agent = "spiffe://weft.local/agent/agent/agent-1"
	tests := map[string]struct {
		in   *wire.IssueRequest
		want codes.Code
	}{
		"no proof":         {&wire.IssueRequest{Csr: good, SpiffeId: agent}, codes.Unauthenticated},
		"made-up token":    {&wire.IssueRequest{Csr: good, SpiffeId: agent, JoinToken: strings.Repeat("a", 43)}, codes.PermissionDenied},
		"another domain":   {&wire.IssueRequest{Csr: good, SpiffeId: "spiffe://other/agent/agent/agent-1"}, codes.PermissionDenied},
		"control's own":    {&wire.IssueRequest{Csr: good, SpiffeId: "spiffe://weft.local/control/control/control-2"}, codes.PermissionDenied},
		"no identity":      {&wire.IssueRequest{Csr: good, SpiffeId: "agent"}, codes.InvalidArgument},
		"no request":       {&wire.IssueRequest{SpiffeId: agent}, codes.InvalidArgument},
		"forged signature": {&wire.IssueRequest{Csr: forged, SpiffeId: agent}, codes.InvalidArgument},
		"RSA key":          {&wire.IssueRequest{Csr: rsaRequest, SpiffeId: agent}, codes.InvalidArgument},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := a.Issue(context.Background(), test.in); status.Code(err) != test.want {
				t.Fatalf("%v, want %v", err, test.want)
			}
		})
	}
	if _, err := a.CreateJoinToken(context.Background(), &wire.JoinTokenRequest{SpiffeId: agent}); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("join token for anybody: %v", err)
	}
}

func BenchmarkSign(b *testing.B) {
	r, err := openRoot(b.TempDir(), domain)
	if err != nil {
		b.Fatal(err)
	}
	key, _ := request(b)
	id := identity.ID{TrustDomain: domain, Role: identity.RoleProxy, Service: "payment", Instance: "payment-2"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.sign(id, &key.PublicKey, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
