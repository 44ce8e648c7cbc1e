package segment

import (
	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"weft/internal/semconv"
)

// Key is the hash of an ID that batches are found by.
type Key uint64

// TraceKey is the key of a trace ID.
func TraceKey(id [16]byte) Key { return Key(xxhash.Sum64(id[:])) }

// TextKey is the key of a request ID or of any other ID in text.
func TextKey(id string) Key { return Key(xxhash.Sum64String(id)) }

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
// value counts.
func (ids *IDs) Each(attrs pcommon.Map, fn func(string) bool) {
	for name, value := range attrs.All() {
		if ids.lengths&(1<<(len(name)&63)) == 0 || !ids.names[name] {
			continue
		}
		if value.Type() == pcommon.ValueTypeSlice && value.Slice().Len() > 0 {
			value = value.Slice().At(0)
		}
		if text := value.AsString(); text != "" && !fn(text) {
			return
		}
	}
}

// Has says whether id is among them.
func (ids *IDs) Has(attrs pcommon.Map, id string) (found bool) {
	ids.Each(attrs, func(text string) bool {
		found = text == id
		return !found
	})
	return found
}
