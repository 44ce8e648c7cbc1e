package column

import (
	"encoding/binary"
	"encoding/json"
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
	// FooterSum is the CRC32C of the footer.
	FooterSum uint32
	places    map[string]int
	bytes     int // about, in memory
}

// Group is a row group.
type Group struct {
	First  int64 // row in the file
	Rows   int
	Chunks []Chunk
	start  int64 // offset of its first page
	end    int64 // and behind its last, and its Bloom filters
	// Where its column indexes and its offset indexes are, and their checksums.
	bounds, offsets span
	sums            [2]uint32
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
	if size < int64(len(Magic)+len(FooterTag)+sumLen+tailLen) {
		return nil, damaged("it has %d bytes", size)
	}
	var tail [tailLen]byte
	if err := readFull(r, tail[:], size-tailLen); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != Magic || n > maxFooter || n > size-int64(len(Magic)+len(FooterTag)+sumLen+tailLen) {
		return nil, damaged("it does not end as a Parquet file does")
	}
	raw := make([]byte, len(FooterTag)+sumLen+int(n))
	if err := readFull(r, raw, size-tailLen-int64(len(raw))); err != nil {
		return nil, err
	}
	footer := raw[len(FooterTag)+sumLen:]
	if string(raw[:len(FooterTag)]) != FooterTag || binary.LittleEndian.Uint32(raw[len(FooterTag):]) != crc32.Checksum(footer, castagnoli) {
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
	m = &Meta{Facts: map[string]string{}, Rows: f.NumRows, FooterSum: crc32.Checksum(raw, castagnoli), places: map[string]int{}}
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
	var sums [][2]uint32
	if err := json.Unmarshal([]byte(m.Facts[FactSums]), &sums); err != nil || len(sums) != len(f.RowGroups) {
		return nil, damaged("%d row groups, checksums of %d", len(f.RowGroups), len(sums))
	}
	first := int64(0)
	for i := range f.RowGroups {
		end := int64(0)
		if i+1 < len(f.RowGroups) {
			end = f.RowGroups[i+1].FileOffset
		} else if len(f.RowGroups[i].Columns) > 0 {
			end = f.RowGroups[0].Columns[0].ColumnIndexOffset
		}
		g, err := m.group(&f.RowGroups[i], end, size)
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
		g.First, g.sums = first, sums[i]
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

func (m *Meta) group(in *format.RowGroup, end, size int64) (Group, error) {
	g := Group{Rows: int(in.NumRows), start: in.FileOffset, end: end}
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
		if !g.bounds.extend(k.bounds) || !g.offsets.extend(k.offsets) {
			return g, damaged("the indexes of column %s do not lie behind the others", d.Name)
		}
		m.bytes += 160 + len(k.Min) + len(k.Max)
		k.meta = nil
		g.Chunks = append(g.Chunks, k)
	}
	if g.start < int64(len(Magic)) || g.end < g.start || g.end > size {
		return g, damaged("bytes %d to %d", g.start, g.end)
	}
	return g, nil
}

// extend takes in the span that follows.
func (s *span) extend(next span) bool {
	if next.len == 0 {
		return true
	}
	if s.len == 0 {
		*s = next
		return true
	}
	if s.at+int64(s.len) != next.at || int64(s.len)+int64(next.len) > maxFooter {
		return false
	}
	s.len += next.len
	return true
}

// readBlock reads all indexes of one kind and checks them.
func (g *Group) readBlock(r io.ReaderAt, s span, sum uint32) ([]byte, error) {
	raw := make([]byte, s.len)
	if err := readFull(r, raw, s.at); err != nil {
		return nil, err
	}
	if crc32.Checksum(raw, castagnoli) != sum {
		return nil, damaged("bytes %d to %d, page indexes", s.at, s.at+int64(s.len))
	}
	return raw, nil
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
		inside(k.offsets.at, int64(k.offsets.len)) && inside(k.bounds.at, int64(k.bounds.len))
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
	body, err := g.readBlock(r, g.offsets, g.sums[1])
	if err != nil {
		return nil, 0, err
	}
	out := make(locations, len(g.Chunks))
	all := make([]location, 0, len(body)/6)
	for i := range g.Chunks {
		o := g.Chunks[i].offsets
		a, n := o.at-g.offsets.at, len(all)
		if all, err = appendLocations(all, body[a:a+int64(o.len)]); err != nil {
			return nil, 0, err
		}
		out[i] = all[n:len(all):len(all)]
		if !ordered(out[i], g) {
			return nil, 0, damaged("the pages of column %d are not in order", i)
		}
	}
	return out, int64(len(body)), nil
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

// parseBounds reads the column index of a chunk in the block of its row group.
func (g *Group) parseBounds(block []byte, column, pages int) (b *Bounds, err error) {
	defer guard(&err)
	k := &g.Chunks[column]
	if k.bounds.len == 0 {
		return nil, nil
	}
	at := k.bounds.at - g.bounds.at
	var x format.ColumnIndex
	if err := thrift.Unmarshal(compact, block[at:at+int64(k.bounds.len)], &x); err != nil {
		return nil, damaged("column index: %v", err)
	}
	if len(x.NullPages) != pages || len(x.MinValues) != pages || len(x.MaxValues) != pages {
		return nil, damaged("a column index of %d pages, not %d", len(x.NullPages), pages)
	}
	for i := range x.NullPages {
		if !x.NullPages[i] && (k.kind == Int || k.kind == Time || k.kind == Double) && (len(x.MinValues[i]) != 8 || len(x.MaxValues[i]) != 8) {
			return nil, damaged("a column index with bounds of %d bytes", len(x.MinValues[i]))
		}
	}
	return &Bounds{x.NullPages, x.MinValues, x.MaxValues}, nil
}
