package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"weft/internal/wal"
)

// An index file is, all numbers little endian:
//
//	header  64 bytes: magic "WEFTIDX1", entries, bloom blocks, size of the log file, records, first and last receipt
//	        (Unix nanoseconds), 4 zero bytes, CRC32C of the 60 bytes before
//	bloom   blocks of 64 bytes: a Bloom filter of 480 bits for the keys that hash to the block, then the CRC32C of it
//	        (blocked filter: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007)
//	pages   of 4096 bytes: 341 entries (key 8, offset 4) in order of key, then offset, the rest of the last page
//	        all ones; then the CRC32C of the page
//
// A lookup reads one block, and if the filter says "maybe" one or two pages, found by interpolation. Nothing is
// mapped into memory: a bad disk is an error, not a signal.
const (
	indexMagic   = "WEFTIDX1"
	headerSize   = 64
	blockSize    = 64
	blockBits    = (blockSize - 4) * 8
	keysPerBlock = 40 // 12 bits a key: about 1 false "maybe" in 200
	probes       = 6
	pageSize     = 4096
	entrySize    = 12
	perPage      = (pageSize - 4) / entrySize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that an index does not check. Its log file makes a new one.
var errDamaged = errors.New("index is damaged")

// summary is what is known of a file besides its keys.
type summary struct {
	size        int64 // of the log file
	records     int64
	first, last int64 // receipt, Unix nanoseconds; 0 = no records
}

func (s *summary) add(received int64) {
	if s.records++; s.records == 1 {
		s.first, s.last = received, received
	}
	s.first, s.last = min(s.first, received), max(s.last, received)
}

func (s summary) lastTime() time.Time { return time.Unix(0, s.last) }

// writeIndex publishes an index under path: written beside it, synced, renamed, the folder synced.
func writeIndex(fs wal.FS, path string, pairs []pair, s summary) (err error) {
	tmp := path + ".tmp"
	if err := fs.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodeIndex(pairs, s), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fs.Remove(tmp))
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

func encodeIndex(pairs []pair, s summary) []byte {
	keys := 0
	for i := range pairs {
		if i == 0 || pairs[i].key != pairs[i-1].key {
			keys++
		}
	}
	blocks := (keys + keysPerBlock - 1) / keysPerBlock
	pages := (len(pairs) + perPage - 1) / perPage
	out := make([]byte, headerSize+blocks*blockSize+pages*pageSize)
	h := out[:headerSize]
	copy(h, indexMagic)
	for i, v := range []uint64{uint64(len(pairs)), uint64(blocks), uint64(s.size), uint64(s.records), uint64(s.first), uint64(s.last)} {
		binary.LittleEndian.PutUint64(h[8+8*i:], v)
	}
	seal(h)
	bloom := out[headerSize : headerSize+blocks*blockSize]
	for i := range pairs {
		if i == 0 || pairs[i].key != pairs[i-1].key {
			b := blockOf(pairs[i].key, blocks)
			eachBit(pairs[i].key, func(bit uint32) bool {
				bloom[b*blockSize+int(bit/8)] |= 1 << (bit % 8)
				return true
			})
		}
	}
	for b := range blocks {
		seal(bloom[b*blockSize : (b+1)*blockSize])
	}
	body := out[headerSize+len(bloom):]
	for p := range pages {
		page := body[p*pageSize : (p+1)*pageSize]
		for i := range page {
			page[i] = 0xff
		}
		for i, e := range pairs[p*perPage : min((p+1)*perPage, len(pairs))] {
			binary.LittleEndian.PutUint64(page[i*entrySize:], uint64(e.key))
			binary.LittleEndian.PutUint32(page[i*entrySize+8:], e.offset)
		}
		seal(page)
	}
	return out
}

// seal puts the checksum of b's other bytes into its last four.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
}

func sealed(b []byte) bool {
	return binary.LittleEndian.Uint32(b[len(b)-4:]) == crc32.Checksum(b[:len(b)-4], castagnoli)
}

