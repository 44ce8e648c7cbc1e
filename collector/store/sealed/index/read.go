package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"weft/collector/store/key"
	"weft/internal/wal"
)

// ErrDamaged says that an index does not check. It can be made again from the rows.
var ErrDamaged = errors.New("index is damaged")

// File reads an index. It holds about a hundred bytes in memory.
type File struct {
	About
	f    wal.File
	path string
	layout
}

// Open reads and checks the header and the summary of the index in f, and then owns f.
func Open(f wal.File, path string) (*File, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	x := &File{f: f, path: path}
	var h [headerSize]byte
	if err := x.read(h[:], 0); err != nil {
		return nil, err
	}
	field := func(i int) int64 { return int64(binary.LittleEndian.Uint64(h[8+8*i:])) }
	entries, blocks, summary := field(0), field(1), field(2)
	const limit = 1 << 32
	if string(h[:8]) != magic || entries < 0 || entries > limit || blocks < 0 || blocks > limit || summary < 0 || summary > maxSummary ||
		entries > 0 && blocks == 0 {
		return nil, x.fault("header")
	}
	if x.layout = layoutOf(int(entries), int(blocks), int(summary)); x.size != size {
		return nil, x.fault("%d bytes do not fit %d entries", size, entries)
	}
	raw := make([]byte, summary+sumSize)
	if err := x.read(raw, headerSize); err != nil {
		return nil, err
	}
	x.About = About{Size: field(3), Footer: uint32(field(4)), Summary: raw[:summary]}
	return x, nil
}

// Close closes the file.
func (x *File) Close() error { return x.f.Close() }

// Bytes is the size of the file.
func (x *File) Bytes() int64 { return x.size }

// Entries is how many there are.
func (x *File) Entries() int { return x.entries }

func (x *File) fault(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, x.path, fmt.Sprintf(format, args...))
}

// read fetches a sealed piece and checks it.
func (x *File) read(buf []byte, off int64) error {
	if n, err := x.f.ReadAt(buf, off); n < len(buf) {
		if err == io.EOF {
			return x.fault("too short")
		}
		return err
	}
	if !sealed(buf) {
		return x.fault("bytes %d to %d", off, off+int64(len(buf)))
	}
	return nil
}

// Maybe asks the filter: false means that no row has the key.
func (x *File) Maybe(k key.Key) (bool, error) {
	if x.entries == 0 {
		return false, nil
	}
	var block [blockSize]byte
	if err := x.read(block[:], x.bloom+int64(blockOf(k, x.blocks))*blockSize); err != nil {
		return false, err
	}
	all := true
	eachBit(k, func(bit uint32) bool {
		all = block[bit/8]&(1<<(bit%8)) != 0
		return all
	})
	return all, nil
}

// page is a page of entries.
type page struct {
	raw [pageSize]byte
	n   int
}

func (p *page) prefix(i int) uint32 { return binary.LittleEndian.Uint32(p.raw[i*entrySize:]) }
func (p *page) row(i int) uint32    { return binary.LittleEndian.Uint32(p.raw[i*entrySize+4:]) }

func (x *File) page(number int, p *page) error {
	p.n = min(perPage, x.entries-number*perPage)
	return x.read(p.raw[:], x.body+int64(number)*pageSize)
}

// Rows returns the rows that a key leads to, in order. They may be rows of another key with the same upper half: their
// reader checks. bytes is what it read.
func (x *File) Rows(k key.Key) (rows []uint32, bytes int64, err error) {
	bytes = blockSize
	if ok, err := x.Maybe(k); err != nil || !ok {
		return nil, bytes, err
	}
	var p page
	number, reads, err := x.firstPage(prefix(k), &p)
	for bytes += int64(reads) * pageSize; err == nil && number < x.pages; number++ {
		if reads == 0 {
			err = x.page(number, &p)
			bytes += pageSize
		}
		if reads = 0; err != nil {
			break
		}
		for i := range p.n {
			if p.prefix(i) == prefix(k) {
				rows = append(rows, p.row(i))
			}
		}
		if p.prefix(p.n-1) > prefix(k) {
			break
		}
	}
	return rows, bytes, err
}

// firstPage is the first page whose last prefix is not below the given one; p then holds it, unless reads is 0. Keys are
// evenly spread hashes: the place where one should be is at most a few pages off, so steps from there double until they
// pass it, then halve.
func (x *File) firstPage(prefix uint32, p *page) (number, reads int, err error) {
	lo, hi := 0, x.pages // the answer is in [lo, hi]
	guess, step, up, down := int(uint64(prefix)*uint64(x.pages)>>32), 1, false, false
	held := -1
	for lo < hi {
		guess = min(max(guess, lo), hi-1)
		if err := x.page(guess, p); err != nil {
			return 0, reads, err
		}
		held, reads = guess, reads+1
		switch {
		case p.prefix(p.n-1) < prefix:
			lo, up = guess+1, true
			guess += step
		case p.prefix(0) < prefix:
			return guess, reads, nil // the page before ends below it
		default:
			hi, down = guess, true
			guess -= step
		}
		if step *= 2; up && down {
			guess = (lo + hi) / 2
		}
	}
	if held != lo && lo < x.pages {
		err = x.page(lo, p)
		reads++
	}
	return lo, reads, err
}

// Stored is an entry as the file has it: with half of its key.
type Stored struct{ Prefix, Row uint32 }

// Stored is the entry as the file has it.
func (e Entry) Stored() Stored { return Stored{prefix(e.Key), e.Row} }

// Each calls fn with every entry, in order, after checking every byte of the file.
func (x *File) Each(fn func(Stored) error) error {
	var block [blockSize]byte
	for b := range x.blocks {
		if err := x.read(block[:], x.bloom+int64(b)*blockSize); err != nil {
			return err
		}
	}
	var p page
	last, had := Stored{}, false
	for number := range x.pages {
		if err := x.page(number, &p); err != nil {
			return err
		}
		for i := range p.n {
			e := Stored{p.prefix(i), p.row(i)}
			if had && cmp.Or(cmp.Compare(last.Prefix, e.Prefix), cmp.Compare(last.Row, e.Row)) > 0 {
				return x.fault("entry %d is out of order", number*perPage+i)
			}
			if last, had = e, true; fn != nil {
				if err := fn(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
