package index

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Key is the hash of an ID.
type Key uint64

// TraceKey is the key of a trace ID.
func TraceKey(id [16]byte) Key { return Key(xxhash.Sum64(id[:])) }

// TextKey is the key of a request ID or of any other ID in text.
func TextKey(id string) Key { return Key(xxhash.Sum64String(id)) }

// Entry says that a key leads to a row.
type Entry struct {
	Key Key
	Row uint32
}

// prefix is what an entry keeps of a key.
func (k Key) prefix() uint32 { return uint32(k >> 32) }

// Sort puts entries into the order of the file, each once.
func Sort(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Row, b.Row))
	})
	return slices.Compact(entries)
}
