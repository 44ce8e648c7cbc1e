// Package key is the hash that an ID is found by, and the table of hashes of a log file that is still written.
package key

import (
	"github.com/cespare/xxhash/v2"

	"weft/collector/signal"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// Key is the hash of an ID that batches are found by.
type Key uint64

// OfTrace is the key of a trace ID.
func OfTrace(id [16]byte) Key { return Key(xxhash.Sum64(id[:])) }

// OfText is the key of a request ID or of any other ID in text.
func OfText(id string) Key { return Key(xxhash.Sum64String(id)) }

// IDs finds the request IDs among attributes, by all their names.
type IDs struct {
	names   map[string]bool
	lengths uint64 // bit n is set when a name has n bytes, so that most attributes are passed over at once
}

// NewIDs knows the aliases of the request ID and the untrusted caller's own IDs.
func NewIDs() *IDs {
	ids := &IDs{names: map[string]bool{}}
	for _, name := range append([]string{semconv.ClientRequestID, semconv.ClientTraceID}, semconv.RequestIDAliases...) {
		ids.names[name] = true
		ids.lengths |= 1 << (len(name) & 63)
	}
	return ids
}

// Each calls fn with every ID among the attributes until fn says no. Header attributes may be lists: their first
// value counts. The text is valid as long as the attributes.
func (ids *IDs) Each(attrs []otlp.Attr, fn func(string) bool) {
	for i := range attrs {
		name := attrs[i].Key
		if ids.lengths&(1<<(len(name)&63)) == 0 || !ids.names[name] {
			continue
		}
		value := attrs[i].Value.First()
		if text := signal.Valid(signal.ValueText(&value)); text != "" && !fn(text) {
			return
		}
	}
}

// Has says whether id is among them.
func (ids *IDs) Has(attrs []otlp.Attr, id string) (found bool) {
	ids.Each(attrs, func(text string) bool {
		found = text == id
		return !found
	})
	return found
}

// AppendSpan adds the keys that a span is found by: its trace ID and request IDs. A request ID that is the trace ID in
// hex needs no key of its own, and neither does what the span before had.
func (ids *IDs) AppendSpan(keys []Key, s *otlp.Span) []Key {
	if s.TraceID != [16]byte{} {
		keys = appendNew(keys, OfTrace(s.TraceID))
	}
	return ids.appendIDs(keys, s.Attrs, s.TraceID)
}

// AppendLog adds the keys that a log record is found by.
func (ids *IDs) AppendLog(keys []Key, l *otlp.Log) []Key {
	trace := TraceOf(l)
	if trace != [16]byte{} {
		keys = appendNew(keys, OfTrace(trace))
	}
	return ids.appendIDs(keys, l.Attrs, trace)
}

// TraceOf is the record's trace ID: that of the column, or else of the plain field that applications write.
func TraceOf(l *otlp.Log) [16]byte {
	if l.TraceID != [16]byte{} {
		return l.TraceID
	}
	trace, _ := signal.ParseTraceID(otlp.Find(l.Attrs, semconv.TraceIDLog).Text())
	return trace
}

func (ids *IDs) appendIDs(keys []Key, attrs []otlp.Attr, trace [16]byte) []Key {
	ids.Each(attrs, func(id string) bool {
		if other, ok := signal.ParseTraceID(id); !ok || other != trace {
			keys = appendNew(keys, OfText(id))
		}
		return true
	})
	return keys
}

// appendNew leaves out a key that is among the last few: items of one trace often lie together.
func appendNew(keys []Key, k Key) []Key {
	for i := len(keys) - 1; i >= max(0, len(keys)-3); i-- {
		if keys[i] == k {
			return keys
		}
	}
	return append(keys, k)
}
