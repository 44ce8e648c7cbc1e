package facts

import (
	"strings"
	"testing"

	"weft/collector/signal"
	"weft/internal/semconv"
)

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		span signal.Span
		want Facts
	}{
		"nothing said": {signal.Span{}, Facts{}},
		"a gateway's request": {
			signal.Span{Kind: signal.KindServer, RequestID: "r", ClientRequestID: "c", Attributes: signal.Attributes{
				semconv.WeftProxy: "gateway", semconv.HTTPRequestMethod: "GET", semconv.HTTPRoute: "/a/{id}", semconv.HTTPResponseStatusCode: int64(502), semconv.ClientTraceID: "t"}},
			Facts{Proxy: "gateway", Method: "GET", Route: "/a/{id}", Status: 502, Failed: true, RequestID: "r", ClientRequestID: "c", ClientTrace: "t"}},
		"an older instrumentation": {
			signal.Span{Kind: signal.KindClient, Attributes: signal.Attributes{"http.method": "PUT", "http.status_code": int64(204), "db.system": "redis"}},
			Facts{Method: "PUT", Status: 204, Database: "redis"}},
		"a refusal is no failure": {
			signal.Span{Kind: signal.KindClient, Status: signal.StatusError, Attributes: signal.Attributes{semconv.HTTPResponseStatusCode: int64(404)}},
			Facts{Status: 404}},
		"a response that broke off is one": {
			signal.Span{Kind: signal.KindClient, Status: signal.StatusError, Attributes: signal.Attributes{semconv.HTTPResponseStatusCode: int64(200)}},
			Facts{Status: 200, Failed: true}},
		"a retry": {
			signal.Span{Kind: signal.KindClient, Attributes: signal.Attributes{semconv.HTTPResendCount: int64(2), semconv.WeftService: "payment", semconv.WeftTraceRepaired: true}},
			Facts{Resend: 2, Called: "payment", Repaired: true}},
		"nonsense": {
			signal.Span{Kind: signal.Kind(99), RequestID: strings.Repeat("x", 129), Attributes: signal.Attributes{
				semconv.HTTPResponseStatusCode: int64(-7), semconv.HTTPResendCount: int64(-1), semconv.WeftTraceRepaired: "yes", semconv.HTTPRequestMethod: 5}},
			Facts{}},
	} {
		if got := Read(&tc.span); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}
