package middleware

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// JWT says which tokens a route accepts.
type JWT struct {
	JWKSURL  string `yaml:"jwks_url"` // the issuer's public keys (RFC 7517)
	Issuer   string `yaml:"issuer"`   // the iss claim; empty accepts any
	Audience string `yaml:"audience"` // must be in the aud claim; empty accepts any
}

// clockSkew is how far our clock and the issuer's may differ.
const clockSkew = 30 * time.Second

// bearer accepts signed tokens in the Authorization header.
type bearer struct {
	keys *Keys
	cfg  JWT
}

// Bearer accepts requests with a token that one of the keys has signed, that has not expired, and that is for us.
func Bearer(cfg JWT, keys *Keys) Authorizer { return &bearer{keys, cfg} }

func (b *bearer) Challenge() string { return "Bearer" }

func (b *bearer) Authorize(raw *http.Request) (string, error) {
	kind, text, _ := strings.Cut(raw.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return "", errNoCredential
	}
	message, err := jws.Parse([]byte(text))
	if err != nil || len(message.Signatures()) != 1 {
		return "", unauthorized("the token is not a signed JWT")
	}
	kid, _ := message.Signatures()[0].ProtectedHeaders().KeyID()
	set, err := b.keys.Find(raw.Context(), kid)
	if err != nil {
		return "", Refuse(http.StatusServiceUnavailable, "keys-unavailable", "the keys that tokens are checked with are unavailable: "+err.Error(),
			"Retry-After", "5")
	}
	token, err := jwt.Parse([]byte(text), jwt.WithValidate(false),
		jwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true), jws.WithRequireKid(kid != "")))
	if err != nil {
		return "", unauthorized("no key of " + b.cfg.JWKSURL + " verifies the token's signature")
	}
	if err := b.validate(token); err != nil {
		return "", err
	}
	subject, _ := token.Subject()
	return subject, nil
}

// validate refuses a token that is not valid now with 401 (get another), and a valid one that is for others with 403.
func (b *bearer) validate(token jwt.Token) error {
	options := []jwt.ValidateOption{jwt.WithAcceptableSkew(clockSkew), jwt.WithRequiredClaim(jwt.ExpirationKey)}
	if b.cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(b.cfg.Issuer))
	}
	if b.cfg.Audience != "" {
		options = append(options, jwt.WithAudience(b.cfg.Audience))
	}
	err := jwt.Validate(token, options...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.TokenExpiredError()):
		return unauthorized("the token has expired")
	case errors.Is(err, jwt.TokenNotYetValidError()):
		return unauthorized("the token is not valid yet")
	case errors.Is(err, jwt.MissingRequiredClaimError()):
		return unauthorized("the token has no expiry (exp)")
	case errors.Is(err, jwt.InvalidIssuerError()):
		return Refuse(http.StatusForbidden, "forbidden", "the token's issuer is not "+b.cfg.Issuer)
	case errors.Is(err, jwt.InvalidAudienceError()):
		return Refuse(http.StatusForbidden, "forbidden", "the token is not for "+b.cfg.Audience)
	default:
		return unauthorized("the token is not valid")
	}
}

func unauthorized(detail string) error {
	return Refuse(http.StatusUnauthorized, "unauthorized", detail,
		"Www-Authenticate", `Bearer error="invalid_token", error_description="`+detail+`"`)
}