// mix spreads a key again, so that filter bits and page numbers are independent (splitmix64, Steele et al. 2014).
func mix(k Key) uint64 {
	z := uint64(k) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func blockOf(k Key, blocks int) int { return int(mix(k) >> 32 % uint64(blocks)) }

// eachBit walks the filter bits of a key until fn says no.
func eachBit(k Key, fn func(bit uint32) bool) {
	h := mix(k)
	a, b := uint32(h), uint32(mix(Key(h)))|1
	for range probes {
		if !fn(uint32(uint64(a) * blockBits >> 32)) {
			return
		}
		a += b
	}
}

// indexFile reads a published index.
type indexFile struct {
	summary
	f      wal.File
	path   string
	n      int
	blocks int
	pages  int
	bytes  int64
}

// openIndex reads and checks the header.
func openIndex(fs wal.FS, path string) (*indexFile, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil {
		var x *indexFile
		if x, err = newIndexFile(f, path, size); err == nil {
			return x, nil
		}
	}
	f.Close()
	return nil, err
}

func newIndexFile(f wal.File, path string, size int64) (*indexFile, error) {
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if string(h[:8]) != indexMagic || !sealed(h) {
		return nil, fmt.Errorf("%w: %s: header", errDamaged, path)
	}
	field := func(i int) int64 { return int64(binary.LittleEndian.Uint64(h[8+8*i:])) }
	x := &indexFile{
		summary: summary{field(2), field(3), field(4), field(5)},
		f:       f, path: path, n: int(field(0)), blocks: int(field(1)), bytes: size,
	}
	x.pages = (x.n + perPage - 1) / perPage
	const limit = 1 << 40
	if x.n < 0 || x.n > limit || x.blocks < 0 || x.blocks > limit || x.n > 0 && x.blocks == 0 ||
		size != headerSize+int64(x.blocks)*blockSize+int64(x.pages)*pageSize {
		return nil, fmt.Errorf("%w: %s: %d bytes do not fit %d entries", errDamaged, path, size, x.n)
	}
	return x, nil
}

// read fetches a sealed piece and checks it.
func (x *indexFile) read(buf []byte, off int64) error {
	if _, err := x.f.ReadAt(buf, off); err == io.EOF {
		return fmt.Errorf("%w: %s: too short", errDamaged, x.path)
	} else if err != nil {
		return err
	}
	if !sealed(buf) {
		return fmt.Errorf("%w: %s: bytes %d to %d", errDamaged, x.path, off, off+int64(len(buf)))
	}
	return nil
}

// maybe asks the filter.
func (x *indexFile) maybe(key Key) (bool, error) {
	if x.n == 0 {
		return false, nil
	}
	var block [blockSize]byte
	if err := x.read(block[:], headerSize+int64(blockOf(key, x.blocks))*blockSize); err != nil {
		return false, err
	}
	all := true
	eachBit(key, func(bit uint32) bool {
		all = block[bit/8]&(1<<(bit%8)) != 0
		return all
	})
	return all, nil
}

// page reads entries of page p.
func (x *indexFile) page(p int, buf []byte) ([]pair, error) {
	if err := x.read(buf, headerSize+int64(x.blocks)*blockSize+int64(p)*pageSize); err != nil {
		return nil, err
	}
	out := make([]pair, min(perPage, x.n-p*perPage))
	for i := range out {
		out[i] = pair{Key(binary.LittleEndian.Uint64(buf[i*entrySize:])), binary.LittleEndian.Uint32(buf[i*entrySize+8:])}
	}
	return out, nil
}

// lookup returns the offsets of the batches that may hold key, newest first.
func (x *indexFile) lookup(key Key) ([]uint32, error) {
	if ok, err := x.maybe(key); err != nil || !ok {
		return nil, err
	}
	buf := make([]byte, pageSize)
	p, err := x.firstPage(key, buf)
	if err != nil {
		return nil, err
	}
	var out []uint32
	for ; p < x.pages; p++ {
		entries, err := x.page(p, buf)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.key == key {
				out = append(out, e.offset)
			}
		}
		if entries[len(entries)-1].key > key {
			break
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}

// firstPage is the first page whose last key is not below key. Keys are evenly spread hashes: the place where the key
// should be is at most a few pages off, so steps from there double until they pass it, then halve.
func (x *indexFile) firstPage(key Key, buf []byte) (int, error) {
	lo, hi := 0, x.pages // the answer is in [lo, hi]
	guess, step, up, down := int(float64(key)/(1<<64)*float64(x.pages)), 1, false, false
	for lo < hi {
		guess = min(max(guess, lo), hi-1)
		entries, err := x.page(guess, buf)
		if err != nil {
			return 0, err
		}
		if entries[len(entries)-1].key < key {
			lo, up = guess+1, true
			guess += step
		} else if entries[0].key < key {
			return guess, nil // the page before ends below key
		} else {
			hi, down = guess, true
			guess -= step
		}
		if step *= 2; up && down {
			guess = (lo + hi) / 2
		}
	}
	return lo, nil
}

// all returns every entry after checking every byte of the file; for Check.
func (x *indexFile) all() ([]pair, error) {
	block := make([]byte, blockSize)
	for b := range x.blocks {
		if err := x.read(block, headerSize+int64(b)*blockSize); err != nil {
			return nil, err
		}
	}
	var out []pair
	buf := make([]byte, pageSize)
	for p := range x.pages {
		entries, err := x.page(p, buf)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if n := len(out); n > 0 && (out[n-1].key > e.key || out[n-1].key == e.key && out[n-1].offset >= e.offset) {
				return nil, fmt.Errorf("%w: %s: entry %d is out of order", errDamaged, x.path, n)
			}
			out = append(out, e)
		}
	}
	return out, nil
}
