package table

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"weft/collector/store/sealed/column"
)

const (
	textBytes = 64 << 10  // a page of long values is cut to fewer rows than a block, to be about so long before compression
	pageBytes = 16 << 10  // one of numbers and IDs, which compress no better in longer ones
	pageLimit = 1 << 20   // and where a few values are longer than the others, wherever it has grown so long
	dictBytes = 128 << 10 // a look-up reads whole dictionaries
	dictShare = 4         // a dictionary must be so many times smaller than the values
	dictInts  = 4096
)

// chunk is a column of a row group that is being written.
type chunk struct {
	*Column
	w      *Writer
	order  []uint32
	filled int // rows that are not null
	meta   format.ColumnMetaData
	pages  []format.PageLocation
	index  format.ColumnIndex

	rank  []int32 // of each number of Text and JSON, or nil without a dictionary: its place in the dictionary
	dict  []string
	nums  []int64 // the dictionary of numbers
	width int     // bits of a place in the dictionary
	place map[int64]int32
	delta bool // of numbers
	blind bool // a page has no bounds, so none can be told of the chunk
}

func (k *chunk) statistics() bool {
	return !k.blind && k.Kind != column.JSON && (k.Kind != column.ID || k.Sorted)
}

func (k *chunk) write() error {
	k.meta = format.ColumnMetaData{
		Type: column.Physical(k.Kind), PathInSchema: []string{k.Name}, NumValues: int64(len(k.order)),
		Encoding: []format.Encoding{format.RLE}, Codec: format.Zstd,
	}
	if k.Raw {
		k.meta.Codec = format.Uncompressed
	}
	if k.count(); k.filled == 0 {
		k.meta.Encoding = append(k.meta.Encoding, format.Plain)
		return k.page(0, len(k.order), piece{nulls: len(k.order), encoding: format.Plain})
	}
	k.choose()
	if k.dictionary() {
		k.meta.Encoding = append(k.meta.Encoding, format.Plain, format.RLEDictionary)
		if err := k.dictionaryPage(); err != nil {
			return err
		}
	} else {
		k.meta.Encoding = append(k.meta.Encoding, k.encoding())
	}
	step := k.pageRows()
	for first := 0; first < len(k.order); {
		rows := min(step, len(k.order)-first)
		if k.Kind == column.Text || k.Kind == column.JSON {
			rows = k.cut(first, rows)
		}
		runtime.Gosched() // whoever asks must not wait for who writes
		p := k.encode(k.order[first : first+rows])
		if err := k.page(first, rows, p); err != nil {
			return err
		}
		first += rows
	}
	if k.statistics() && k.ascending() {
		k.index.BoundaryOrder = format.Ascending
	}
	return nil
}

// count counts the rows that are not null.
func (k *chunk) count() {
	if k.filled = k.some; k.some == 0 || len(k.order) == k.rows {
		return
	}
	k.filled = 0
	for _, row := range k.order {
		switch k.Kind {
		case column.Text, column.JSON:
			if k.ids[row] != 0 {
				k.filled++
			}
		case column.ID:
			if !isZero(k.id(row)) {
				k.filled++
			}
		default:
			if !k.isNull(row) {
				k.filled++
			}
		}
	}
}

func (k *chunk) dictionary() bool { return k.rank != nil || k.nums != nil }

func (k *chunk) encoding() format.Encoding {
	switch {
	case k.dictionary():
		return format.RLEDictionary
	case k.Kind == column.Text || k.Kind == column.JSON:
		return format.DeltaLengthByteArray
	case k.delta:
		return format.DeltaBinaryPacked
	}
	return format.Plain
}

// choose decides on the encoding.
func (k *chunk) choose() {
	switch k.Kind {
	case column.Text, column.JSON:
		k.chooseText()
	case column.Int, column.Time, column.Double:
		k.chooseNumbers()
	}
}

