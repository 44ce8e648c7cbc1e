package middleware

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"weft/internal/forward"
)

// issuer signs tokens and publishes its keys.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	public  jwk.Set
	fetches atomic.Int64
	down    atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{public: jwk.NewSet()}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.fetches.Add(1)
		if i.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(i.public)
	}))
	t.Cleanup(i.Close)
	return i
}

// key makes a key pair and publishes its public half.
func (i *issuer) key(t *testing.T, kid string) jwk.Key {
	t.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := jwk.Import(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := private.Set(jwk.KeyIDKey, kid); err != nil {
		t.Fatal(err)
	}
	public, err := jwk.PublicKeyOf(private)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.public.AddKey(public); err != nil {
		t.Fatal(err)
	}
	return private
}

func token(t *testing.T, key jwk.Key, claims map[string]any) string {
	t.Helper()
	all := jwt.New()
	for name, value := range map[string]any{"iss": "issuer", "aud": "shop", "sub": "alice", "exp": time.Now().Add(time.Minute)} {
		if _, given := claims[name]; !given {
			claims[name] = value
		}
	}
	for name, value := range claims {
		if value == nil {
			continue
		}
		if err := all.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := jwt.Sign(all, jwt.WithKey(jwa.ES256(), key))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// enter sends a request with the header to a route with the authorizers.
func enter(auth []Authorizer, header ...string) (*httptest.ResponseRecorder, string) {
	subject := ""
	w := serve(request("GET", "/door", header...), RequestID(RequestIDConfig{}), Problems(),
		func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				Of(c).Matched = &Matched{Name: "door", Pattern: "/door", Auth: auth}
				return next(c)
			}
		},
		Authorize(), handle(func(c echo.Context, r *Request) error {
			subject = r.Subject + c.Request().Header.Get(HeaderAPIKey)
			r.Response.WriteHeader(204)
			return nil
		}))
	return w, subject
}

func TestJWT(t *testing.T) {
	i := newIssuer(t)
	key := i.key(t, "one")
	other := newIssuer(t).key(t, "one")
	auth := []Authorizer{Bearer(JWT{JWKSURL: i.URL, Issuer: "issuer", Audience: "shop"}, NewKeys(i.URL))}
	for name, test := range map[string]struct {
		header string
		status int
		detail string
	}{
		"valid":          {"Bearer " + token(t, key, map[string]any{}), 204, ""},
		"lower case":     {"bearer " + token(t, key, map[string]any{}), 204, ""},
		"none":           {"", 401, "needs a credential: Bearer"},
		"basic":          {"Basic YTpi", 401, "needs a credential"},
		"garbage":        {"Bearer abc", 401, "not a signed JWT"},
		"no signature":   {"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", 401, ""},
		"wrong key":      {"Bearer " + token(t, other, map[string]any{}), 401, "no key of " + i.URL},
		"expired":        {"Bearer " + token(t, key, map[string]any{"exp": time.Now().Add(-time.Hour)}), 401, "has expired"},
		"not yet":        {"Bearer " + token(t, key, map[string]any{"nbf": time.Now().Add(time.Hour)}), 401, "not valid yet"},
		"no expiry":      {"Bearer " + token(t, key, map[string]any{"exp": nil}), 401, "no expiry"},
		"other issuer":   {"Bearer " + token(t, key, map[string]any{"iss": "evil"}), 403, "issuer is not issuer"},
		"other audience": {"Bearer " + token(t, key, map[string]any{"aud": "bank"}), 403, "not for shop"},
	} {
		t.Run(name, func(t *testing.T) {
			w, subject := enter(auth, "Authorization", test.header)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.detail) || (w.Code == 204) != (subject == "alice") {
				t.Fatalf("%d %s, subject %q", w.Code, w.Body, subject)
			}
			var p forward.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != 204 && (err != nil || p.RequestID == "" || p.Status != w.Code) {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code == 401 && !strings.HasPrefix(w.Header().Get("Www-Authenticate"), "Bearer") {
				t.Fatalf("header %v", w.Header())
			}
		})
	}
	if n := i.fetches.Load(); n != 1 {
		t.Fatalf("%d fetches of the keys", n)
	}
}

func TestKeysRotateAndSurviveTheIssuer(t *testing.T) {
	i := newIssuer(t)
	first := i.key(t, "one")
	keys := NewKeys(i.URL)
	auth := []Authorizer{Bearer(JWT{JWKSURL: i.URL}, keys)}
	status := func(key jwk.Key) int {
		w, _ := enter(auth, "Authorization", "Bearer "+token(t, key, map[string]any{}))
		return w.Code
	}
	i.down.Store(true)
	if code := status(first); code != 503 {
		t.Fatalf("without keys: %d", code)
	}
	i.down.Store(false)
	if code := status(first); code != 503 || i.fetches.Load() != 1 {
		t.Fatalf("at once: %d, %d fetches", code, i.fetches.Load())
	}
	keys.tried = time.Time{} // a second later
	if code := status(first); code != 204 {
		t.Fatalf("with keys: %d", code)
	}
	second := i.key(t, "two")
	keys.tried = time.Time{} // ten seconds later
	if code := status(second); code != 204 {
		t.Fatalf("after a rotation: %d", code)
	}
	i.down.Store(true)
	held := *keys.held.Load()
	held.at = time.Now().Add(-time.Hour)
	keys.held.Store(&held)
	keys.tried = time.Time{}
	if code := status(first); code != 204 {
		t.Fatalf("with old keys and no issuer: %d", code)
	}
}

func TestEitherCredentialWillDo(t *testing.T) {
	i := newIssuer(t)
	key := i.key(t, "one")
	auth := []Authorizer{APIKeys([]APIKey{{Name: "ci", Key: "first"}, {Name: "cd", Key: "second"}}), Bearer(JWT{JWKSURL: i.URL}, NewKeys(i.URL))}
	for name, test := range map[string]struct {
		header  []string
		status  int
		subject string
	}{
		"first key":           {[]string{"X-Api-Key", "first"}, 204, "ci"},
		"second key":          {[]string{"X-Api-Key", "second"}, 204, "cd"},
		"token":               {[]string{"Authorization", "Bearer " + token(t, key, map[string]any{})}, 204, "alice"},
		"bad key, good token": {[]string{"X-Api-Key", "x", "Authorization", "Bearer " + token(t, key, map[string]any{})}, 204, "alice"},
		"bad key":             {[]string{"X-Api-Key", "x"}, 401, ""},
		"nothing":             {nil, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, subject := enter(auth, test.header...)
			if w.Code != test.status || subject != test.subject {
				t.Fatalf("%d %s, subject (and key passed on) %q", w.Code, w.Body, subject)
			}
		})
	}
	if w, _ := enter(nil); w.Code != 204 {
		t.Fatalf("an open route: %d", w.Code)
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")
	f.Add("a.b.c")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }))
	f.Cleanup(server.Close)
	auth := Bearer(JWT{JWKSURL: server.URL}, NewKeys(server.URL))
	f.Fuzz(func(t *testing.T, text string) {
		raw := httptest.NewRequest("GET", "/", nil)
		raw.Header["Authorization"] = []string{"Bearer " + text}
		if _, err := auth.Authorize(raw); err == nil {
			t.Fatalf("%q was accepted", text)
		}
	})
}
