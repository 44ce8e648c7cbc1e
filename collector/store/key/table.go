package key

import "sync"

// Table finds the batches of a file that is still written: a hash table of chains, newest first. An entry takes 16 bytes
// and its share of the table, 5 to 11.
type Table struct {
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

// NewTable makes an empty table.
func NewTable() *Table { return &Table{table: make([]uint32, 1024)} }

func (t *Table) at(number uint32) *entry { return &t.chunks[number/chunkLen][number%chunkLen] }

// slot is where key is, or where it belongs.
func (t *Table) slot(key Key) int {
	mask := len(t.table) - 1
	for i := int(uint64(key)>>20) & mask; ; i = (i + 1) & mask {
		if t.table[i] == 0 || t.at(t.table[i]-1).key == key {
			return i
		}
	}
}

// Add notes that the batch at offset holds keys; doubled keys are noted once.
func (t *Table) Add(keys []Key, offset uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		i := t.slot(key)
		newest := t.table[i]
		if newest != 0 && t.at(newest-1).offset == offset {
			continue
		}
		if t.n%chunkLen == 0 {
			t.chunks = append(t.chunks, make([]entry, chunkLen))
		}
		*t.at(uint32(t.n)) = entry{key, offset, newest}
		t.n++
		t.table[i] = uint32(t.n)
		if newest == 0 {
			if t.keys++; t.keys > len(t.table)*3/4 {
				t.grow()
			}
		}
	}
}

func (t *Table) grow() {
	old := t.table
	t.table = make([]uint32, 2*len(old))
	for _, newest := range old {
		if newest != 0 {
			t.table[t.slot(t.at(newest-1).key)] = newest
		}
	}
}

// Lookup returns the offsets of the batches that may hold key, newest first.
func (t *Table) Lookup(key Key) []int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []int64
	for next := t.table[t.slot(key)]; next != 0; next = t.at(next - 1).older {
		out = append(out, int64(t.at(next-1).offset))
	}
	return out
}

// Len is the number of entries.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.n
}

// Bytes is the memory the table takes.
func (t *Table) Bytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(len(t.chunks))*chunkLen*16 + int64(len(t.table))*4
}
