package table

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"weft/collector/store/sealed/column"
)

func (k *chunk) encodeTexts(rows []uint32, p *piece) {
	e := k.w.enc
	if k.rank == nil {
		k.encodeLong(rows, p)
		return
	}
	e.ints = e.ints[:0]
	low, high := int32(math.MaxInt32), int32(-1)
	for i, row := range rows {
		n := k.ids[row]
		if n == 0 || p.levels != nil {
			p.level(e, i, n == 0)
		}
		if n != 0 {
			place := k.rank[n-1]
			low, high = min(low, place), max(high, place)
			e.ints = append(e.ints, place)
		}
	}
	p.values = k.places(e.ints)
	if k.statistics() && high >= 0 {
		p.min, p.max = lower(k.dict[low]), upper(k.dict[high])
	}
}

func (k *chunk) encodeLong(rows []uint32, p *piece) {
	e := k.w.enc
	e.bytes, e.offsets = e.bytes[:0], append(e.offsets[:0], 0)
	low, high := "", ""
	for i, row := range rows {
		n := k.ids[row]
		if n == 0 || p.levels != nil {
			p.level(e, i, n == 0)
		}
		if n == 0 {
			continue
		}
		text := k.texts[n-1]
		e.bytes = append(e.bytes, text...)
		e.offsets = append(e.offsets, uint32(len(e.bytes)))
		if len(e.offsets) == 2 {
			low, high = text, text
		} else if text < low {
			low = text
		} else if text > high {
			high = text
		}
	}
	e.values, _ = lengthEncoding.EncodeByteArray(e.values, e.bytes, e.offsets)
	p.values = e.values
	if k.statistics() && len(e.offsets) > 1 {
		p.min, p.max = lower(low), upper(high)
	}
}

func (k *chunk) encodeNumbers(rows []uint32, p *piece) {
	e := k.w.enc
	e.longs = e.longs[:0]
	for i, row := range rows {
		null := k.isNull(row)
		if null || p.levels != nil {
			p.level(e, i, null)
		}
		if !null {
			e.longs = append(e.longs, k.Column.nums[row])
		}
	}
	k.numberBounds(p)
	switch {
	case k.nums != nil:
		e.ints = e.ints[:0]
		for _, v := range e.longs {
			e.ints = append(e.ints, k.place[v])
		}
		p.values = k.places(e.ints)
	case k.Kind == column.Bool:
		p.values = make([]byte, (len(e.longs)+7)/8)
		for i, v := range e.longs {
			p.values[i/8] |= byte(v) << (i % 8)
		}
	case k.delta:
		e.bytes, _ = longEncoding.EncodeInt64(e.bytes[:0], e.longs)
		p.values = e.bytes
	default:
		e.bytes = e.bytes[:0]
		for _, v := range e.longs {
			e.bytes = binary.LittleEndian.AppendUint64(e.bytes, uint64(v))
		}
		p.values = e.bytes
	}
}

func (k *chunk) numberBounds(p *piece) {
	values := k.w.enc.longs
	if len(values) == 0 {
		return
	}
	switch k.Kind {
	case column.Double:
		low, high := math.Inf(1), math.Inf(-1)
		for _, v := range values {
			if isNaN(v) {
				return // no bounds: a reader could take NaN for anything
			}
			f := math.Float64frombits(uint64(v))
			low, high = min(low, f), max(high, f)
		}
		if low == 0 {
			low = math.Copysign(0, -1)
		}
		if high == 0 {
			high = 0
		}
		p.min, p.max = number(int64(math.Float64bits(low))), number(int64(math.Float64bits(high)))
	case column.Bool:
		p.min, p.max = []byte{byte(slices.Min(values))}, []byte{byte(slices.Max(values))}
	default:
		p.min, p.max = number(slices.Min(values)), number(slices.Max(values))
	}
}

// boundLen is how much of a text its bounds show.
const boundLen = 48

// lower is a short text that is not above text.
func lower(text string) []byte { return []byte(short(text)) }

// upper is a short text that is not below text; nil when there is none.
func upper(text string) []byte {
	cut := short(text)
	if len(cut) == len(text) {
		return []byte(text)
	}
	if last := string(utf8.MaxRune); len(text)-len(cut) >= len(last) && text[len(cut):len(cut)+len(last)] == last {
		return nil
	}
	return append([]byte(cut), string(utf8.MaxRune)...)
}

func short(text string) string {
	if len(text) <= boundLen {
		return text
	}
	n := boundLen
	for n > boundLen-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// observe adds a page to the statistics.
func (k *chunk) observe(rows int, p piece) {
	s := &k.meta.Statistics
	s.NullCount += int64(p.nulls)
	if !k.statistics() {
		return
	}
	x := &k.index
	none := p.nulls == rows
	x.NullPages = append(x.NullPages, none)
	x.NullCounts = append(x.NullCounts, int64(p.nulls))
	if none {
		p.min, p.max = []byte{}, []byte{}
	} else if p.min == nil || p.max == nil {
		k.blind, s.MinValue, s.MaxValue = true, nil, nil
		return
	}
	x.MinValues, x.MaxValues = append(x.MinValues, bytes.Clone(p.min)), append(x.MaxValues, bytes.Clone(p.max))
	if none {
		return
	}
	if s.MinValue == nil || column.Compare(k.Kind, p.min, s.MinValue) < 0 {
		s.MinValue = bytes.Clone(p.min)
	}
	if s.MaxValue == nil || column.Compare(k.Kind, p.max, s.MaxValue) > 0 {
		s.MaxValue = bytes.Clone(p.max)
	}
}

// ascending says whether the pages' bounds ascend.
func (k *chunk) ascending() bool {
	x := &k.index
	for i := 1; i < len(x.NullPages); i++ {
		if x.NullPages[i] || x.NullPages[i-1] || column.Compare(k.Kind, x.MinValues[i-1], x.MinValues[i]) > 0 || column.Compare(k.Kind, x.MaxValues[i-1], x.MaxValues[i]) > 0 {
			return false
		}
	}
	return true
}

// bloom is the split-block filter of a chunk, about ten bits a distinct value, as Parquet has it.
func (k *chunk) bloom() ([]byte, error) {
	var hashes []uint64
	var h bloom.XXH64
	switch {
	case k.rank != nil:
		for _, text := range k.dict {
			hashes = append(hashes, h.Sum64([]byte(text)))
		}
	case k.Kind == column.ID:
		last := []byte(nil)
		for _, row := range k.order {
			if id := k.id(row); !isZero(id) && !bytes.Equal(id, last) {
				hashes, last = append(hashes, h.Sum64(id)), id
			}
		}
	default:
		for _, row := range k.order {
			if n := k.ids[row]; n != 0 {
				hashes = append(hashes, h.Sum64([]byte(k.texts[n-1])))
			}
		}
		slices.Sort(hashes)
		hashes = slices.Compact(hashes)
	}
	const bitsPerValue, blockBits = 10, 256
	blocks := 1 << bits.Len(uint(len(hashes)*bitsPerValue/blockBits)) // some readers want a power of two
	filter := make(bloom.SplitBlockFilter, blocks)
	filter.InsertBulk(hashes)
	head, err := thrift.Marshal(compact, &format.BloomFilterHeader{
		NumBytes:    int32(len(filter.Bytes())),
		Algorithm:   format.BloomFilterAlgorithm{Block: &format.SplitBlockAlgorithm{}},
		Hash:        format.BloomFilterHash{XxHash: &format.XxHash{}},
		Compression: format.BloomFilterCompression{Uncompressed: &format.BloomFilterUncompressed{}},
	})
	return append(head, filter.Bytes()...), err
}
