// Package facts reads what a span or a log record says about its request.
//
// There are two ways to the same facts: ReadWire from the bytes a batch came in, for all that comes in, and Read from a
// decoded span, for the signals of one request. Both fill in what the attributes say (said.go), and one set of rules
// makes facts of it; a test holds the two against each other.
package facts

import "weft/collector/signal"

// Span is what a span says about its request. Text may be a view into the bytes it was read from, and is valid UTF-8.
type Span struct {
	Trace           signal.TraceID
	ID, Parent      signal.SpanID
	Link            Key // where its first link points
	Linked          bool
	Kind            signal.Kind
	Code            signal.Status // OTLP's
	Proxy           Proxy
	Failed          bool
	Repaired        bool   // the sidecar put a dropped trace back together
	Status          uint16 // HTTP, 0 for none
	Resend          uint16 // 0 for the first attempt
	Start, End      int64  // Unix nanoseconds
	Name            string
	Service         string
	Instance        string
	Method, Route   string
	Called          string // the service that a proxy's attempt was made at
	Database        Database
	RequestID       string
	ClientRequestID string // the untrusted caller's own
	ClientTrace     string
}

// Proxy is what kind of proxy made a span.
type Proxy uint8

// The kinds of proxy.
const (
	NoProxy Proxy = iota
	Gateway
	Sidecar
	OtherProxy
)

// Database is what a database client's span says of the database. Only System is always there.
type Database struct{ System, Peer, Name, Address string }

// Log is what a log record says about its request. Text may be a view, as in Span.
type Log struct {
	Trace     signal.TraceID
	Span      signal.SpanID
	Time      int64 // Unix nanoseconds
	Service   string
	Instance  string
	RequestID string
}

// Key names a span.
type Key struct {
	Trace signal.TraceID
	Span  signal.SpanID
}

// At is the span's name.
func At(trace signal.TraceID, span signal.SpanID) Key { return Key{Trace: trace, Span: span} }

// Key is the span's name.
func (s *Span) Key() Key { return Key{s.Trace, s.ID} }

// ParentKey is its parent's name.
func (s *Span) ParentKey() Key { return Key{s.Trace, s.Parent} }

// Duration is in nanoseconds, never negative.
func (s *Span) Duration() int64 { return max(0, s.End-s.Start) }

// Entry is a gateway's span of a request that it took in.
func (s *Span) Entry() bool { return s.Proxy == Gateway && s.Kind == signal.KindServer }

// Inbound is a sidecar's span of a request that it hands to its own service.
func (s *Span) Inbound() bool { return s.Proxy == Sidecar && s.Kind == signal.KindServer }

// Outbound is a proxy's span of one attempt at an endpoint.
func (s *Span) Outbound() bool { return s.Proxy != NoProxy && s.Kind == signal.KindClient }
