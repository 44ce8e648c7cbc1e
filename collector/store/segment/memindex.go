package segment

import (
	"cmp"
	"slices"
	"sync"
)

// memIndex is the index of a file that is still written: a hash table of chains, newest first. An entry takes 16 bytes
// and its share of the table, 5 to 11.
type memIndex struct {
	mu     sync.RWMutex
	table  []uint32  // open addressing by key; 1 + number of the key's newest entry, 0 = free
	chunks [][]entry // entries by number; chunks never move, so growth copies only the table
	n      int
	keys   int // used slots of table
}

type entry struct {
	key    Key
	offset uint32
	older  uint32 // 1 + number of the next entry of this key, 0 = none
}

const chunkLen = 4096

func newMemIndex() *memIndex { return &memIndex{table: make([]uint32, 1024)} }

func (m *memIndex) at(number uint32) *entry { return &m.chunks[number/chunkLen][number%chunkLen] }

// slot is where key is, or where it belongs.
func (m *memIndex) slot(key Key) int {
	mask := len(m.table) - 1
	for i := int(uint64(key)>>20) & mask; ; i = (i + 1) & mask {
		if m.table[i] == 0 || m.at(m.table[i]-1).key == key {
			return i
		}
	}
}

// add notes that the batch at offset holds keys; doubled keys are noted once.
func (m *memIndex) add(keys []Key, offset uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		i := m.slot(key)
		newest := m.table[i]
		if newest != 0 && m.at(newest-1).offset == offset {
			continue
		}
		if m.n%chunkLen == 0 {
			m.chunks = append(m.chunks, make([]entry, chunkLen))
		}
		*m.at(uint32(m.n)) = entry{key, offset, newest}
		m.n++
		m.table[i] = uint32(m.n)
		if newest == 0 {
			if m.keys++; m.keys > len(m.table)*3/4 {
				m.grow()
			}
		}
	}
}

func (m *memIndex) grow() {
	old := m.table
	m.table = make([]uint32, 2*len(old))
	for _, newest := range old {
		if newest != 0 {
			m.table[m.slot(m.at(newest-1).key)] = newest
		}
	}
}

// lookup returns the offsets of the batches that may hold key, newest first.
func (m *memIndex) lookup(key Key) ([]uint32, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []uint32
	for next := m.table[m.slot(key)]; next != 0; next = m.at(next - 1).older {
		out = append(out, m.at(next-1).offset)
	}
	return out, nil
}

func (m *memIndex) len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.n
}

// bytes is the memory the index takes.
func (m *memIndex) bytes() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int64(len(m.chunks))*chunkLen*16 + int64(len(m.table))*4
}

type pair struct {
	key    Key
	offset uint32
}

// sorted returns every entry by key, then offset.
func (m *memIndex) sorted() []pair {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]pair, m.n)
	for i := range out {
		e := m.at(uint32(i))
		out[i] = pair{e.key, e.offset}
	}
	slices.SortFunc(out, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.offset, b.offset))
	})
	return out
}
