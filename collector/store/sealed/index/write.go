package index

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"weft/collector/store/key"
	"weft/internal/wal"
)

const (
	magic        = "WEFTIDX2"
	headerSize   = 64
	blockSize    = 64
	blockBits    = (blockSize - 4) * 8
	keysPerBlock = 40 // 12 bits a key: about 1 false "maybe" in 200
	probes       = 6
	pageSize     = 4096
	entrySize    = 8
	perPage      = (pageSize - 8) / entrySize
	sumSize      = 4
	maxSummary   = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// About is what an index says of the file with the rows.
type About struct {
	Size    int64  // of that file
	Footer  uint32 // CRC32C of its footer
	Summary []byte
}

// layout is where the parts of an index lie.
type layout struct {
	entries, blocks, pages int
	bloom, body, size      int64
}

func layoutOf(entries, blocks, summary int) layout {
	l := layout{entries: entries, blocks: blocks, pages: (entries + perPage - 1) / perPage}
	l.bloom = roundUp(int64(headerSize+summary+sumSize), blockSize)
	l.body = roundUp(l.bloom+int64(blocks)*blockSize, pageSize)
	l.size = l.body + int64(l.pages)*pageSize
	return l
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Write writes an index into an empty file. Entries are in order (Sort). It does not sync.
func Write(f wal.File, entries []Entry, about About) error {
	raw := encode(entries, about)
	const piece = 1 << 20
	for off := 0; off < len(raw); off += piece {
		if _, err := f.WriteAt(raw[off:min(off+piece, len(raw))], int64(off)); err != nil {
			return err
		}
	}
	return nil
}

func encode(entries []Entry, about About) []byte {
	keys := 0
	for i := range entries {
		if i == 0 || entries[i].Key != entries[i-1].Key {
			keys++
		}
	}
	l := layoutOf(len(entries), (keys+keysPerBlock-1)/keysPerBlock, len(about.Summary))
	out := make([]byte, l.size)
	h := out[:headerSize]
	copy(h, magic)
	for i, v := range []int64{int64(l.entries), int64(l.blocks), int64(len(about.Summary)), about.Size, int64(about.Footer)} {
		binary.LittleEndian.PutUint64(h[8+8*i:], uint64(v))
	}
	seal(h)
	copy(out[headerSize:], about.Summary)
	seal(out[headerSize : headerSize+len(about.Summary)+sumSize])
	bloom := out[l.bloom : l.bloom+int64(l.blocks)*blockSize]
	for i := range entries {
		if i == 0 || entries[i].Key != entries[i-1].Key {
			b := blockOf(entries[i].Key, l.blocks)
			eachBit(entries[i].Key, func(bit uint32) bool {
				bloom[b*blockSize+int(bit/8)] |= 1 << (bit % 8)
				return true
			})
		}
	}
	for b := range l.blocks {
		seal(bloom[b*blockSize : (b+1)*blockSize])
	}
	encodePages(out[l.body:], entries)
	return out
}

func encodePages(body []byte, entries []Entry) {
	order := func(a, b Entry) int {
		return cmp.Or(cmp.Compare(prefix(a.Key), prefix(b.Key)), cmp.Compare(a.Row, b.Row))
	}
	if !slices.IsSortedFunc(entries, order) { // keys with one prefix, rows the other way round
		entries = slices.Clone(entries)
		slices.SortFunc(entries, order)
	}
	for p := range len(body) / pageSize {
		page := body[p*pageSize : (p+1)*pageSize]
		for i := range perPage * entrySize {
			page[i] = 0xff
		}
		for i, e := range entries[p*perPage : min((p+1)*perPage, len(entries))] {
			binary.LittleEndian.PutUint32(page[i*entrySize:], prefix(e.Key))
			binary.LittleEndian.PutUint32(page[i*entrySize+4:], e.Row)
		}
		seal(page)
	}
}

// seal puts the checksum of b's other bytes into its last four.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[len(b)-sumSize:], crc32.Checksum(b[:len(b)-sumSize], castagnoli))
}

func sealed(b []byte) bool {
	return binary.LittleEndian.Uint32(b[len(b)-sumSize:]) == crc32.Checksum(b[:len(b)-sumSize], castagnoli)
}

// mix spreads a key again, so that filter bits and page numbers are independent (splitmix64, Steele et al. 2014).
func mix(k key.Key) uint64 {
	z := uint64(k) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func blockOf(k key.Key, blocks int) int { return int(mix(k) >> 32 % uint64(blocks)) }

// eachBit walks the filter bits of a key until fn says no.
func eachBit(k key.Key, fn func(bit uint32) bool) {
	h := mix(k)
	a, b := uint32(h), uint32(mix(key.Key(h)))|1
	for range probes {
		if !fn(uint32(uint64(a) * blockBits >> 32)) {
			return
		}
		a += b
	}
}
