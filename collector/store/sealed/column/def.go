package column

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Parts of a file.
const (
	Magic     = "PAR1"
	FooterTag = "WEFTCRC1"  // before the CRC32C of the footer, which comes before the footer
	FactSums  = "weft.sums" // in the footer: for each row group the CRC32C of its column indexes and of its offset indexes
	// Block is the number of rows within which the pages of all columns begin and end.
	Block = 4096
)

var (
	castagnoli     = crc32.MakeTable(crc32.Castagnoli)
	compact        = new(thrift.CompactProtocol)
	levelEncoding  = rle.Encoding{BitWidth: 1}
	longEncoding   = delta.BinaryPackedEncoding{}
	lengthEncoding = delta.LengthByteArrayEncoding{}
)

// Sum is the CRC32C of bytes.
func Sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Kind is what the values of a column are.
type Kind uint8

// The kinds of columns, with their Parquet types.
const (
	Text   Kind = iota // BYTE_ARRAY (STRING): valid UTF-8
	JSON               // BYTE_ARRAY (STRING): JSON text; without statistics, which would help nobody
	Int                // INT64
	Time               // INT64 (TIMESTAMP NANOS UTC)
	Double             // DOUBLE
	Bool               // BOOLEAN
	ID                 // FIXED_LEN_BYTE_ARRAY; all zero is null
)

// Def describes a column.
type Def struct {
	Name  string
	Kind  Kind
	Width int  // bytes of an ID
	Bloom bool // with a Bloom filter for foreign readers
	// Sorted says of IDs that rows are in their order, so that bounds of pages find one.
	Sorted bool
	Raw    bool // not worth compressing; that must not differ between row groups, or some readers stumble
}

// Physical is the Parquet type of a kind.
func Physical(k Kind) format.Type {
	return [...]format.Type{format.ByteArray, format.ByteArray, format.Int64, format.Int64, format.Double, format.Boolean, format.FixedLenByteArray}[k]
}

// Compare orders two values as statistics hold them.
func Compare(kind Kind, a, b []byte) int {
	switch kind {
	case Int, Time:
		return cmpInt(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)))
	case Double:
		x, y := math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b))
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	return bytes.Compare(a, b)
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Same says whether two files have the same columns, so that row groups of one fit the other.
func (m *Meta) Same(o *Meta) bool { return slices.Equal(m.Columns, o.Columns) }

// view shows bytes as text without copying them.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
