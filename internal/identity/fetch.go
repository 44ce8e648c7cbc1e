package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/internal/wire"
)

// ask chooses the proof: the socket's UID, else the certificate still valid, else the join token.
func (s *Source) ask(ctx context.Context, request *wire.IssueRequest) (*wire.IssueResponse, error) {
	if s.cfg.Socket != "" {
		conn, err := DialSocket(s.cfg.Socket)
		if err != nil {
			return nil, err
		}
		return s.call(ctx, conn, request)
	}
	var secure *tls.Config
	if m := s.held.Load(); m != nil && time.Now().Before(m.notAfter) {
		secure = s.ClientTLS(Allow(RoleControl))
	} else {
		token, err := ParseJoinToken(s.cfg.JoinToken)
		if err != nil {
			return nil, fmt.Errorf("no valid certificate and no join token: %w", err)
		}
		request.JoinToken = token.Secret
		secure = pinned(token, s.id.TrustDomain)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.cfg.Control, grpc.WithNoProxy(),
		grpc.WithTransportCredentials(credentials.NewTLS(secure)))
	if err != nil {
		return nil, err
	}
	return s.call(ctx, conn, request)
}

func (s *Source) call(ctx context.Context, conn *grpc.ClientConn, request *wire.IssueRequest) (*wire.IssueResponse, error) {
	defer conn.Close()
	answer, err := wire.NewIdentityClient(conn).Issue(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("control at %s: %w", conn.CanonicalTarget(), err)
	}
	return answer, nil
}

// pinned trusts the root that the token names and nothing else, and sends no certificate. Control shows its whole
// chain, root included, so that the root can be compared.
func pinned(token JoinToken, domain string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection: func(state tls.ConnectionState) error {
			root, err := pinnedRoot(token, state.PeerCertificates)
			if err != nil {
				return err
			}
			trust, err := spiffeid.TrustDomainFromString(domain)
			if err != nil {
				return err
			}
			bundle := x509bundle.FromX509Authorities(trust, []*x509.Certificate{root})
			spiffe, _, err := x509svid.Verify(state.PeerCertificates, bundle)
			if err != nil {
				return err
			}
			id, err := FromSPIFFE(spiffe)
			if err != nil {
				return err
			}
			return Allow(RoleControl)(id)
		},
	}
}

func pinnedRoot(token JoinToken, chain []*x509.Certificate) (*x509.Certificate, error) {
	for _, certificate := range chain {
		if sha256.Sum256(certificate.Raw) == token.Root {
			return certificate, nil
		}
	}
	return nil, errors.New("control's root is not the one that the join token names")
}

// DialSocket connects to control's Unix socket and checks that a process of our own UID, or root, serves it.
func DialSocket(path string) (*grpc.ClientConn, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("unix://"+absolute, grpc.WithTransportCredentials(SameUser()))
}
