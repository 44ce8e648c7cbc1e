package authority

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"weft/mesh/control/atomicfile"
)

const (
	mostTokens      = 1024
	defaultTokenTTL = time.Hour
	longestTokenTTL = 7 * 24 * time.Hour
)

// tokens are the one-time join tokens. On disk and in memory there is only the hash of a secret.
type tokens struct {
	path string

	mu     sync.Mutex
	byHash map[string]token
}

// token is bound to an identity and, once used, to the key that used it: the same request may be repeated when its
// answer was lost, by nobody else and not after Expires.
type token struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	UsedBy  string    `json:"used_by,omitempty"` // SHA-256 of the public key, hex
}

func openTokens(path string) (*tokens, error) {
	t := &tokens{path: path, byHash: map[string]token{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &t.byHash); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// create returns the secret of a new token for the identity with this URI.
func (t *tokens) create(now time.Time, uri string, ttl time.Duration) (string, error) {
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	if ttl > longestTokenTTL {
		return "", fmt.Errorf("a join token lives at most %v", longestTokenTTL)
	}
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	secret := base64.RawURLEncoding.EncodeToString(random[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, old := range t.byHash {
		if now.After(old.Expires) {
			delete(t.byHash, hash)
		}
	}
	if len(t.byHash) >= mostTokens {
		return "", fmt.Errorf("%d join tokens have not expired yet", len(t.byHash))
	}
	hash := hashHex([]byte(secret))
	t.byHash[hash] = token{ID: uri, Expires: now.Add(ttl)}
	if err := t.save(); err != nil {
		delete(t.byHash, hash)
		return "", err
	}
	return secret, nil
}

// errToken does not say which of the reasons applies: a guesser learns nothing.
var errToken = errors.New("the join token is unknown, used, expired or for another identity")

// redeem uses the token up, on disk, before it returns nil.
func (t *tokens) redeem(now time.Time, secret, uri string, publicKey []byte) error {
	hash, user := hashHex([]byte(secret)), hashHex(publicKey)
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.byHash[hash]
	if !ok || now.After(found.Expires) || found.ID != uri || found.UsedBy != "" && found.UsedBy != user {
		return errToken
	}
	if found.UsedBy == user {
		return nil
	}
	used := found
	used.UsedBy = user
	t.byHash[hash] = used
	if err := t.save(); err != nil {
		t.byHash[hash] = found
		return err
	}
	return nil
}

func (t *tokens) save() error {
	raw, err := json.MarshalIndent(t.byHash, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(t.path, raw, 0o600)
}

func hashHex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
