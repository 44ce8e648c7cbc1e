package column

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// Values are the values of a page or of a dictionary. Each is named by its place.
type Values struct {
	Kind    Kind
	Len     int
	nums    []int64
	data    []byte
	text    []byte // memory that data may be in
	offsets []uint32
	width   int
}

// Text is a text as a view, valid for as long as the Values are.
func (v *Values) Text(place int32) string {
	return view(v.data[v.offsets[place]:v.offsets[place+1]])
}

// Int is an integer, or a time in Unix nanoseconds.
func (v *Values) Int(place int32) int64 { return v.nums[place] }

// Double is a floating-point number.
func (v *Values) Double(place int32) float64 { return math.Float64frombits(uint64(v.nums[place])) }

// Bool is a boolean.
func (v *Values) Bool(place int32) bool { return v.nums[place] != 0 }

// ID is an ID as a view.
func (v *Values) ID(place int32) []byte {
	return v.data[int(place)*v.width : (int(place)+1)*v.width]
}

// Page is rows of one column.
type Page struct {
	First, End int     // rows in the group
	Places     []int32 // of each row's value, -1 = null; nil = all are null
	*Values
	Shared bool // the values are the chunk's dictionary

	own         Values  // of a page without a dictionary
	read, plain []byte  // as it is in the file, and decompressed
	places      []int32 // what Places is when it is not nil
	levelBytes  []byte
	numbers     []int32 // places in the dictionary, of the rows that are not null
}

// pages are pages that nobody holds, for the memory they have.
var pages = sync.Pool{New: func() any { return new(Page) }}

// maxKept is the size of a page beyond which its memory is not kept.
const maxKept = 256 << 10

// newPage is a page of rows rows from first on, all of them null so far.
func newPage(first, rows int) *Page {
	p := pages.Get().(*Page)
	p.First, p.End, p.Values, p.Shared, p.Places = first, first+rows, nil, false, nil
	return p
}

// release gives the memory of the page, and of all that it shows, to others.
func (p *Page) release() {
	if n := cap(p.plain) + cap(p.read); n > 0 && n <= maxKept {
		pages.Put(p)
	}
}

// sized is a slice of so many elements, in the memory of another if that is enough.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// At is the place of a row's value, -1 = null. The row is counted in the group and must be in the page.
func (p *Page) At(row int) int32 {
	if p.Places == nil {
		return -1
	}
	return p.Places[row-p.First]
}

const maxPage = 1 << 30

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // only for options that do not fit one another
	}
	return d
}}

// body reads the header of a page, checks and decompresses its body, into the memory given if that is enough.
func (k *Chunk) body(buf, into []byte, kind format.PageType) (pageHeader, []byte, error) {
	h, n, err := readPageHeader(buf)
	if err != nil {
		return h, nil, err
	}
	body := buf[n:]
	if h.kind != int64(kind) || h.size != int64(len(body)) || h.raw > maxPage {
		return h, nil, damaged("a page of %d bytes is not what it should be", len(buf))
	}
	if crc32.ChecksumIEEE(body) != h.crc {
		return h, nil, damaged("the page's checksum is wrong")
	}
	if k.codec == format.Zstd {
		d := decoders.Get().(*zstd.Decoder)
		defer decoders.Put(d)
		if body, err = d.DecodeAll(body, sized(into, int(h.raw)+16)[:0]); err != nil {
			return h, nil, damaged("page: %v", err)
		}
	}
	if int64(len(body)) != h.raw {
		return h, nil, damaged("a page of %d bytes has %d", h.raw, len(body))
	}
	return h, body, nil
}

// readDict reads the dictionary of a chunk.
func (k *Chunk) readDict(r io.ReaderAt) (v *Values, n int64, err error) {
	defer guard(&err)
	if k.data <= k.dict || k.data-k.dict > maxPage {
		return nil, 0, damaged("a dictionary of %d bytes", k.data-k.dict)
	}
	buf := make([]byte, k.data-k.dict)
	if err := readFull(r, buf, k.dict); err != nil {
		return nil, 0, err
	}
	h, body, err := k.body(buf, nil, format.DictionaryPage)
	if err != nil {
		return nil, 0, err
	}
	v = &Values{Kind: k.kind}
	if k.kind != Text && k.kind != JSON {
		return v, int64(len(buf)), v.plain(body, int(h.values))
	}
	v.Len = int(h.values)
	v.offsets = make([]uint32, 1, min(v.Len, len(body))+1)
	v.data = body[:0]
	for range v.Len {
		if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
			return nil, 0, damaged("dictionary")
		}
		n := binary.LittleEndian.Uint32(body)
		v.data = append(v.data, body[4:4+n]...) // moves down in place
		v.offsets = append(v.offsets, uint32(len(v.data)))
		body = body[4+n:]
	}
	return v, int64(len(buf)), nil
}

