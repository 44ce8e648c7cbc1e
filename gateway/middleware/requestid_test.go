package middleware

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"weft/internal/forward"
)

const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	traceID     = "0af7651916cd43dd8448eb211c80319c"
)

func TestRequestID(t *testing.T) {
	open := RequestIDConfig{}
	trusting := RequestIDConfig{TrustedHops: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for name, test := range map[string]struct {
		cfg      RequestIDConfig
		header   []string
		id       string // empty: the new trace's
		clientID string
		trace    bool // kept
		linked   bool
		client   string
		stripped bool
	}{
		"nothing sent":               {open, nil, "", "", false, false, "192.0.2.1", true},
		"untrusted ID":               {open, []string{"X-Request-Id", "mine"}, "", "mine", false, false, "192.0.2.1", true},
		"untrusted trace":            {open, []string{"Traceparent", traceparent}, "", "", false, true, "192.0.2.1", true},
		"broken trace":               {open, []string{"Traceparent", traceparent[1:]}, "", "", false, false, "192.0.2.1", true},
		"long untrusted ID":          {open, []string{"X-Request-Id", strings.Repeat("x", 9999)}, "", strings.Repeat("x", 256), false, false, "192.0.2.1", true},
		"trusted ID":                 {trusting, []string{"X-Request-Id", "edge.1-2_3"}, "edge.1-2_3", "", false, false, "192.0.2.1", false},
		"trusted trace":              {trusting, []string{"Traceparent", traceparent}, traceID, "", true, false, "192.0.2.1", false},
		"trusted ID and trace":       {trusting, []string{"X-Request-Id", "a", "Traceparent", traceparent}, "a", "", true, false, "192.0.2.1", false},
		"trusted but malformed ID":   {trusting, []string{"X-Request-Id", "a b"}, "", "a b", false, false, "192.0.2.1", false},
		"trusted but too long an ID": {trusting, []string{"X-Request-Id", strings.Repeat("x", 129)}, "", strings.Repeat("x", 129), false, false, "192.0.2.1", false},
		"trusted hop's client":       {trusting, []string{"X-Forwarded-For", "9.9.9.9, 203.0.113.7, 192.0.2.9"}, "", "", false, false, "203.0.113.7", false},
		"untrusted client's tale":    {open, []string{"X-Forwarded-For", "203.0.113.7"}, "", "", false, false, "192.0.2.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"Tracestate", "a=b", "Baggage", "c=d", "Forwarded", "for=1.2.3.4", "X-Weft-Attempt", "2", "x-weft-fault", "y", "Accept", "*/*"}, test.header...)
			var seen http.Header
			var r *Request
			w := serve(request("GET", "/", header...), RequestID(test.cfg), handle(func(c echo.Context, request *Request) error {
				seen, r = c.Request().Header, request
				if forward.CallFrom(c.Request().Context()) != &r.Call {
					t.Error("the forwarder does not find the call")
				}
				return nil
			}))
			want := test.id
			if want == "" {
				want = hexOf(r.Call.TraceID)
			}
			if r.Call.RequestID != want || w.Header().Get("X-Request-Id") != want || seen.Get("X-Request-Id") != want {
				t.Fatalf("request ID %q, echoed %q, passed on %q, want %q", r.Call.RequestID, w.Header().Get("X-Request-Id"), seen.Get("X-Request-Id"), want)
			}
			if (hexOf(r.Call.TraceID) == traceID) != test.trace || (r.Parent != [8]byte{}) != test.trace || (hexOf(r.ClientTrace) == traceID) != test.linked {
				t.Fatalf("trace %x, parent %x, client's %x", r.Call.TraceID, r.Parent, r.ClientTrace)
			}
			if r.ClientRequestID != test.clientID || r.Client != test.client {
				t.Fatalf("client's ID %q, client %s", r.ClientRequestID, r.Client)
			}
			if (seen.Get("Baggage") == "") != test.stripped || (seen.Get("Forwarded") == "") != test.stripped {
				t.Fatalf("passed on %v", seen)
			}
			if seen.Get("X-Weft-Attempt") != "" || seen.Get("X-Weft-Fault") != "" || seen.Get("Accept") == "" {
				t.Fatalf("passed on %v", seen)
			}
			if seen.Get("Tracestate") != "" && !test.trace {
				t.Fatal("a tracestate without its trace")
			}
		})
	}
}

func hexOf(id [16]byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 32)
	for _, b := range id {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}

func FuzzValidID(f *testing.F) {
	f.Add("a.B_9-")
	f.Add("")
	f.Add("a b")
	f.Fuzz(func(t *testing.T, id string) {
		plain := strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
		if validID(id) && (!plain || id == "" || len(id) > 128) {
			t.Fatalf("%q is valid", id)
		}
	})
}
