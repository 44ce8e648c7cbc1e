package index

import (
	"cmp"
	"slices"

	"weft/collector/store/key"
)

// Entry says that a key leads to a row.
type Entry struct {
	Key key.Key
	Row uint32
}

// prefix is what an entry keeps of a key.
func prefix(k key.Key) uint32 { return uint32(k >> 32) }

// Sort puts entries into the order of the file, each once.
func Sort(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Row, b.Row))
	})
	return slices.Compact(entries)
}
