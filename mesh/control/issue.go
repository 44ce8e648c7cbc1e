package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/internal/identity"
	"weft/internal/wire"
)

// issuer is the Identity service.
type issuer struct {
	wire.UnimplementedIdentityServer
	authority *authority
	tokens    *tokens
	config    *atomic.Pointer[Config]
	metrics   *metrics
}

// Issue signs the key in the request for the identity that the caller has proven.
func (i *issuer) Issue(ctx context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	request, err := parseRequest(in.GetCsr())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "certificate request: %v", err)
	}
	proof, err := i.prove(ctx, id, in.GetJoinToken(), request)
	if err != nil {
		i.metrics.refused.WithLabelValues("identity").Inc()
		slog.WarnContext(ctx, "identity refused", "identity", id.URI(), "proof", proof, "error", err)
		return nil, err
	}
	answer, err := i.sign(id, request)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "sign %s: %v", id.URI(), err)
	}
	i.metrics.issued.WithLabelValues(proof).Inc()
	slog.InfoContext(ctx, "identity issued", "identity", id.URI(), "proof", proof, "not_after", time.Unix(answer.GetNotAfterUnix(), 0).UTC())
	return answer, nil
}

// prove names the proof and judges it: a certificate of the same identity, else a join token, else the socket's UID.
func (i *issuer) prove(ctx context.Context, id identity.ID, secret string, request *x509.CertificateRequest) (string, error) {
	if id.TrustDomain != i.authority.domain {
		return "none", status.Errorf(codes.PermissionDenied, "this control signs for trust domain %s, not %s", i.authority.domain, id.TrustDomain)
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
		err := i.tokens.redeem(time.Now(), secret, id.URI(), request.RawSubjectPublicKeyInfo)
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
func (i *issuer) sign(id identity.ID, request *x509.CertificateRequest) (*wire.IssueResponse, error) {
	leaf, err := i.authority.sign(id, request.PublicKey, i.config.Load().SVIDTTL)
	if err != nil {
		return nil, err
	}
	return &wire.IssueResponse{
		Chain: [][]byte{leaf.Raw, i.authority.root.Raw}, Bundle: i.authority.bundle, NotAfterUnix: leaf.NotAfter.Unix(),
	}, nil
}

// own is the way by which control gets its own certificate.
func (i *issuer) own(_ context.Context, in *wire.IssueRequest) (*wire.IssueResponse, error) {
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, err
	}
	request, err := parseRequest(in.GetCsr())
	if err != nil {
		return nil, err
	}
	return i.sign(id, request)
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
func (i *issuer) CreateJoinToken(ctx context.Context, in *wire.JoinTokenRequest) (*wire.JoinTokenResponse, error) {
	if err := operator(ctx); err != nil {
		i.metrics.refused.WithLabelValues("join_token").Inc()
		return nil, err
	}
	id, err := identity.ParseID(in.GetSpiffeId())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if id.TrustDomain != i.authority.domain || id.Role == identity.RoleControl {
		return nil, status.Errorf(codes.InvalidArgument, "%s cannot join here", id.URI())
	}
	secret, err := i.tokens.create(time.Now(), id.URI(), time.Duration(in.GetTtlSeconds())*time.Second)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "join token: %v", err)
	}
	slog.InfoContext(ctx, "join token created", "identity", id.URI())
	token := identity.JoinToken{Secret: secret, Root: i.authority.rootHash()}
	return &wire.JoinTokenResponse{JoinToken: token.String()}, nil
}

func operator(ctx context.Context) error {
	if _, ok := identity.UIDFromContext(ctx); ok {
		return nil
	}
	if peer, err := identity.PeerFromContext(ctx); err == nil && peer.Role == identity.RoleOperator {
		return nil
	}
	return status.Error(codes.PermissionDenied, "for operators only: use control's Unix socket")
}
