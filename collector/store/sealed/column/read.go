package column

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// ErrDamaged says that bytes of a file do not check.
var ErrDamaged = errors.New("file is damaged")

// Meta is what a footer says, without what we never ask.
type Meta struct {
	Columns []Def
	Groups  []Group
	Facts   map[string]string
	Owner   any // what Facts made of them
	Rows    int64
	places  map[string]int
	bytes   int // about, in memory
}

// Group is a row group.
type Group struct {
	First  int64 // row in the file
	Rows   int
	Chunks []Chunk
	start  int64 // offset of its first page
	end    int64 // and behind its offset indexes
}

// Chunk is a column of a row group.
type Chunk struct {
	Nulls    int
	Min, Max []byte // as statistics have them; nil = not known
	Dict     bool
	kind     Kind
	width    int
	encoding format.Encoding
	codec    format.CompressionCodec
	dict     int64 // offset of the dictionary page; 0 = none
	data     int64
	offsets  span // offset index
	bounds   span // column index
	meta     *format.ColumnChunk
	Size     int64
}

type span struct {
	at  int64
	len int32
}

// Column is the place of a column; -1 when there is none of that name.
func (m *Meta) Column(name string) int {
	if i, ok := m.places[name]; ok {
		return i
	}
	return -1
}

const (
	tailLen   = 8
	sumLen    = 4
	maxFooter = 256 << 20
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// readFull reads what must be there.
func readFull(r io.ReaderAt, buf []byte, off int64) error {
	if n, err := r.ReadAt(buf, off); n < len(buf) {
		if err == io.EOF {
			return damaged("it ends at byte %d, before %d", off+int64(n), off+int64(len(buf)))
		}
		return err
	}
	return nil
}

// ReadMeta reads a footer.
func ReadMeta(r io.ReaderAt, size int64) (*Meta, error) {
	raw, err := readFooter(r, size)
	if err != nil {
		return nil, err
	}
	return parseMeta(raw, size)
}

func readFooter(r io.ReaderAt, size int64) ([]byte, error) {
	if size < int64(len(magic)+len(footerTag)+sumLen+tailLen) {
		return nil, damaged("it has %d bytes", size)
	}
	var tail [tailLen]byte
	if err := readFull(r, tail[:], size-tailLen); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != magic || n > maxFooter || n > size-int64(len(magic)+len(footerTag)+sumLen+tailLen) {
		return nil, damaged("it does not end as a Parquet file does")
	}
	raw := make([]byte, len(footerTag)+sumLen+int(n))
	if err := readFull(r, raw, size-tailLen-int64(len(raw))); err != nil {
		return nil, err
	}
	footer := raw[len(footerTag)+sumLen:]
	if string(raw[:len(footerTag)]) != footerTag || binary.LittleEndian.Uint32(raw[len(footerTag):]) != crc32.Checksum(footer, castagnoli) {
		return nil, damaged("the footer's checksum is wrong")
	}
	return footer, nil
}

func parseMeta(raw []byte, size int64) (m *Meta, err error) {
	defer guard(&err)
	var f format.FileMetaData
	if err := thrift.Unmarshal(compact, raw, &f); err != nil {
		return nil, damaged("footer: %v", err)
	}
	if len(f.Schema) == 0 {
		return nil, damaged("the footer has no schema")
	}
	m = &Meta{Facts: map[string]string{}, Rows: f.NumRows, places: map[string]int{}}
	for i, e := range f.Schema[1:] {
		d, err := defOf(e)
		if err != nil {
			return nil, err
		}
		m.Columns = append(m.Columns, d)
		m.places[d.Name] = i
		m.bytes += 80 + len(d.Name)
	}
	for _, kv := range f.KeyValueMetadata {
		m.Facts[kv.Key] = kv.Value
		m.bytes += 64 + len(kv.Key) + len(kv.Value)
	}
	first := int64(0)
	for i := range f.RowGroups {
		g, err := m.group(&f.RowGroups[i], size)
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
		g.First = first
		first += int64(g.Rows)
		m.Groups = append(m.Groups, g)
	}
	if first != f.NumRows {
		return nil, damaged("its row groups have %d rows, not %d", first, f.NumRows)
	}
	return m, nil
}

// guard turns a panic of a decoder, for which bytes that check are still nonsense, into an error.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = damaged("%v", p)
	}
}

func defOf(e format.SchemaElement) (Def, error) {
	d := Def{Name: e.Name}
	switch e.Type.V {
	case format.ByteArray:
		d.Kind = Text
	case format.Int64:
		if d.Kind = Int; e.LogicalType.V.Timestamp != nil {
			d.Kind = Time
		}
	case format.Double:
		d.Kind = Double
	case format.Boolean:
		d.Kind = Bool
	case format.FixedLenByteArray:
		d.Kind, d.Width = ID, int(e.TypeLength.V)
		if d.Width <= 0 || d.Width > 64 {
			return d, damaged("column %s has IDs of %d bytes", d.Name, d.Width)
		}
	default:
		return d, damaged("column %s has a type that is not ours", d.Name)
	}
	return d, nil
}

