package middleware

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

const (
	keysFresh   = 10 * time.Minute // then the keys are fetched again, while the old ones still serve
	keysPause   = 10 * time.Second // between fetches that a token of an unknown key, or a failure, asks for
	keysFirst   = time.Second      // the same while there are no keys at all
	keysTimeout = 3 * time.Second
	keysBytes   = 1 << 20
)

// Keys are the public keys at one URL, fetched when they are needed and kept for as long as the URL fails.
type Keys struct {
	url    string
	client *http.Client
	held   atomic.Pointer[fetched]

	mu    sync.Mutex // held by the one request that fetches
	tried time.Time
	fault error
}

type fetched struct {
	set jwk.Set
	at  time.Time
}

// NewKeys fetches nothing yet.
func NewKeys(url string) *Keys {
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment} // a fetch in ten minutes
	return &Keys{url: url, client: jwk.WrapHTTPClientDefaults(&http.Client{Timeout: keysTimeout, Transport: transport})}
}

// Find is the key set to verify a token of key kid with. It fetches when there is none, when it is old, or when kid is
// not in it: the issuer may have rotated. Without any keys it says why there are none.
func (k *Keys) Find(ctx context.Context, kid string) (jwk.Set, error) {
	held := k.held.Load()
	if held != nil && time.Since(held.at) < keysFresh && knows(held.set, kid) {
		return held.set, nil
	}
	if held != nil && knows(held.set, kid) { // old, but good for this token: only one request pays for the refresh
		if k.mu.TryLock() {
			defer k.mu.Unlock()
			k.refresh(ctx)
		}
		return k.held.Load().set, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.held.Load(); now == nil || now == held {
		k.refresh(ctx)
	}
	if now := k.held.Load(); now != nil {
		return now.set, nil
	}
	return nil, k.fault
}

func knows(set jwk.Set, kid string) bool {
	if kid == "" {
		return true
	}
	_, ok := set.LookupKeyID(kid)
	return ok
}

// refresh fetches, unless it just did. The caller holds mu. A client that leaves must not make the fetch of all fail.
func (k *Keys) refresh(ctx context.Context) {
	pause := keysPause
	if k.held.Load() == nil {
		pause = keysFirst
	}
	if time.Since(k.tried) < pause {
		return
	}
	k.tried = time.Now()
	set, err := k.fetch(context.WithoutCancel(ctx))
	if err != nil {
		k.fault = fmt.Errorf("%s: %w", k.url, err)
		slog.WarnContext(ctx, "fetching the keys that tokens are checked with", "url", k.url, "error", err)
		return
	}
	k.held.Store(&fetched{set, time.Now()})
}

func (k *Keys) fetch(ctx context.Context) (jwk.Set, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", response.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, keysBytes))
	if err != nil {
		return nil, err
	}
	return jwk.Parse(raw)
}
