package index

import (
	"cmp"
	"runtime"
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
	entries = SortSpread(entries, func(e *Entry) uint64 { return uint64(e.Key) }, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Row, b.Row))
	})
	return slices.Compact(entries)
}

// spreadBits is how many leading bits SortSpread deals items out by.
const spreadBits = 16

// SortSpread sorts many items whose first 64 bits, which compare orders by before all else, are evenly spread, as those of
// hashes and random IDs are: it deals them out by their leading bits, then sorts the few that share them. The result may be
// in memory of its own.
func SortSpread[T any](items []T, first func(*T) uint64, compare func(a, b T) int) []T {
	if len(items) < 1<<spreadBits/16 {
		slices.SortFunc(items, compare)
		return items
	}
	var ends [1<<spreadBits + 1]uint32
	for i := range items {
		ends[first(&items[i])>>(64-spreadBits)+1]++
	}
	for i := range len(ends) - 1 {
		ends[i+1] += ends[i]
	}
	sorted := make([]T, len(items))
	for i := range items {
		end := &ends[first(&items[i])>>(64-spreadBits)]
		sorted[*end] = items[i]
		*end++
	}
	from := uint32(0)
	for i, end := range ends[:1<<spreadBits] {
		if end-from > 1 {
			slices.SortFunc(sorted[from:end], compare)
		}
		if from = end; i%1024 == 0 {
			runtime.Gosched() // whoever asks goes first
		}
	}
	return sorted
}
