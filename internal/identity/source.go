package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"weft/internal/wire"
)

const (
	firstRetry   = 50 * time.Millisecond
	longestRetry = time.Second
	callTimeout  = 5 * time.Second
)

// Issue obtains a certificate for the key in a request.
type Issue func(context.Context, *wire.IssueRequest) (*wire.IssueResponse, error)

// Source holds one role's SVID and the trust bundle, and keeps both fresh while Run runs.
type Source struct {
	cfg   Config
	id    ID
	issue Issue

	held    atomic.Pointer[material]
	failure atomic.Pointer[error]
	ready   chan struct{} // closed with the first SVID
}

// material is what handshakes use; it is replaced, never changed.
type material struct {
	certificate tls.Certificate
	bundle      *x509bundle.Bundle
	received    time.Time
	notAfter    time.Time
}

// NewSource starts nothing. An empty trust domain in id is the configured one.
func NewSource(cfg Config, id ID) *Source {
	if id.TrustDomain == "" {
		id.TrustDomain = cfg.domain()
	}
	s := &Source{cfg: cfg, id: id, ready: make(chan struct{})}
	s.issue = s.ask
	return s
}

// NewLocalSource gets its certificates from a function: control itself, and tests.
func NewLocalSource(id ID, issue Issue) *Source {
	return &Source{id: id, issue: issue, ready: make(chan struct{})}
}

// ID is the identity this source is for, whether or not it has a certificate yet.
func (s *Source) ID() ID { return s.id }

// NotAfter is when the certificate in use ends; zero when there is none.
func (s *Source) NotAfter() time.Time {
	if m := s.held.Load(); m != nil {
		return m.notAfter
	}
	return time.Time{}
}

// Err is why the latest attempt to get or renew the certificate failed; nil after a success.
func (s *Source) Err() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// WaitReady blocks until there is a certificate; when ctx ends first it says why there is none.
func (s *Source) WaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		_, err := s.current()
		if err == nil {
			return nil
		}
		return err
	}
}

func (s *Source) current() (*material, error) {
	if m := s.held.Load(); m != nil {
		return m, nil
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("no certificate yet for %s: %w", s.id.URI(), err)
	}
	return nil, fmt.Errorf("no certificate yet for %s", s.id.URI())
}

// Run obtains the certificate and renews it at half its life, retrying for ever, at most a second apart. It returns
// when ctx ends.
func (s *Source) Run(ctx context.Context) error {
	if err := s.id.Validate(); err != nil {
		return err
	}
	s.restore()
	for {
		if err := s.wait(ctx, s.untilRenewal()); err != nil {
			return nil
		}
		s.renew(ctx)
	}
}

// untilRenewal is zero without a certificate. The jitter keeps a fleet that started together from renewing together.
func (s *Source) untilRenewal() time.Duration {
	m := s.held.Load()
	if m == nil {
		return 0
	}
	half := m.notAfter.Sub(m.received) / 2 // not from NotBefore, which lies back to allow for clocks that differ
	jitter := time.Duration((mathrand.Float64() - 0.5) * 0.2 * float64(half))
	return max(0, time.Until(m.received.Add(half+jitter)))
}

// renew returns when there is a new certificate or ctx has ended.
func (s *Source) renew(ctx context.Context) {
	key, csr, err := newRequest()
	if err != nil {
		s.failure.Store(&err)
		return
	}
	pause, said := firstRetry, ""
	for ctx.Err() == nil {
		// The same key at each retry: when an answer was lost on the way, control knows the request again.
		err := s.once(ctx, key, csr)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.failure.Store(&err)
		if err.Error() != said { // once per cause: the retries go on for ever
			said = err.Error()
			slog.WarnContext(ctx, "no new certificate", "identity", s.id.URI(), "error", err)
		}
		if s.wait(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, longestRetry)
	}
}

func (s *Source) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) once(ctx context.Context, key *ecdsa.PrivateKey, csr []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.issue(ctx, &wire.IssueRequest{Csr: csr, SpiffeId: s.id.URI()})
	if err != nil {
		return err
	}
	m, err := newMaterial(s.id, key, answer)
	if err != nil {
		return fmt.Errorf("control's answer: %w", err)
	}
	s.adopt(m)
	if err := s.save(key, answer); err != nil {
		slog.WarnContext(ctx, "certificate not kept for a restart", "file", s.keptPath(), "error", err)
	}
	return nil
}

func (s *Source) adopt(m *material) {
	first := s.held.Swap(m) == nil
	s.failure.Store(nil)
	if first {
		close(s.ready)
	}
}

func newRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, csr, err
}

// newMaterial checks that the answer is for this identity and key and leads to its own roots.
func newMaterial(id ID, key *ecdsa.PrivateKey, answer *wire.IssueResponse) (*material, error) {
	domain, err := spiffeid.TrustDomainFromString(id.TrustDomain)
	if err != nil {
		return nil, err
	}
	bundle := x509bundle.New(domain)
	for _, der := range answer.GetBundle() {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		bundle.AddX509Authority(root)
	}
	chain := make([]*x509.Certificate, 0, len(answer.GetChain()))
	for _, der := range answer.GetChain() {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("chain: %w", err)
		}
		chain = append(chain, certificate)
	}
	got, _, err := x509svid.Verify(chain, bundle)
	if err != nil {
		return nil, err
	}
	if got.String() != id.URI() {
		return nil, fmt.Errorf("certificate is for %s, want %s", got, id.URI())
	}
	leaf := chain[0]
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return nil, errors.New("certificate is for another key")
	}
	return &material{
		certificate: tls.Certificate{Certificate: answer.GetChain(), PrivateKey: key, Leaf: leaf},
		bundle:      bundle, received: time.Now(), notAfter: leaf.NotAfter,
	}, nil
}
