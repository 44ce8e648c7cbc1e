package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// Authorizer accepts a request's credential and says whose it is. It answers errNoCredential when the request shows none
// of its kind, and a Refusal when it shows one that does not do.
type Authorizer interface {
	Authorize(*http.Request) (subject string, err error)
	// Challenge says what to show: a WWW-Authenticate value.
	Challenge() string
}

var errNoCredential = errors.New("no credential")

// Authorize lets a request through when one of its route's authorizers accepts it, or when the route has none.
func Authorize() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := Of(c)
			if len(r.Matched.Auth) > 0 {
				subject, err := authorize(r.Matched.Auth, c.Request())
				if err != nil {
					return err
				}
				r.Subject = subject
			}
			return next(c)
		}
	}
}

// authorize reports the refusal of a credential that was shown rather than the lack of another.
func authorize(all []Authorizer, raw *http.Request) (string, error) {
	var refusal error
	var challenges []string
	for _, a := range all {
		subject, err := a.Authorize(raw)
		switch {
		case err == nil:
			return subject, nil
		case !errors.Is(err, errNoCredential) && refusal == nil:
			refusal = err
		}
		challenges = append(challenges, a.Challenge())
	}
	if refusal != nil {
		return "", refusal
	}
	return "", Refuse(http.StatusUnauthorized, "unauthorized", "this route needs a credential: "+strings.Join(challenges, " or "),
		"Www-Authenticate", strings.Join(challenges, ", "))
}