func (m *Meta) group(in *format.RowGroup, size int64) (Group, error) {
	g := Group{Rows: int(in.NumRows), start: in.FileOffset}
	if len(in.Columns) != len(m.Columns) || in.NumRows < 1 || in.NumRows > 1<<31 || len(in.Columns) == 0 {
		return g, damaged("%d rows, %d columns", in.NumRows, len(in.Columns))
	}
	for i := range in.Columns {
		c, d := &in.Columns[i], &m.Columns[i]
		k := Chunk{
			kind: d.Kind, width: d.Width, codec: c.MetaData.Codec, dict: c.MetaData.DictionaryPageOffset, data: c.MetaData.DataPageOffset,
			Nulls: int(c.MetaData.Statistics.NullCount), Min: c.MetaData.Statistics.MinValue, Max: c.MetaData.Statistics.MaxValue,
			offsets: span{c.OffsetIndexOffset, c.OffsetIndexLength}, bounds: span{c.ColumnIndexOffset, c.ColumnIndexLength},
			Dict: c.MetaData.DictionaryPageOffset > 0, meta: c, Size: c.MetaData.TotalCompressedSize,
		}
		for _, e := range c.MetaData.Encoding {
			if e != format.RLE && (e != format.Plain || !k.Dict) {
				k.encoding = e
			}
		}
		if !k.sound(g.Rows, size) {
			return g, damaged("the footer's words on column %s do not fit", d.Name)
		}
		if g.start == 0 {
			g.start = k.data
		}
		g.end = k.offsets.at + int64(k.offsets.len) + sumLen
		m.bytes += 160 + len(k.Min) + len(k.Max)
		k.meta = nil
		g.Chunks = append(g.Chunks, k)
	}
	return g, nil
}

func (k *Chunk) sound(rows int, size int64) bool {
	inside := func(at, length int64) bool { return at >= 0 && length >= 0 && at <= size && length <= size-at }
	number := func(b []byte) bool { return b == nil || len(b) == 8 }
	switch k.kind {
	case Int, Time, Double:
		if !number(k.Min) || !number(k.Max) {
			return false
		}
	}
	return k.Nulls >= 0 && k.Nulls <= rows && inside(k.dict, 0) && inside(k.data, 0) &&
		inside(k.offsets.at, int64(k.offsets.len)+sumLen) && inside(k.bounds.at, int64(k.bounds.len))
}

// location is where a page is.
type location struct {
	at    int64
	size  int32
	first int32 // row in the group
}

// locations are the pages of a row group, by column.
type locations [][]location

// readLocations reads the offset indexes of a row group, which lie in one piece.
func readLocations(r io.ReaderAt, g *Group) (locations, int64, error) {
	from, end := g.Chunks[0].offsets.at, g.end
	if end-from > maxFooter || end < from+sumLen {
		return nil, 0, damaged("offset indexes of %d bytes", end-from)
	}
	raw := make([]byte, end-from)
	if err := readFull(r, raw, from); err != nil {
		return nil, 0, err
	}
	body := raw[:len(raw)-sumLen]
	if binary.LittleEndian.Uint32(raw[len(body):]) != crc32.Checksum(body, castagnoli) {
		return nil, 0, damaged("bytes %d to %d, offset indexes", from, end)
	}
	out := make(locations, len(g.Chunks))
	all := make([]location, 0, len(body)/6)
	for i := range g.Chunks {
		o := g.Chunks[i].offsets
		a := o.at - from
		if a < 0 || a+int64(o.len) > int64(len(body)) {
			return nil, 0, damaged("offset index %d", i)
		}
		n := len(all)
		var err error
		if all, err = appendLocations(all, body[a:a+int64(o.len)]); err != nil {
			return nil, 0, err
		}
		out[i] = all[n:len(all):len(all)]
		if !ordered(out[i], g) {
			return nil, 0, damaged("the pages of column %d are not in order", i)
		}
	}
	return out, int64(len(raw)), nil
}

func ordered(pages []location, g *Group) bool {
	for i, p := range pages {
		if i == 0 && p.first != 0 || i > 0 && p.first <= pages[i-1].first || int(p.first) >= g.Rows ||
			p.at < g.start || p.size <= 0 || p.at+int64(p.size) > g.end {
			return false
		}
	}
	return len(pages) > 0
}

// Bounds are the column index of a chunk: for each page whether it is all null, and its least and greatest value.
type Bounds struct {
	Null     []bool
	Min, Max [][]byte
}

func (k *Chunk) readBounds(r io.ReaderAt, pages int) (b *Bounds, n int64, err error) {
	defer guard(&err)
	if k.bounds.len == 0 {
		return nil, 0, nil
	}
	raw := make([]byte, k.bounds.len)
	if err := readFull(r, raw, k.bounds.at); err != nil {
		return nil, 0, err
	}
	var x format.ColumnIndex
	if err := thrift.Unmarshal(compact, raw, &x); err != nil {
		return nil, 0, damaged("column index: %v", err)
	}
	if len(x.NullPages) != pages || len(x.MinValues) != pages || len(x.MaxValues) != pages {
		return nil, 0, damaged("a column index of %d pages, not %d", len(x.NullPages), pages)
	}
	for i := range x.NullPages {
		if !x.NullPages[i] && (k.kind == Int || k.kind == Time || k.kind == Double) && (len(x.MinValues[i]) != 8 || len(x.MaxValues[i]) != 8) {
			return nil, 0, damaged("a column index with bounds of %d bytes", len(x.MinValues[i]))
		}
	}
	return &Bounds{x.NullPages, x.MinValues, x.MaxValues}, int64(len(raw)), nil
}