// plain reads n values in plain encoding.
func (v *Values) plain(body []byte, n int) error {
	if v.Len = n; v.Kind == ID {
		if len(body) != n*v.width {
			return damaged("%d IDs in %d bytes", n, len(body))
		}
		v.data = body
		return nil
	}
	if v.Kind == Bool {
		if len(body) != (n+7)/8 {
			return damaged("%d booleans in %d bytes", n, len(body))
		}
		v.nums = sized(v.nums, n)
		for i := range v.nums {
			v.nums[i] = int64(body[i/8] >> (i % 8) & 1)
		}
		return nil
	}
	if len(body) != 8*n {
		return damaged("%d numbers in %d bytes", n, len(body))
	}
	v.nums = sized(v.nums, n)
	for i := range v.nums {
		v.nums[i] = int64(binary.LittleEndian.Uint64(body[8*i:]))
	}
	return nil
}

// readPage reads a data page of rows rows.
func (k *Chunk) readPage(r io.ReaderAt, at location, rows int, dict *Values) (p *Page, err error) {
	defer guard(&err)
	p = newPage(int(at.first), rows)
	p.read = sized(p.read, int(at.size))
	if err := readFull(r, p.read, at.at); err != nil {
		return nil, err
	}
	h, body, err := k.body(p.read, p.plain, format.DataPage)
	if err != nil {
		return nil, err
	}
	if k.codec == format.Zstd {
		p.plain = body
	}
	if h.values != int64(rows) || len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
		return nil, damaged("a page of %d rows has %d", rows, h.values)
	}
	p.places = sized(p.places, rows)
	p.Places = p.places
	n := binary.LittleEndian.Uint32(body)
	some, err := p.levels(body[4 : 4+n])
	if err != nil {
		return nil, err
	}
	body = body[4+n:]
	if h.encoding == int64(format.RLEDictionary) {
		if dict == nil {
			return nil, damaged("a page without its dictionary")
		}
		p.Values, p.Shared = dict, true
		return p, p.setPlaces(body, some)
	}
	p.own.Kind, p.own.width, p.own.Len = k.kind, k.width, 0
	if p.Values = &p.own; some == 0 {
		p.Places = nil
		return p, nil
	}
	return p, p.decode(format.Encoding(h.encoding), body, some)
}

// levels numbers the rows that are not null.
func (p *Page) levels(raw []byte) (some int, err error) {
	if u, n := binary.Uvarint(raw); n > 0 && n+1 == len(raw) && u == uint64(len(p.Places))<<1 { // one run: all or none
		if raw[n] == 0 {
			for i := range p.Places {
				p.Places[i] = -1
			}
			return 0, nil
		}
		for i := range p.Places {
			p.Places[i] = int32(i)
		}
		return len(p.Places), nil
	}
	levels, err := levelEncoding.DecodeLevels(p.levelBytes[:0], raw)
	if p.levelBytes = levels; err != nil || len(levels) < len(p.Places) {
		return 0, damaged("levels: %v", err)
	}
	for i := range p.Places {
		if p.Places[i] = -1; levels[i] != 0 {
			p.Places[i] = int32(some)
			some++
		}
	}
	return some, nil
}

// setPlaces replaces the numbers of rows by their places in the dictionary.
func (p *Page) setPlaces(body []byte, some int) error {
	if some == 0 {
		p.Places = nil
		return nil
	}
	if len(body) == 0 || body[0] > 32 {
		return damaged("a page without places")
	}
	encoding := rle.Encoding{BitWidth: int(body[0])}
	in := sized(p.numbers, some+8)[:0]
	if body[0] == 0 {
		in = in[:some]
		clear(in)
	} else {
		var err error
		if in, err = encoding.DecodeInt32(in, body[1:]); err != nil || len(in) < some {
			return damaged("places in the dictionary: %v", err)
		}
	}
	p.numbers = in
	for i, n := range p.Places {
		if n < 0 {
			continue
		}
		if p.Places[i] = in[n]; uint32(in[n]) >= uint32(p.Len) {
			return damaged("a place beyond the dictionary")
		}
	}
	return nil
}

func (p *Page) decode(e format.Encoding, body []byte, some int) (err error) {
	v := p.Values
	switch e {
	case format.Plain:
		return v.plain(body, some)
	case format.DeltaBinaryPacked:
		v.Len = some
		v.nums, err = longEncoding.DecodeInt64(sized(v.nums, some)[:0], body)
		if err == nil && len(v.nums) != some {
			return damaged("%d numbers, not %d", len(v.nums), some)
		}
	case format.DeltaLengthByteArray:
		v.Len = some
		v.data, v.offsets, err = lengthEncoding.DecodeByteArray(v.text[:0], body, v.offsets[:0])
		v.text = v.data
		if err == nil && len(v.offsets) != some+1 {
			return damaged("%d texts, not %d", len(v.offsets)-1, some)
		}
	default:
		return damaged("encoding %v", e)
	}
	if err != nil {
		return damaged("%v", err)
	}
	return nil
}
