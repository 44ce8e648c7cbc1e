// Package signal is one span or one log record as Weft keeps it, decoded from OTLP.
package signal

import (
	"encoding/hex"
	"errors"
)

// ErrTruncated comes together with the items that were found, when there are more of them than one answer holds.
var ErrTruncated = errors.New("answer is truncated")

// TraceID is the W3C trace ID; all zero means none.
type TraceID [16]byte

// SpanID is the W3C span ID; all zero means none.
type SpanID [8]byte

func (t TraceID) String() string { return hex.EncodeToString(t[:]) }
func (s SpanID) String() string {
	if s.IsZero() {
		return ""
	}
	return hex.EncodeToString(s[:])
}
func (t TraceID) IsZero() bool { return t == TraceID{} }
func (s SpanID) IsZero() bool  { return s == SpanID{} }

// ParseTraceID reads 32 hex digits.
func ParseTraceID(text string) (TraceID, bool) {
	var t TraceID
	if len(text) != 32 {
		return t, false
	}
	_, err := hex.Decode(t[:], []byte(text))
	return t, err == nil && !t.IsZero()
}

// Kind is the OTLP span kind.
type Kind uint8

const (
	KindUnspecified Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

func (k Kind) String() string {
	if k > KindConsumer {
		k = KindUnspecified
	}
	return [...]string{"unspecified", "internal", "server", "client", "producer", "consumer"}[k]
}

// Status is the OTLP span status.
type Status uint8

const (
	StatusUnset Status = iota
	StatusOK
	StatusError
)

func (s Status) String() string {
	if s > StatusError {
		s = StatusUnset
	}
	return [...]string{"unset", "ok", "error"}[s]
}

// Attributes are decoded attribute values: string, bool, int64, float64, []byte, []any or map[string]any.
type Attributes map[string]any

// Text is the attribute as a string; empty when it is absent or of another type.
func (a Attributes) Text(key string) string {
	s, _ := a[key].(string)
	return s
}

// Int is the attribute as an integer; 0 when it is absent or of another type.
func (a Attributes) Int(key string) int64 {
	n, _ := a[key].(int64)
	return n
}

// Span is one span, with all that OTLP says of it. Times are Unix nanoseconds.
type Span struct {
	TraceID       TraceID
	SpanID        SpanID
	ParentID      SpanID
	TraceState    string
	Flags         uint32 // OTLP's: the W3C trace flags, and whether the parent is remote
	Name          string
	Kind          Kind
	Start, End    int64
	Status        Status
	StatusMessage string
	// Service and Instance are service.name and service.instance.id of the resource.
	Service, Instance string
	// RequestID is the first of semconv.RequestIDAliases that the span has; ClientRequestID the untrusted caller's.
	RequestID, ClientRequestID string
	Attributes                 Attributes
	Resource                   Attributes // shared by the spans of one resource; read only
	ResourceSchema             string     // URL
	Scope, ScopeVersion        string
	ScopeAttributes            Attributes // nil when there are none
	ScopeSchema                string     // URL
	Events                     []Event
	Links                      []Link
	// How many of each the sender left out.
	DroppedAttributes, DroppedEvents, DroppedLinks uint32
}

// Duration is in nanoseconds, never negative.
func (s *Span) Duration() int64 { return max(0, s.End-s.Start) }

// Event is a point in time within a span.
type Event struct {
	Time              int64
	Name              string
	Attributes        Attributes
	DroppedAttributes uint32
}

// Link points to a span of this or another trace.
type Link struct {
	TraceID           TraceID
	SpanID            SpanID
	Attributes        Attributes
	TraceState        string
	Flags             uint32
	DroppedAttributes uint32
}

// Log is one log record, with all that OTLP says of it. Times are Unix nanoseconds.
type Log struct {
	Time, Observed      int64
	TraceID             TraceID
	SpanID              SpanID
	Flags               uint32
	Service, Instance   string
	RequestID           string
	Severity            string // DEBUG, INFO, WARN, ERROR, …
	SeverityNumber      int32  // OTLP's, 0 to 24
	Body                string // structured bodies as JSON
	EventName           string
	Attributes          Attributes
	DroppedAttributes   uint32
	Resource            Attributes // shared by the records of one resource; read only
	ResourceSchema      string     // URL
	Scope, ScopeVersion string
	ScopeAttributes     Attributes // nil when there are none
	ScopeSchema         string     // URL
}
