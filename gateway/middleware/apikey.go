package middleware

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// HeaderAPIKey carries an API key. It is for the gateway only and does not travel on.
const HeaderAPIKey = "X-Api-Key"

// APIKey is one key and who holds it.
type APIKey struct {
	Name string `yaml:"name"` // for logs and spans
	Key  string `yaml:"key"`
}

// apiKeys are the digests of a route's keys, in the order of names.
type apiKeys struct {
	names   []string
	digests [][sha256.Size]byte
}

// APIKeys accepts requests with one of the keys in X-Api-Key.
func APIKeys(keys []APIKey) Authorizer {
	a := &apiKeys{}
	for _, k := range keys {
		a.names = append(a.names, k.Name)
		a.digests = append(a.digests, sha256.Sum256([]byte(k.Key)))
	}
	return a
}

func (a *apiKeys) Challenge() string { return `ApiKey header="X-Api-Key"` }

// Authorize compares with every key, in a time that depends on neither the key shown nor on which one it is.
func (a *apiKeys) Authorize(raw *http.Request) (string, error) {
	shown := raw.Header.Get(HeaderAPIKey)
	if shown == "" {
		return "", errNoCredential
	}
	raw.Header.Del(HeaderAPIKey)
	digest := sha256.Sum256([]byte(shown))
	found := -1
	for i := range a.digests {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(a.digests[i][:], digest[:]), i, found)
	}
	if found < 0 {
		return "", Refuse(http.StatusUnauthorized, "unauthorized", "the API key is not known on this route", "Www-Authenticate", a.Challenge())
	}
	return a.names[found], nil
}
