package telemetry

import (
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"weft/internal/semconv"
)

// Kinds of Span, as OTLP numbers them.
const (
	KindInternal = 1
	KindServer   = 2
	KindClient   = 3
)

// Severities of Record, as OTLP numbers them.
const (
	SeverityInfo  = 9
	SeverityWarn  = 13
	SeverityError = 17
)

// maxText bounds one attribute value, name or body: a client chooses paths and user agents.
const maxText = 4096

// Span is one finished operation.
type Span struct {
	TraceID       [16]byte
	SpanID        [8]byte
	ParentID      [8]byte // zero for a root
	Name          string
	Kind          uint8 // KindServer, KindClient or KindInternal
	Start, End    time.Time
	Error         bool // status ERROR; else unset
	StatusMessage string
	Attrs         []Attr
	Links         []Link
	Events        []Event
}

// Link points to a span of another trace.
type Link struct {
	TraceID [16]byte
	SpanID  [8]byte
	Attrs   []Attr
}

// Event is a point in time within a span.
type Event struct {
	Time  time.Time
	Name  string
	Attrs []Attr
}

// Record is one log record.
type Record struct {
	Time     time.Time
	TraceID  [16]byte
	SpanID   [8]byte
	Severity uint8 // SeverityInfo, SeverityWarn or SeverityError
	Body     string
	Attrs    []Attr
}

// Attr is one attribute: text, an integer, a boolean or a float.
type Attr struct {
	Key  string
	text string
	num  uint64
	kind valueKind
}

// valueKind is the field number of the value in OTLP's AnyValue.
type valueKind uint8

const (
	textValue  valueKind = 1
	boolValue  valueKind = 2
	intValue   valueKind = 3
	floatValue valueKind = 4
)

// Str is a text attribute; text beyond 4 KiB is cut, invalid UTF-8 replaced, when it is encoded.
func Str(key, value string) Attr { return Attr{Key: key, text: value, kind: textValue} }

// Int is an integer attribute.
func Int(key string, value int64) Attr { return Attr{Key: key, num: uint64(value), kind: intValue} }

// Float is a floating point attribute.
func Float(key string, value float64) Attr {
	return Attr{Key: key, num: math.Float64bits(value), kind: floatValue}
}

// Bool is a boolean attribute.
func Bool(key string, value bool) Attr {
	a := Attr{Key: key, kind: boolValue}
	if value {
		a.num = 1
	}
	return a
}

// Value is the attribute's string, bool, int64 or float64.
func (a Attr) Value() any {
	switch a.kind {
	case boolValue:
		return a.num != 0
	case intValue:
		return int64(a.num)
	case floatValue:
		return math.Float64frombits(a.num)
	default:
		return a.text
	}
}

// scratch holds buffers in which one item is encoded before it is copied into the queue: the lock is held for a copy
// only.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Field numbers of opentelemetry-proto 1.x: trace.proto, logs.proto, common.proto, resource.proto.
const (
	resourceAttributes = 1

	spanTraceID    = 1
	spanSpanID     = 2
	spanParentID   = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanEvents     = 11
	spanLinks      = 13
	spanStatus     = 15
	statusMessage  = 2
	statusCode     = 3
	statusError    = 2

	eventTime       = 1
	eventName       = 2
	eventAttributes = 3

	linkTraceID    = 1
	linkSpanID     = 2
	linkAttributes = 4

	logTime         = 1
	logSeverity     = 2
	logSeverityText = 3
	logBody         = 5
	logAttributes   = 6
	logTraceID      = 9
	logSpanID       = 10
	logObserved     = 11

	keyValueKey   = 1
	keyValueValue = 2
)

func appendSpan(b []byte, s *Span, proxy string) []byte {
	b = appendBytes(b, spanTraceID, s.TraceID[:])
	b = appendBytes(b, spanSpanID, s.SpanID[:])
	if s.ParentID != ([8]byte{}) {
		b = appendBytes(b, spanParentID, s.ParentID[:])
	}
	b = appendText(b, spanName, s.Name)
	b = appendVarint(b, spanKind, uint64(s.Kind))
	b = appendTime(b, spanStart, s.Start)
	b = appendTime(b, spanEnd, s.End)
	b = appendAttrs(b, spanAttributes, s.Attrs)
	if proxy != "" {
		b = appendAttr(b, spanAttributes, Str(semconv.WeftProxy, proxy))
	}
	for i := range s.Events {
		b = appendEvent(b, &s.Events[i])
	}
	for i := range s.Links {
		b = appendLink(b, &s.Links[i])
	}
	if s.Error {
		message := clean(s.StatusMessage)
		b = protowire.AppendTag(b, spanStatus, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(sizeText(statusMessage, message)+protowire.SizeTag(statusCode)+1))
		b = appendText(b, statusMessage, message)
		b = appendVarint(b, statusCode, statusError)
	}
	return b
}

