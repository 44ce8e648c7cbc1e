// Package facts reads what a span says about its request.
package facts

import (
	"cmp"

	"weft/collector/signal"
	"weft/internal/semconv"
)

// Facts are what a span says about its request, read once from its attributes.
type Facts struct {
	Proxy           string // "gateway", "sidecar" or empty
	Method, Route   string
	Status          int // HTTP, 0 for none
	Resend          int // 0 for the first attempt
	Failed          bool
	Repaired        bool   // the sidecar put a dropped trace back together
	Called          string // the service that a proxy's attempt was made at
	Database        string // db.system of a database client
	RequestID       string
	ClientRequestID string // the untrusted caller's own
	ClientTrace     string
}

// Names that instrumentations older than the stable conventions use.
const (
	oldHTTPStatus = "http.status_code"
	oldHTTPMethod = "http.method"
	oldDBSystem   = "db.system"
	dbSystem      = "db.system.name"
)

// Read reads the attributes of s.
func Read(s *signal.Span) Facts {
	a := s.Attributes
	f := Facts{
		Proxy: a.Text(semconv.WeftProxy), Called: a.Text(semconv.WeftService),
		Method:    cmp.Or(a.Text(semconv.HTTPRequestMethod), a.Text(oldHTTPMethod)),
		Status:    int(cmp.Or(a.Int(semconv.HTTPResponseStatusCode), a.Int(oldHTTPStatus))),
		RequestID: ID(s.RequestID), ClientRequestID: ID(s.ClientRequestID),
		Resend: int(min(max(a.Int(semconv.HTTPResendCount), 0), 1<<15)),
	}
	switch s.Kind {
	case signal.KindServer:
		f.Route = cmp.Or(a.Text(semconv.HTTPRoute), a.Text(semconv.URLPath))
		f.ClientTrace = ID(a.Text(semconv.ClientTraceID))
	case signal.KindClient:
		f.Database = cmp.Or(a.Text(dbSystem), a.Text(oldDBSystem))
	}
	if f.Status < 0 || f.Status > 999 {
		f.Status = 0
	}
	f.Repaired, _ = a[semconv.WeftTraceRepaired].(bool)
	// A client marks 4xx as an error, but a refused request does not speak against the service.
	f.Failed = f.Status >= 500 || s.Status == signal.StatusError && (f.Status < 400 || f.Status >= 500)
	return f
}

// ID is the ID, or nothing when it is longer than any that Weft accepts.
func ID(id string) string {
	if len(id) > 128 {
		return ""
	}
	return id
}

// Gateway is a gateway's span of a request that it took in.
func (f *Facts) Gateway(s *signal.Span) bool {
	return f.Proxy == "gateway" && s.Kind == signal.KindServer
}

// Inbound is a sidecar's span of a request that it hands to its own service.
func (f *Facts) Inbound(s *signal.Span) bool {
	return f.Proxy == "sidecar" && s.Kind == signal.KindServer
}

// Outbound is a proxy's span of one attempt at an endpoint.
func (f *Facts) Outbound(s *signal.Span) bool { return f.Proxy != "" && s.Kind == signal.KindClient }

// Key names a span.
type Key struct {
	Trace signal.TraceID
	Span  signal.SpanID
}

// At is the span's name.
func At(trace signal.TraceID, span signal.SpanID) Key { return Key{Trace: trace, Span: span} }
