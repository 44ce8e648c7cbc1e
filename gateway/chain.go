package gateway

import (
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

// carry hands over to the forwarder, with the response writer that notes what is answered.
func carry(echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := middleware.Of(c)
		r.Matched.Handler.ServeHTTP(&r.Response, c.Request())
		return nil
	}
}
