package table

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"weft/internal/wal"

	"weft/collector/store/sealed/column"
)

// Writer writes one file. It holds one row group's metadata per row group in memory, and a buffer.
type Writer struct {
	f       wal.File
	buf     []byte
	flushed int64
	meta    format.FileMetaData
	enc     *encoder
	sum     uint32 // of the footer
	// What goes behind the row groups, by row group: column indexes, and places of pages by column.
	bounds [][]byte
	places [][][]format.PageLocation
}

const (
	bufSize   = 1 << 20
	createdBy = "weft (parquet-go 0.29 encodings)"
)

var compact = new(thrift.CompactProtocol)

// NewWriter begins a file with these columns. The file must be empty.
func NewWriter(f wal.File, defs []column.Def) (*Writer, error) {
	enc, err := newEncoder()
	if err != nil {
		return nil, err
	}
	w := &Writer{f: f, enc: enc, buf: append(make([]byte, 0, bufSize+bufSize/4), column.Magic...)}
	w.meta = format.FileMetaData{Version: 2, CreatedBy: createdBy, Schema: []format.SchemaElement{{
		Name: "weft", NumChildren: thrift.New(int32(len(defs))),
	}}}
	for _, d := range defs {
		w.meta.Schema = append(w.meta.Schema, element(d))
		w.meta.ColumnOrders = append(w.meta.ColumnOrders, format.ColumnOrder{TypeOrder: &format.TypeDefinedOrder{}})
	}
	return w, nil
}

func element(d column.Def) format.SchemaElement {
	e := format.SchemaElement{Name: d.Name, RepetitionType: thrift.New(format.Optional), Type: thrift.New(column.Physical(d.Kind))}
	switch d.Kind {
	case column.Text, column.JSON:
		e.ConvertedType = thrift.New(deprecated.UTF8)
		e.LogicalType = thrift.New(format.LogicalType{UTF8: &format.StringType{}})
	case column.Time:
		e.LogicalType = thrift.New(format.LogicalType{Timestamp: &format.TimestampType{
			IsAdjustedToUTC: true, Unit: format.TimeUnit{Nanos: &format.NanoSeconds{}},
		}})
	case column.ID:
		e.TypeLength = thrift.New(int32(d.Width))
	}
	return e
}

// offset is where the next byte goes.
func (w *Writer) offset() int64 { return w.flushed + int64(len(w.buf)) }

func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.f.WriteAt(w.buf, w.flushed)
	if err != nil {
		return err
	}
	w.flushed += int64(n)
	w.buf = w.buf[:0]
	return nil
}

func (w *Writer) append(pieces ...[]byte) error {
	for _, p := range pieces {
		w.buf = append(w.buf, p...)
	}
	if len(w.buf) >= bufSize {
		return w.flush()
	}
	return nil
}

// Group writes the rows of t named by order, in that order, as one row group. No rows make none.
func (w *Writer) Group(t *Table, order []uint32) error {
	if len(order) == 0 {
		return nil
	}
	t.finish()
	group := format.RowGroup{NumRows: int64(len(order)), FileOffset: w.offset(), Ordinal: int16(len(w.meta.RowGroups))}
	chunks := make([]*chunk, 0, len(t.Columns))
	for _, c := range t.Columns {
		k := &chunk{Column: c, w: w, order: order}
		if err := k.write(); err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
		chunks = append(chunks, k)
		group.TotalByteSize += k.meta.TotalUncompressedSize
		group.TotalCompressedSize += k.meta.TotalCompressedSize
		group.Columns = append(group.Columns, format.ColumnChunk{FileOffset: k.meta.DataPageOffset, MetaData: k.meta})
	}
	if err := w.filters(chunks, group.Columns); err != nil {
		return err
	}
	if err := w.keep(chunks, group.Columns); err != nil {
		return err
	}
	w.meta.NumRows += group.NumRows
	w.meta.RowGroups = append(w.meta.RowGroups, group)
	return nil
}

