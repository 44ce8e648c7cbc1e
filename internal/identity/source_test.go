package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/internal/wire"
)

func wireRequest(csr []byte, id ID) *wire.IssueRequest {
	return &wire.IssueRequest{Csr: csr, SpiffeId: id.URI()}
}

// run runs the source until the test ends, and waits for it.
func run(t *testing.T, s *Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestSourceRetriesAndSaysWhy(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	var open atomic.Bool
	s := NewLocalSource(proxy("orders", "orders-1"), func(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
		if !open.Load() {
			return nil, errors.New("control is still asleep")
		}
		return ca.issue(ctx, in)
	})
	run(t, s)
	eventually(t, "a failure is known", func() bool { return s.Err() != nil })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitReady(ended); err == nil || !strings.Contains(err.Error(), "still asleep") {
		t.Fatalf("error %v does not say why there is no certificate", err)
	}
	open.Store(true)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Err() != nil || s.NotAfter().IsZero() {
		t.Fatalf("after success: error %v, not after %v", s.Err(), s.NotAfter())
	}
}

func TestSourceRenewsAtHalfLife(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	ca.ttl = 2 * time.Second // a whole number: certificates count seconds
	s := NewLocalSource(proxy("orders", "orders-1"), ca.issue)
	run(t, s)
	if err := s.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := s.NotAfter()
	eventually(t, "renewed", func() bool { return s.NotAfter().After(first) })
}

func TestUntilRenewal(t *testing.T) {
	s := NewLocalSource(proxy("orders", "orders-1"), nil)
	if got := s.untilRenewal(); got != 0 {
		t.Fatalf("without a certificate: %v, want 0", got)
	}
	now := time.Now()
	s.held.Store(&material{received: now, notAfter: now.Add(time.Hour)})
	if got := s.untilRenewal(); got < 26*time.Minute || got > 34*time.Minute {
		t.Fatalf("%v, want 30 min ± 10 %%", got)
	}
}

// A control that answers for somebody else, or for another key, is not believed.
func TestSourceChecksTheAnswer(t *testing.T) {
	ca, other := newTestCA(t, TrustDomain), newTestCA(t, TrustDomain)
	tests := map[string]struct {
		tamper func(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error)
		want   string
	}{
		"another identity": {func(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
			in.SpiffeId = proxy("payment", "payment-2").URI()
			return ca.issue(ctx, in)
		}, "payment-2"},
		"another key": {func(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
			_, csr, err := newRequest()
			in.Csr = csr
			return must(ca.issue(ctx, in))(err)
		}, "another key"},
		"roots that do not fit": {func(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
			answer, err := ca.issue(ctx, in)
			answer.Bundle = [][]byte{other.root.Raw}
			return answer, err
		}, "unknown authority"},
		"no certificate": {func(context.Context, *wire.IssueRequest) (*wire.IssueResponse, error) {
			return &wire.IssueResponse{Bundle: [][]byte{ca.root.Raw}}, nil
		}, "empty"},
		"garbage": {func(context.Context, *wire.IssueRequest) (*wire.IssueResponse, error) {
			return &wire.IssueResponse{Chain: [][]byte{{1, 2, 3}}, Bundle: [][]byte{ca.root.Raw}}, nil
		}, "chain"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := NewLocalSource(proxy("orders", "orders-1"), test.tamper)
			key, csr, err := newRequest()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.once(t.Context(), key, csr); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if s.held.Load() != nil {
				t.Fatal("the certificate was taken")
			}
		})
	}
}

func must(answer *wire.IssueResponse, err error) func(error) (*wire.IssueResponse, error) {
	return func(earlier error) (*wire.IssueResponse, error) { return answer, errors.Join(earlier, err) }
}

// With a data folder a restart goes on with the certificate it had; a file of someone else is not used.
func TestKeptCertificate(t *testing.T) {
	ca := newTestCA(t, TrustDomain)
	cfg := Config{Control: "127.0.0.1:1", Data: filepath.Join(t.TempDir(), "identity")}
	first := NewSource(cfg, ID{Role: RoleAgent, Service: "agent", Instance: "agent-1"})
	first.issue = ca.issue
	first.renew(t.Context())
	info, err := os.Stat(first.keptPath())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("kept file: %v, %v, want mode 0600", info, err)
	}
	second := NewSource(cfg, first.ID())
	second.restore()
	if !second.NotAfter().Equal(first.NotAfter()) {
		t.Fatalf("restored %v, want %v", second.NotAfter(), first.NotAfter())
	}
	another := NewSource(cfg, ID{Role: RoleAgent, Service: "agent", Instance: "agent-2"})
	another.restore()
	if another.held.Load() != nil {
		t.Fatal("took the certificate of another identity")
	}
}

func TestConfigValidate(t *testing.T) {
	token := JoinToken{Secret: strings.Repeat("s", 43), Root: sha256.Sum256(nil)}.String()
	tests := map[string]struct {
		config Config
		want   string
	}{
		"socket":              {Config{Socket: "/run/weft.sock"}, ""},
		"control and token":   {Config{Control: "10.0.0.1:7071", JoinToken: token}, ""},
		"control, kept":       {Config{Control: "10.0.0.1:7071", Data: "/var/lib/weft"}, ""},
		"nothing":             {Config{}, "identity: needs socket, or control"},
		"control only":        {Config{Control: "10.0.0.1:7071"}, "identity.join_token: is required"},
		"socket and token":    {Config{Socket: "/run/weft.sock", JoinToken: token}, "identity.join_token: is not used with socket"},
		"bad address":         {Config{Control: "10.0.0.1", JoinToken: token}, "identity.control: want HOST:PORT"},
		"bad token":           {Config{Control: "10.0.0.1:7071", JoinToken: "x.y"}, "identity.join_token"},
		"bad trust domain":    {Config{Socket: "/s", TrustDomain: "Not Good"}, "identity.trust_domain"},
		"every fault is told": {Config{Control: "x", TrustDomain: "A B"}, "identity.control"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.config.Validate("identity")
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("unexpected error: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), strings.Repeat("s", 43)) {
				t.Fatal("the error shows the secret")
			}
		})
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"spiffe://weft.local/proxy/payment/payment-2", "spiffe://weft.local/agent/agent", "spiffe://weft.local/proxy//x",
		"http://weft.local/proxy/a/b", "spiffe://weft.local/proxy/a/b/c", "spiffe://WEFT/proxy/a/b", "", "spiffe:///proxy/a/b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		id, err := ParseID(uri)
		if err != nil {
			return
		}
		if id.URI() != uri || id.Validate() != nil {
			t.Fatalf("%q became %q (%v)", uri, id.URI(), id.Validate())
		}
	})
}

func FuzzParseJoinToken(f *testing.F) {
	f.Add(strings.Repeat("a", 43) + "." + strings.Repeat("0f", 32))
	f.Add("")
	f.Add(".")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseJoinToken(text)
		if err != nil {
			return
		}
		again, err := ParseJoinToken(token.String())
		if err != nil || again != token {
			t.Fatalf("%q became %q (%v)", text, token, err)
		}
	})
}
