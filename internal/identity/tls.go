package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// ServerTLS demands a client certificate of the trust domain and lets authorize judge it. Certificate and roots are
// read at each handshake, so renewals and bundle swaps never touch a connection that is open.
func (s *Source) ServerTLS(authorize func(ID) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2", "http/1.1"},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // a resumed session would carry the certificate of an earlier handshake
		GetCertificate:         s.serverCertificate,
		VerifyConnection:       s.verifier(authorize),
	}
}

// ServerTLSOptional is ServerTLS for a port on which some calls come from peers without an identity yet. A certificate
// that is shown must verify; whoever serves the call checks PeerFromContext.
func (s *Source) ServerTLSOptional() *tls.Config {
	c := s.ServerTLS(nil)
	c.ClientAuth = tls.RequestClientCert
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		return verify(state)
	}
	return c
}

// ClientTLS shows our certificate and demands that the server's is of the trust domain and passes authorize. Names
// and addresses are not compared: the SPIFFE ID is who answers.
func (s *Source) ClientTLS(authorize func(ID) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // replaced by VerifyConnection, which is called on every handshake
		GetClientCertificate:   s.clientCertificate,
		VerifyConnection:       s.verifier(authorize),
	}
}

func (s *Source) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	m, err := s.current()
	if err != nil {
		return nil, err
	}
	return &m.certificate, nil
}

func (s *Source) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return s.serverCertificate(nil)
}

// verifier runs on resumed handshakes too, which VerifyPeerCertificate would not.
func (s *Source) verifier(authorize func(ID) error) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		m, err := s.current()
		if err != nil {
			return err
		}
		spiffe, _, err := x509svid.Verify(state.PeerCertificates, m.bundle)
		if err != nil {
			return fmt.Errorf("peer certificate: %w", err)
		}
		id, err := FromSPIFFE(spiffe)
		if err != nil {
			return err
		}
		if authorize == nil {
			return nil
		}
		return authorize(id)
	}
}

// Allow accepts the named roles.
func Allow(roles ...Role) func(ID) error {
	return func(id ID) error {
		for _, role := range roles {
			if id.Role == role {
				return nil
			}
		}
		return fmt.Errorf("%s may not call here: want role %v", id.URI(), roles)
	}
}

// Exactly accepts one identity; an empty part matches any.
func Exactly(role Role, service, instance string) func(ID) error {
	return func(id ID) error {
		if role != "" && id.Role != role || service != "" && id.Service != service || instance != "" && id.Instance != instance {
			return fmt.Errorf("peer is %s, want %s/%s/%s", id.URI(), orAny(string(role)), orAny(service), orAny(instance))
		}
		return nil
	}
}

func orAny(part string) string {
	if part == "" {
		return "*"
	}
	return part
}

// ErrNoPeer is returned for a connection on which the peer showed no identity.
var ErrNoPeer = errors.New("the peer showed no identity")

// PeerFromTLS is who is at the other end of a connection made with this package's configurations, which have
// verified it. Do not use it on states from elsewhere.
func PeerFromTLS(state *tls.ConnectionState) (ID, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ID{}, ErrNoPeer
	}
	spiffe, err := x509svid.IDFromCert(state.PeerCertificates[0])
	if err != nil {
		return ID{}, err
	}
	return FromSPIFFE(spiffe)
}

// PeerFromContext is who called, in a gRPC handler.
func PeerFromContext(ctx context.Context) (ID, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ID{}, ErrNoPeer
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return ID{}, ErrNoPeer
	}
	return PeerFromTLS(&info.State)
}
