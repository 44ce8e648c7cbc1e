package build

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"

	"weft/collector/store/key"
	"weft/collector/store/sealed/index"
)

// sortKey is what rows are ordered by.
type sortKey struct {
	high, low uint64 // the trace ID
	time      int64
	span      uint64 // of spans; of log records the batch they came in, or the row group
	row       uint32
}

func spanKey(trace [16]byte, start int64, span [8]byte, row int) sortKey {
	return sortKey{
		binary.BigEndian.Uint64(trace[:8]), binary.BigEndian.Uint64(trace[8:]), start, binary.BigEndian.Uint64(span[:]), uint32(row),
	}
}

func (k *sortKey) sameTrace(o *sortKey) bool { return k.high == o.high && k.low == o.low }
func (k *sortKey) orphan() bool              { return k.high == 0 && k.low == 0 }

// sorter puts rows in order and leaves out those that are there already.
type sorter struct {
	keys []sortKey
	// bare are the hashes of rows that have no identity but all that they are.
	bare map[uint32]uint64
}

func (s *sorter) noteHash(row int, hash uint64) {
	if s.bare == nil {
		s.bare = map[uint32]uint64{}
	}
	s.bare[uint32(row)] = hash
}

func (s *sorter) sort() {
	s.keys = index.SortSpread(s.keys, func(k *sortKey) uint64 { return k.high }, compareKeys)
}

func compareKeys(a, b sortKey) int {
	switch {
	case a.high != b.high:
		return cmp.Compare(a.high, b.high)
	case a.low != b.low:
		return cmp.Compare(a.low, b.low)
	case a.time != b.time:
		return cmp.Compare(a.time, b.time)
	case a.span != b.span:
		return cmp.Compare(a.span, b.span)
	}
	return cmp.Compare(a.row, b.row)
}

// runs calls fn with the keys of each trace.
func (s *sorter) runs(fn func(run []sortKey)) {
	for from := 0; from < len(s.keys); {
		end := from + 1
		for end < len(s.keys) && s.keys[end].sameTrace(&s.keys[from]) {
			end++
		}
		fn(s.keys[from:end])
		from = end
	}
}

// few is how many rows are compared with one another, rather than entered in a table.
const few = 16

// spanOrder is the rows in order, each span once: the one that came first.
func (s *sorter) spanOrder() []uint32 {
	s.sort()
	order := make([]uint32, 0, len(s.keys))
	s.runs(func(run []sortKey) {
		drop := s.repeated(run)
		for i := range run {
			if !drop[run[i].row] {
				order = append(order, run[i].row)
			}
		}
	})
	return order
}

// repeated are the rows of a trace that another row is the same span as, which came before.
func (s *sorter) repeated(run []sortKey) (drop map[uint32]bool) {
	type identity struct{ span, bare uint64 }
	var seen map[identity]uint32
	if len(run) <= few && !s.twins(run) {
		return nil
	}
	seen, drop = make(map[identity]uint32, len(run)), map[uint32]bool{}
	for i := range run {
		k := &run[i]
		id := identity{k.span, s.bare[k.row]}
		first, twice := seen[id]
		if !twice {
			seen[id] = k.row
			continue
		}
		drop[max(first, k.row)] = true
		seen[id] = min(first, k.row)
	}
	return drop
}

// twins says whether two rows of a short trace have one span ID.
func (s *sorter) twins(run []sortKey) bool {
	for i := range run {
		for j := range i {
			if run[i].span == run[j].span {
				return true
			}
		}
	}
	return false
}

// Entries are the index entries of the rows in their order: the first row of each trace, and the first in it of each
// other ID.
func (b *Rows) Entries() []index.Entry {
	order := b.Order
	const none = ^uint32(0)
	place := make([]uint32, b.row)
	for i := range place {
		place[i] = none
	}
	run := make([]uint32, len(order))
	entries := make([]index.Entry, 0, len(order)/4+len(b.ids))
	var last []byte
	for i, row := range order {
		if i%yieldRows == 0 {
			runtime.Gosched()
		}
		place[row] = uint32(i)
		trace := b.trace.ID(row)
		switch run[i] = uint32(i); {
		case i > 0 && bytes.Equal(trace, last) && b.sameRun(order[i-1], row):
			run[i] = run[i-1]
		case [16]byte(trace) != [16]byte{}:
			entries = append(entries, index.Entry{Key: key.OfTrace([16]byte(trace)), Row: uint32(i)})
		}
		last = trace
	}
	from := len(entries)
	for _, id := range b.ids {
		if at := place[id.row]; at != none {
			entries = append(entries, index.Entry{Key: id.key, Row: at})
		}
	}
	ids := index.Sort(entries[from:])
	ids = slices.CompactFunc(ids, func(a, b index.Entry) bool { return a.Key == b.Key && run[a.Row] == run[b.Row] })
	return append(entries[:from], ids...)
}

// sameRun says whether two rows without a trace belong together: they have one request ID. Rows with neither are each
// a run of its own.
func (b *builder) sameRun(a, c uint32) bool {
	if [16]byte(b.trace.ID(c)) != [16]byte{} {
		return true
	}
	id := b.request.Text(c)
	return id != "" && id == b.request.Text(a)
}
