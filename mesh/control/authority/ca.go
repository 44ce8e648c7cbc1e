package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"weft/internal/identity"
	"weft/mesh/control/atomicfile"
)

const (
	rootLife  = 10 * 365 * 24 * time.Hour
	clockSkew = time.Minute // certificates begin this long ago, for nodes whose clock is behind
)

// root signs the trust domain's certificates.
type root struct {
	domain      string
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	bundle      [][]byte // every root that peers shall trust; ours first
}

// openRoot reads root.pem and root.key in dir, or makes them. root.pem is written last, so a key without a root is
// an unfinished start and is finished, while a root without its key is an error. root.pem may hold further roots,
// which are trusted but do not sign: that is how a root is replaced without breaking a connection.
func openRoot(dir, domain string) (*root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keyPath, rootPath := filepath.Join(dir, "root.key"), filepath.Join(dir, "root.pem")
	roots, err := os.ReadFile(rootPath)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, err
	}
	key, err := openKey(keyPath, fresh)
	if err != nil {
		return nil, err
	}
	if fresh {
		der, err := newRoot(domain, key)
		if err != nil {
			return nil, err
		}
		roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := atomicfile.Write(rootPath, roots, 0o644); err != nil {
			return nil, err
		}
	}
	r := &root{domain: domain, key: key}
	if err := r.adopt(roots); err != nil {
		return nil, fmt.Errorf("%s: %w", rootPath, err)
	}
	return r, nil
}

func openKey(path string, create bool) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		return newKey(path)
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if loose := info.Mode().Perm() &^ 0o600; loose != 0 {
		return nil, fmt.Errorf("%s has mode %#o: whoever reads it can be anyone; want 0600", path, info.Mode().Perm())
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", path)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: want an ECDSA key, got %T", path, private)
	}
	return key, nil
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func newRoot(domain string, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Weft " + domain},
		URIs:      []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}

// adopt takes the first certificate as the one that signs.
func (r *root) adopt(roots []byte) error {
	for block, rest := pem.Decode(roots); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		if r.certificate == nil {
			r.certificate = certificate
		}
		r.bundle = append(r.bundle, certificate.Raw)
	}
	switch {
	case r.certificate == nil:
		return errors.New("no certificate")
	case !r.key.PublicKey.Equal(r.certificate.PublicKey):
		return errors.New("the first certificate is not for the key in root.key")
	case len(r.certificate.URIs) != 1 || r.certificate.URIs[0].Host != r.domain:
		return fmt.Errorf("the root is not of trust domain %s", r.domain)
	case time.Now().After(r.certificate.NotAfter):
		return fmt.Errorf("the root ended on %s", r.certificate.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// sign makes a certificate for id. It never outlives the root.
func (r *root) sign(id identity.ID, public any, ttl time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(id.URI())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	end := now.Add(ttl)
	if end.After(r.certificate.NotAfter) {
		end = r.certificate.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{uri},
		NotBefore: now.Add(-clockSkew), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.certificate, public, r.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// hash is what a join token pins.
func (r *root) hash() [sha256.Size]byte { return sha256.Sum256(r.certificate.Raw) }

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
