package gateway

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"weft/gateway/middleware"
)

// chain is the way of a request through the gateway, in order.
func (g *Gateway) chain(s *snapshot) []echo.MiddlewareFunc {
	return []echo.MiddlewareFunc{
		middleware.RequestID(middleware.RequestIDConfig{TrustedHops: s.trusted}), // first: every later line carries it
		middleware.Trace(g.telemetry),                                            // the SERVER span, around everything that can fail
		middleware.Metrics(g.telemetry),                                          // rate, errors, duration
		middleware.AccessLog(g.telemetry),                                        // one record, with trace, span and request ID
		middleware.Problems(),                                                    // errors of the steps below become problem JSON
		middleware.Recover(),                                                     // panics become errors
		match(s.table),                                                           // 404, 405, or the route
		middleware.Authorize(),                                                   // 401, 403, or whose credential it is
		carry,                                                                    // last: to an endpoint of the route's service
	}
}

// carry hands over to the forwarder, with the response writer that notes what is answered. An HTTP/1.1 body may go on
// after the response began, as it may in HTTP/2.
func carry(echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := middleware.Of(c)
		if c.Request().ProtoMajor == 1 {
			if err := http.NewResponseController(&r.Response).EnableFullDuplex(); err != nil {
				return fmt.Errorf("full duplex: %w", err)
			}
		}
		r.Matched.Handler.ServeHTTP(&r.Response, c.Request())
		return nil
	}
}