func appendEvent(b []byte, e *Event) []byte {
	name := clean(e.Name)
	size := protowire.SizeTag(eventTime) + 8 + sizeText(eventName, name) + sizeAttrs(eventAttributes, e.Attrs)
	b = protowire.AppendTag(b, spanEvents, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendTime(b, eventTime, e.Time)
	b = appendText(b, eventName, name)
	return appendAttrs(b, eventAttributes, e.Attrs)
}

func appendLink(b []byte, l *Link) []byte {
	size := protowire.SizeTag(linkTraceID) + protowire.SizeBytes(len(l.TraceID)) +
		protowire.SizeTag(linkSpanID) + protowire.SizeBytes(len(l.SpanID)) + sizeAttrs(linkAttributes, l.Attrs)
	b = protowire.AppendTag(b, spanLinks, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendBytes(b, linkTraceID, l.TraceID[:])
	b = appendBytes(b, linkSpanID, l.SpanID[:])
	return appendAttrs(b, linkAttributes, l.Attrs)
}

func appendRecord(b []byte, r *Record) []byte {
	b = appendTime(b, logTime, r.Time)
	b = appendVarint(b, logSeverity, uint64(r.Severity))
	b = appendText(b, logSeverityText, severityText(r.Severity))
	body := clean(r.Body)
	b = protowire.AppendTag(b, logBody, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(protowire.SizeTag(1)+protowire.SizeBytes(len(body))))
	b = protowire.AppendTag(b, protowire.Number(textValue), protowire.BytesType)
	b = protowire.AppendString(b, body)
	b = appendAttrs(b, logAttributes, r.Attrs)
	if r.TraceID != ([16]byte{}) {
		b = appendBytes(b, logTraceID, r.TraceID[:])
	}
	if r.SpanID != ([8]byte{}) {
		b = appendBytes(b, logSpanID, r.SpanID[:])
	}
	return appendTime(b, logObserved, r.Time)
}

func severityText(severity uint8) string {
	switch {
	case severity >= SeverityError:
		return "ERROR"
	case severity >= SeverityWarn:
		return "WARN"
	case severity >= SeverityInfo:
		return "INFO"
	default:
		return "DEBUG"
	}
}

func appendAttrs(b []byte, field protowire.Number, attrs []Attr) []byte {
	for i := range attrs {
		b = appendAttr(b, field, attrs[i])
	}
	return b
}

func appendAttr(b []byte, field protowire.Number, a Attr) []byte {
	a = a.cleaned()
	value := sizeValue(a)
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(sizeKeyValue(a, value)))
	b = protowire.AppendTag(b, keyValueKey, protowire.BytesType)
	b = protowire.AppendString(b, a.Key)
	b = protowire.AppendTag(b, keyValueValue, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(value))
	switch a.kind {
	case boolValue, intValue:
		b = protowire.AppendTag(b, protowire.Number(a.kind), protowire.VarintType)
		return protowire.AppendVarint(b, a.num)
	case floatValue:
		b = protowire.AppendTag(b, protowire.Number(a.kind), protowire.Fixed64Type)
		return protowire.AppendFixed64(b, a.num)
	default:
		b = protowire.AppendTag(b, protowire.Number(textValue), protowire.BytesType)
		return protowire.AppendString(b, a.text)
	}
}

func sizeAttrs(field protowire.Number, attrs []Attr) int {
	size := 0
	for i := range attrs {
		a := attrs[i].cleaned()
		size += protowire.SizeTag(field) + protowire.SizeBytes(sizeKeyValue(a, sizeValue(a)))
	}
	return size
}

func sizeKeyValue(a Attr, value int) int {
	return protowire.SizeTag(keyValueKey) + protowire.SizeBytes(len(a.Key)) + protowire.SizeTag(keyValueValue) + protowire.SizeBytes(value)
}

func sizeValue(a Attr) int {
	switch a.kind {
	case boolValue, intValue:
		return protowire.SizeTag(1) + protowire.SizeVarint(a.num)
	case floatValue:
		return protowire.SizeTag(1) + 8
	default:
		return protowire.SizeTag(1) + protowire.SizeBytes(len(a.text))
	}
}

func (a Attr) cleaned() Attr {
	a.Key = clean(a.Key)
	if a.kind == textValue {
		a.text = clean(a.text)
	}
	return a
}

// clean cuts long text and replaces invalid UTF-8: one such byte, chosen by a client, would make a strict receiver
// refuse the whole batch. It allocates only when it changes something.
func clean(text string) string {
	if len(text) <= maxText && utf8.ValidString(text) {
		return text
	}
	text = strings.ToValidUTF8(text[:min(len(text), maxText)], "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

// appendText leaves out empty text, as proto3 does.
func appendText(b []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, clean(v))
}

func sizeText(field protowire.Number, v string) int {
	if v == "" {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeBytes(len(v))
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, v)
}

func appendTime(b []byte, field protowire.Number, at time.Time) []byte {
	return appendFixed64(b, field, uint64(at.UnixNano()))
}