func (k *chunk) chooseText() {
	size := 0
	for i, text := range k.texts {
		if !utf8.ValidString(text) { // every reader counts on it
			k.texts[i] = strings.ToValidUTF8(text, "\uFFFD")
		}
	}
	for _, text := range k.texts {
		if size += len(text) + 4; size > dictBytes {
			return
		}
	}
	if size*dictShare > k.plain+4*k.some {
		return
	}
	used := make([]bool, len(k.texts))
	for _, row := range k.order {
		if n := k.ids[row]; n != 0 {
			used[n-1] = true
		}
	}
	sorted := make([]uint32, 0, len(k.texts))
	for n, ok := range used {
		if ok {
			sorted = append(sorted, uint32(n))
		}
	}
	slices.SortFunc(sorted, func(a, b uint32) int {
		if k.texts[a] < k.texts[b] {
			return -1
		}
		return 1
	})
	k.rank, k.dict = make([]int32, len(k.texts)), make([]string, 0, len(sorted))
	for place, n := range sorted {
		k.rank[n] = int32(place)
		k.dict = append(k.dict, k.texts[n])
	}
	k.width = bits.Len(uint(max(1, len(k.dict)) - 1))
}

func (k *chunk) chooseNumbers() {
	limit := min(dictInts, k.some/dictShare)
	k.place = make(map[int64]int32, 64)
	last, had := int64(0), false
	for _, row := range k.order {
		if v := k.Column.nums[row]; !k.isNull(row) && (!had || v != last) {
			k.place[v] = 0
			if last, had = v, true; len(k.place) > limit {
				k.chooseDelta()
				return
			}
		}
	}
	k.nums = make([]int64, 0, len(k.place))
	for v := range k.place {
		k.nums = append(k.nums, v)
	}
	slices.Sort(k.nums)
	for i, v := range k.nums {
		k.place[v] = int32(i)
	}
	k.width = bits.Len(uint(max(1, len(k.nums)) - 1))
}

// chooseDelta tries both ways on the first page.
func (k *chunk) chooseDelta() {
	if k.place = nil; k.Kind == column.Double {
		return
	}
	rows := k.order[:min(column.Block, len(k.order))]
	plain := len(k.coder().EncodeAll(k.encode(rows).values, nil))
	k.delta = true
	k.delta = len(k.coder().EncodeAll(k.encode(rows).values, nil)) < plain
}

// pageRows is how many rows a page has.
func (k *chunk) pageRows() int {
	size := k.Width
	switch {
	case k.dictionary() || k.Kind == column.Bool:
		return column.Block
	case k.Kind == column.Text || k.Kind == column.JSON:
		size = k.plain / len(k.ids)
	case k.Kind != column.ID:
		size = 8
	}
	rows, bytes := column.Block, pageBytes
	if k.Kind == column.Text || k.Kind == column.JSON {
		bytes = textBytes
	}
	for rows > 64 && rows*size > bytes {
		rows /= 2
	}
	return rows
}

// cut shortens a page that would be too long.
func (k *chunk) cut(first, rows int) int {
	if k.dictionary() {
		return rows
	}
	size := 0
	for i, row := range k.order[first : first+rows] {
		if n := k.ids[row]; n != 0 {
			if size += len(k.texts[n-1]); size > pageLimit && i > 0 {
				return i
			}
		}
	}
	return rows
}

// piece is the encoded values of a page.
type piece struct {
	nulls    int
	levels   []uint8 // nil when nothing is null
	values   []byte
	encoding format.Encoding
	min, max []byte // nil = none
}

var (
	levelEncoding  = rle.Encoding{BitWidth: 1}
	longEncoding   = delta.BinaryPackedEncoding{}
	lengthEncoding = delta.LengthByteArrayEncoding{}
)

// page writes a data page.
func (k *chunk) page(first, rows int, p piece) error {
	e := k.w.enc
	e.page = append(e.page[:0], 0, 0, 0, 0)
	switch {
	case p.nulls == 0:
		e.page = append(binary.AppendUvarint(e.page, uint64(rows)<<1), 1)
	case p.nulls == rows:
		e.page = append(binary.AppendUvarint(e.page, uint64(rows)<<1), 0)
	default:
		var err error
		if e.runs, err = levelEncoding.EncodeLevels(e.runs, p.levels); err != nil {
			return err
		}
		e.page = append(e.page, e.runs...)
	}
	binary.LittleEndian.PutUint32(e.page, uint32(len(e.page)-4))
	if p.encoding == format.RLEDictionary {
		e.page = append(e.page, byte(k.width))
	}
	e.page = append(e.page, p.values...)
	at := k.w.offset()
	size, err := k.put(e.page, format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(rows), Encoding: p.encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	})
	if err != nil {
		return err
	}
	if len(k.pages) == 0 {
		k.meta.DataPageOffset = at
	}
	k.pages = append(k.pages, format.PageLocation{Offset: at, CompressedPageSize: int32(size), FirstRowIndex: int64(first)})
	k.observe(rows, p)
	return nil
}

