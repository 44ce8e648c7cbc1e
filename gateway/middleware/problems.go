package middleware

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"weft/internal/forward"
)

// Refusal is an answer of the gateway's own, on its way to the client.
type Refusal struct {
	Status int
	Kind   string // of the problem's type, e.g. "no-route"
	Detail string
	Header http.Header
}

func (r *Refusal) Error() string { return r.Detail }

// Refuse makes a Refusal; pairs are header names and values.
func Refuse(status int, kind, detail string, pairs ...string) error {
	r := &Refusal{Status: status, Kind: kind, Detail: detail, Header: http.Header{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Header.Add(pairs[i], pairs[i+1])
	}
	return r
}

// Problems answers an error of the rest of the chain as problem JSON (RFC 9457) with the request ID. Errors that are
// not refusals are ours: the client learns that there was one, the log learns which.
func Problems() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			if err == nil {
				return nil
			}
			r, raw := Of(c), c.Request()
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				slog.ErrorContext(raw.Context(), "request failed in the gateway", "request_id", r.Call.RequestID, "path", raw.URL.Path, "error", err)
				refusal = &Refusal{Status: http.StatusInternalServerError, Kind: "internal", Detail: "the gateway failed"}
			}
			if r.Response.Status != 0 {
				return nil // the header is out: nothing can be said any more
			}
			for name, values := range refusal.Header {
				r.Response.Header()[name] = values
			}
			forward.WriteProblem(&r.Response, forward.Problem{
				Type: forward.ProblemType(refusal.Kind), Status: refusal.Status, Detail: refusal.Detail,
				Instance: raw.URL.Path, RequestID: r.Call.RequestID,
			})
			return nil
		}
	}
}
