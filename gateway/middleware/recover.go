package middleware

import (
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/labstack/echo/v4"
)

// Recover turns a panic into an error with its stack. http.ErrAbortHandler passes: it cuts a connection whose response
// broke off, so that the client cannot take a part for the whole.
func Recover() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				switch caught := recover(); {
				case caught == nil:
				case caught == http.ErrAbortHandler: //nolint:errorlint // panics carry the value itself
					panic(caught)
				case Of(c).Response.Status != 0: // the same: there is no other way to tell the client
					panic(http.ErrAbortHandler)
				default:
					err = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
				}
			}()
			return next(c)
		}
	}
}