// coder is the compressor: a thorough one for long texts and for times, which it serves best.
func (k *chunk) coder() *zstd.Encoder {
	if !k.dictionary() && (k.Kind == column.Text || k.Kind == column.JSON || k.Kind == column.Time) {
		return k.w.enc.thorough
	}
	return k.w.enc.fast
}

// put compresses and appends a page.
func (k *chunk) put(raw []byte, h format.PageHeader) (int, error) {
	body := raw
	if k.meta.Codec == format.Zstd {
		k.w.enc.compressed = k.coder().EncodeAll(raw, k.w.enc.compressed[:0])
		body = k.w.enc.compressed
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(raw)), int32(len(body))
	h.CRC = int32(crc32.ChecksumIEEE(body))
	head, err := thrift.Marshal(compact, &h)
	if err != nil {
		return 0, err
	}
	k.meta.TotalUncompressedSize += int64(len(head) + len(raw))
	k.meta.TotalCompressedSize += int64(len(head) + len(body))
	return len(head) + len(body), k.w.append(head, body)
}

func (k *chunk) dictionaryPage() error {
	var raw []byte
	n := len(k.dict)
	if k.nums != nil {
		n = len(k.nums)
		for _, v := range k.nums {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		}
	}
	for _, text := range k.dict {
		raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(text))), text...)
	}
	k.meta.DictionaryPageOffset = k.w.offset()
	_, err := k.put(raw, format.PageHeader{
		Type: format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
			NumValues: int32(n), Encoding: format.Plain, IsSorted: k.Kind != column.Double,
		}),
	})
	return err
}

// encode makes the values of a page.
func (k *chunk) encode(rows []uint32) piece {
	p := piece{encoding: k.encoding()}
	switch {
	case k.Kind == column.ID:
		k.encodeIDs(rows, &p)
	case k.Kind == column.Text || k.Kind == column.JSON:
		k.encodeTexts(rows, &p)
	default:
		k.encodeNumbers(rows, &p)
	}
	return p
}

// level notes whether a row is null.
func (p *piece) level(e *encoder, i int, null bool) {
	if p.levels == nil {
		if !null {
			return
		}
		e.levels = e.levels[:0]
		for range i {
			e.levels = append(e.levels, 1)
		}
		p.levels = e.levels
	}
	if null {
		p.nulls++
		p.levels = append(p.levels, 0)
	} else {
		p.levels = append(p.levels, 1)
	}
	e.levels = p.levels
}

func (k *chunk) encodeIDs(rows []uint32, p *piece) {
	e := k.w.enc
	e.bytes = e.bytes[:0]
	for i, row := range rows {
		id := k.id(row)
		if k.some < k.rows {
			null := isZero(id)
			if p.level(e, i, null); null {
				continue
			}
		}
		e.bytes = append(e.bytes, id...)
		if k.statistics() {
			p.bounds(id)
		}
	}
	p.values = e.bytes
}

func (p *piece) bounds(v []byte) {
	if p.min == nil || slices.Compare(v, p.min) < 0 {
		p.min = v
	}
	if p.max == nil || slices.Compare(v, p.max) > 0 {
		p.max = v
	}
}

// places writes places in the dictionary.
func (k *chunk) places(places []int32) []byte {
	e := k.w.enc
	encoding := rle.Encoding{BitWidth: k.width}
	e.bytes, _ = encoding.EncodeInt32(e.bytes[:0], places) // every place fits the width
	return e.bytes
}

func number(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

func isNaN(v int64) bool { return math.IsNaN(math.Float64frombits(uint64(v))) }