// filters writes the Bloom filters of a row group.
func (w *Writer) filters(chunks []*chunk, out []format.ColumnChunk) error {
	for i, k := range chunks {
		if !k.Bloom || k.meta.NumValues == k.meta.Statistics.NullCount {
			continue
		}
		filter, err := k.bloom()
		if err != nil {
			return err
		}
		out[i].MetaData.BloomFilterOffset, out[i].MetaData.BloomFilterLength = w.offset(), int32(len(filter))
		if err := w.append(filter); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps a row group's indexes for the end of the file.
func (w *Writer) keep(chunks []*chunk, out []format.ColumnChunk) error {
	var block []byte
	places := make([][]format.PageLocation, len(chunks))
	for i, k := range chunks {
		places[i] = k.pages
		if !k.statistics() {
			continue
		}
		raw, err := thrift.Marshal(compact, &k.index)
		if err != nil {
			return err
		}
		out[i].ColumnIndexLength = int32(len(raw))
		block = append(block, raw...)
	}
	w.bounds, w.places = append(w.bounds, block), append(w.places, places)
	return nil
}

// indexes writes the indexes of all row groups, and returns their checksums.
func (w *Writer) indexes() (sums [][2]uint32, err error) {
	for g, block := range w.bounds {
		at := w.offset()
		for i := range w.meta.RowGroups[g].Columns {
			if c := &w.meta.RowGroups[g].Columns[i]; c.ColumnIndexLength > 0 {
				c.ColumnIndexOffset = at
				at += int64(c.ColumnIndexLength)
			}
		}
		sums = append(sums, [2]uint32{column.Sum(block)})
		if err := w.append(block); err != nil {
			return nil, err
		}
	}
	for g, places := range w.places {
		var block []byte
		for i := range places {
			raw, err := thrift.Marshal(compact, &format.OffsetIndex{PageLocations: places[i]})
			if err != nil {
				return nil, err
			}
			c := &w.meta.RowGroups[g].Columns[i]
			c.OffsetIndexOffset, c.OffsetIndexLength = w.offset()+int64(len(block)), int32(len(raw))
			block = append(block, raw...)
		}
		sums[g][1] = column.Sum(block)
		if err := w.append(block); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// Close writes the footer with what is to be known of the file besides its rows, and returns the file's size. It does
// not close the file.
func (w *Writer) Close(facts map[string]string) (int64, error) {
	sums, err := w.indexes()
	if err != nil {
		return 0, err
	}
	text, err := json.Marshal(sums)
	if err != nil {
		return 0, err
	}
	w.meta.KeyValueMetadata = append(w.meta.KeyValueMetadata, format.KeyValue{Key: column.FactSums, Value: string(text)})
	for key, value := range facts {
		w.meta.KeyValueMetadata = append(w.meta.KeyValueMetadata, format.KeyValue{Key: key, Value: value})
	}
	slices.SortFunc(w.meta.KeyValueMetadata, func(a, b format.KeyValue) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
	if w.meta.RowGroups == nil {
		w.meta.RowGroups = []format.RowGroup{}
	}
	footer, err := thrift.Marshal(compact, &w.meta)
	if err != nil {
		return 0, err
	}
	w.sum = column.Sum(footer)
	sum := binary.LittleEndian.AppendUint32([]byte(column.FooterTag), w.sum)
	if err := w.append(sum, footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte(column.Magic)); err != nil {
		return 0, err
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.flushed, w.enc.close()
}

// FooterSum is the CRC32C of the footer, once the file is closed.
func (w *Writer) FooterSum() uint32 { return w.sum }

// encoder is the compressor with its buffers.
type encoder struct {
	fast, thorough *zstd.Encoder
	compressed     []byte
	runs           []byte
	values         []byte
	page           []byte
	levels         []uint8
	ints           []int32
	longs          []int64
	bytes          []byte
	offsets        []uint32
}

// maxWindow bounds what a page needs to be read; few pages are larger.
const maxWindow = 1 << 20

func newEncoder() (*encoder, error) {
	options := []zstd.EOption{
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(maxWindow), zstd.WithLowerEncoderMem(true),
	}
	fast, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderLevel(zstd.SpeedFastest))...)
	if err != nil {
		return nil, err
	}
	thorough, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderLevel(zstd.SpeedDefault))...)
	return &encoder{fast: fast, thorough: thorough}, err
}

func (e *encoder) close() error { return errors.Join(e.fast.Close(), e.thorough.Close()) }
