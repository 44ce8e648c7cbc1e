package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/wire"
)

// Authority is the Identity service.
type Authority struct {
	wire.UnimplementedIdentityServer
	root    *root
	tokens  *tokens
	ttl     time.Duration // of certificates
	issued  *prometheus.CounterVec
	refused *prometheus.CounterVec
}

// Open reads root, key and join tokens in dir, or makes them.
func Open(dir, domain string, ttl time.Duration) (*Authority, error) {
	root, err := openRoot(dir, domain)
	if err != nil {
		return nil, err
	}
	tokens, err := openTokens(filepath.Join(dir, "tokens.json"))
	if err != nil {
		return nil, fmt.Errorf("join tokens: %w", err)
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weft_control_" + name, Help: help}, []string{label})
	}
	return &Authority{
		root: root, tokens: tokens, ttl: ttl,
		issued:  counter("identities_issued_total", "Certificates signed, by the proof that was given.", "proof"),
		refused: counter("identities_refused_total", "Certificates and join tokens refused, by the proof that was given.", "proof"),
	}, nil
}

// Collect registers the authority's metrics.
func (a *Authority) Collect(r *prometheus.Registry) { r.MustRegister(a.issued, a.refused) }

// Issue signs the key in the request for the identity that the caller has proven.
func (a *Authority) Issue(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	request, err := parseRequest(in.GetCsr())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "certificate request: %v", err)
	}
	proof, err := a.prove(ctx, id, in.GetJoinToken(), request)
	if err != nil {
		a.refused.WithLabelValues(proof).Inc()
		slog.WarnContext(ctx, "identity refused", "identity", id.URI(), "proof", proof, "error", err)
		return nil, err
	}
	answer, err := a.sign(id, request)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "sign %s: %v", id.URI(), err)
	}
	a.issued.WithLabelValues(proof).Inc()
	slog.InfoContext(ctx, "identity issued", "identity", id.URI(), "proof", proof, "not_after", time.Unix(answer.GetNotAfterUnix(), 0).UTC())
	return answer, nil
}

// prove names the proof and judges it: a certificate of the same identity, else a join token, else the socket's UID.
func (a *Authority) prove(ctx context.Context, id identity.ID, secret string, request *x509.CertificateRequest) (string, error) {
	if id.TrustDomain != a.root.domain {
		return "none", status.Errorf(codes.PermissionDenied, "this control signs for trust domain %s, not %s", a.root.domain, id.TrustDomain)
	}
	if id.Role == identity.RoleControl {
		return "none", status.Error(codes.PermissionDenied, "control signs its own identity only")
	}
	if peer, err := identity.PeerFromContext(ctx); err == nil {
		if peer != id {
			return "certificate", status.Errorf(codes.PermissionDenied, "%s may renew its own identity only, not %s", peer.URI(), id.URI())
		}
		return "certificate", nil
	}
	if secret != "" {
		err := a.tokens.redeem(time.Now(), secret, id.URI(), request.RawSubjectPublicKeyInfo)
		if errors.Is(err, errToken) {
			return "token", status.Error(codes.PermissionDenied, err.Error())
		}
		if err != nil {
			return "token", status.Errorf(codes.Unavailable, "join token: %v", err)
		}
		return "token", nil
	}
	if _, ok := identity.UIDFromContext(ctx); ok {
		return "socket", nil
	}
	return "none", status.Error(codes.Unauthenticated, "no proof: use a certificate, a join token or control's Unix socket")
}

// sign shows the root with the chain, for those who know only its hash yet.
func (a *Authority) sign(id identity.ID, request *x509.CertificateRequest) (*wire.IssueResponse, error) {
	leaf, err := a.root.sign(id, request.PublicKey, a.ttl)
	if err != nil {
		return nil, err
	}
	return &wire.IssueResponse{
		Chain: [][]byte{leaf.Raw, a.root.certificate.Raw}, Bundle: a.root.bundle, NotAfterUnix: leaf.NotAfter.Unix(),
	}, nil
}

// Own is the way by which control gets its own certificate; it needs no proof and is not served.
func (a *Authority) Own(_ context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, err
	}
	request, err := parseRequest(in.GetCsr())
	if err != nil {
		return nil, err
	}
	return a.sign(id, request)
}

// parseRequest checks that the caller holds the key, and that the key is of the one kind we use.
func parseRequest(der []byte) (*x509.CertificateRequest, error) {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	if key, ok := request.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("want an ECDSA P-256 key")
	}
	return request, request.CheckSignature()
}

// CreateJoinToken is for operators: over the socket, or with a certificate of role operator.
func (a *Authority) CreateJoinToken(ctx context.Context, in *wire.JoinTokenRequest) (*wire.JoinTokenResponse, error) {
	if err := Operator(ctx); err != nil {
		a.refused.WithLabelValues("operator").Inc()
		return nil, err
	}
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if id.TrustDomain != a.root.domain || id.Role == identity.RoleControl {
		return nil, status.Errorf(codes.InvalidArgument, "%s cannot join here", id.URI())
	}
	secret, err := a.tokens.create(time.Now(), id.URI(), time.Duration(in.GetTtlSeconds())*time.Second)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "join token: %v", err)
	}
	slog.InfoContext(ctx, "join token created", "identity", id.URI())
	token := identity.JoinToken{Secret: secret, Root: a.root.hash()}
	return &wire.JoinTokenResponse{JoinToken: token.String()}, nil
}

// Operator lets in who is on the socket, or has a certificate of role operator.
func Operator(ctx context.Context) error {
	if _, ok := identity.UIDFromContext(ctx); ok {
		return nil
	}
	if peer, err := identity.PeerFromContext(ctx); err == nil && peer.Role == identity.RoleOperator {
		return nil
	}
	return status.Error(codes.PermissionDenied, "for operators only: use control's Unix socket")
}
