// Package key is the hash that an ID is found by, and the table of hashes of a log file that is still written.
package key

import (
	"github.com/cespare/xxhash/v2"

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
		if text := value.String(); text != "" && !fn(text) {
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
