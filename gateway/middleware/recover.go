package middleware

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/labstack/echo/v4"

	"weft/internal/sample"
)

// Recover turns a panic into an error with its stack. http.ErrAbortHandler passes: it cuts a connection whose response
// broke off, so that the client cannot take a part for the whole.
func Recover() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				caught := recover()
				switch {
				case caught == nil:
					return
				case caught == http.ErrAbortHandler: // panics carry the value itself
					panic(caught)
				}
				err = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
				if r := Of(c); r.Response.Status != 0 { // too late for an answer: cut
					r.Call.Outcome = sample.Error
					slog.Error("request broke off in the gateway", "request_id", r.Call.RequestID, "error", err)
					panic(http.ErrAbortHandler)
				}
			}()
			return next(c)
		}
	}
}
