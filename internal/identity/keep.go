package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"weft/internal/wire"
)

// kept is the file in Config.Data: what a restart needs to renew with the certificate instead of a token.
type kept struct {
	ID     string   `json:"id"`
	Key    []byte   `json:"key"` // PKCS #8
	Chain  [][]byte `json:"chain"`
	Bundle [][]byte `json:"bundle"`
}

func (s *Source) keptPath() string { return filepath.Join(s.cfg.Data, "svid.json") }

func (s *Source) save(key *ecdsa.PrivateKey, answer *wire.IssueResponse) error {
	if s.cfg.Data == "" {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(kept{ID: s.id.URI(), Key: der, Chain: answer.GetChain(), Bundle: answer.GetBundle()})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return err
	}
	temporary := s.keptPath() + ".tmp"
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, s.keptPath())
}

// restore takes up the certificate of an earlier process while it is valid.
func (s *Source) restore() {
	if s.cfg.Data == "" {
		return
	}
	m, err := s.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		slog.Warn("kept certificate not used", "file", s.keptPath(), "error", err)
	default:
		s.adopt(m)
	}
}

func (s *Source) load() (*material, error) {
	raw, err := os.ReadFile(s.keptPath())
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Key)
	if err != nil {
		return nil, err
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key is a %T", private)
	}
	m, err := newMaterial(s.id, key, &wire.IssueResponse{Chain: k.Chain, Bundle: k.Bundle})
	if err != nil {
		return nil, err
	}
	if time.Now().After(m.notAfter) {
		return nil, errors.New("it has expired")
	}
	return m, nil
}
