// Package table holds rows in memory, column by column, and writes them as a Parquet file that package column reads.
package table

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"unsafe"

	"weft/collector/store/sealed/column"
)

// Column is a column in memory. Rows are set in ascending order; those left out are null.
type Column struct {
	column.Def
	rows int
	hint int // about how many rows there will be
	// Text, JSON: the number of each row's value, 0 = null, and the values.
	ids   []uint32
	texts []string
	plain int // bytes of all rows' values
	table []uint32
	arena []byte
	// Int, Time, Double, Bool: the bits of each row's value.
	nums []int64
	null []bool // nil when none is
	some int    // rows that are not null
	// ID: the bytes.
	data []byte
}

// Set sets a text of a row; it must stay unchanged for as long as the column lives.
func (c *Column) Set(row int, text string) { c.set(row, text, false) }

// SetCopy sets a text that its owner will use again.
func (c *Column) SetCopy(row int, text []byte) { c.set(row, view(text), true) }

// SetFrom copies a cell that is not null from a file.
func (c *Column) SetFrom(row int, v *column.Values, place int32) {
	switch c.Kind {
	case column.Text, column.JSON:
		c.set(row, v.Text(place), true)
	case column.ID:
		c.SetID(row, v.ID(place))
	default:
		c.SetInt(row, v.Int(place))
	}
}

func (c *Column) set(row int, text string, clone bool) {
	c.pad(row)
	if c.ids == nil {
		c.ids = make([]uint32, 0, c.hint)
	}
	c.ids = append(c.ids, c.number(text, clone))
	c.plain += len(text)
	c.rows, c.some = row+1, c.some+1
}

// SetInt sets an integer, or a time in Unix nanoseconds.
func (c *Column) SetInt(row int, v int64) {
	c.pad(row)
	if c.nums == nil {
		c.nums = make([]int64, 0, c.hint)
	}
	if c.nums = append(c.nums, v); c.null != nil {
		c.null = append(c.null, false)
	}
	c.rows, c.some = row+1, c.some+1
}

// SetDouble sets a floating-point number.
func (c *Column) SetDouble(row int, v float64) { c.SetInt(row, int64(math.Float64bits(v))) }

// SetBool sets a boolean.
func (c *Column) SetBool(row int, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	c.SetInt(row, n)
}

// SetID sets an ID of Width bytes.
func (c *Column) SetID(row int, id []byte) {
	c.pad(row)
	if c.data == nil {
		c.data = make([]byte, 0, c.hint*c.Width)
	}
	c.data = append(c.data, id[:c.Width]...)
	c.rows++
	if !isZero(id) {
		c.some++
	}
}

func isZero(id []byte) bool {
	switch len(id) {
	case 8:
		return binary.LittleEndian.Uint64(id) == 0
	case 16:
		return binary.LittleEndian.Uint64(id)|binary.LittleEndian.Uint64(id[8:]) == 0
	}
	for _, b := range id {
		if b != 0 {
			return false
		}
	}
	return true
}

// pad makes the rows before row null that were not set.
func (c *Column) pad(row int) {
	if c.rows >= row {
		return
	}
	n := row - c.rows
	switch c.Kind {
	case column.Text, column.JSON:
		c.ids = append(slices.Grow(c.ids, max(n, c.hint-c.rows)), make([]uint32, n)...)
	case column.ID:
		c.data = append(c.data, make([]byte, n*c.Width)...)
	default:
		if c.null == nil {
			c.null = make([]bool, c.rows, max(row, c.hint))
		}
		c.nums = append(slices.Grow(c.nums, max(n, c.hint-c.rows)), make([]int64, n)...)
		for range n {
			c.null = append(c.null, true)
		}
	}
	c.rows = row
}

// isNull says whether a row's number is null.
func (c *Column) isNull(row uint32) bool { return c.null != nil && c.null[row] }

// id is the ID in a row.
func (c *Column) id(row uint32) []byte {
	return c.data[int(row)*c.Width : (int(row)+1)*c.Width : (int(row)+1)*c.Width]
}

const (
	tableStart = 64
	// distinctCheck is the number of distinct values at which a column proves that its values repeat.
	distinctCheck = 1 << 14
)

var seed = maphash.MakeSeed()

// number finds the number of a value, or gives it one. When values turn out not to repeat it stops looking: each row's
// value then has a number of its own.
func (c *Column) number(text string, clone bool) uint32 {
	if n := len(c.ids); n > 0 && c.ids[n-1] != 0 && c.texts[c.ids[n-1]-1] == text {
		return c.ids[n-1]
	}
	if c.table == nil {
		if len(c.texts) > 0 { // stopped looking
			return c.add(text, clone)
		}
		c.table = make([]uint32, tableStart)
	}
	if len(c.texts)*2 >= len(c.table) && !c.grow() {
		return c.add(text, clone)
	}
	mask := uint32(len(c.table) - 1)
	for i := uint32(maphash.String(seed, text)) & mask; ; i = (i + 1) & mask {
		switch n := c.table[i]; {
		case n == 0:
			n = c.add(text, clone)
			c.table[i] = n
			return n
		case c.texts[n-1] == text:
			return n
		}
	}
}

// grow doubles the table; it is false when the table is not worth it any more.
func (c *Column) grow() bool {
	if len(c.texts) >= distinctCheck && len(c.texts)*3 > c.some {
		c.table = nil
		c.texts = slices.Grow(c.texts, max(0, c.hint-len(c.texts)))
		return false
	}
	c.table = make([]uint32, 2*len(c.table))
	mask := uint32(len(c.table) - 1)
	for n, text := range c.texts {
		i := uint32(maphash.String(seed, text)) & mask
		for c.table[i] != 0 {
			i = (i + 1) & mask
		}
		c.table[i] = uint32(n + 1)
	}
	return true
}

const arenaSize = 256 << 10

func (c *Column) add(text string, clone bool) uint32 {
	if clone {
		if len(text) > cap(c.arena)-len(c.arena) {
			c.arena = make([]byte, 0, max(arenaSize, len(text)))
		}
		from := len(c.arena)
		c.arena = append(c.arena, text...)
		text = view(c.arena[from:])
	}
	c.texts = append(c.texts, text)
	return uint32(len(c.texts))
}

// Table is rows in memory, column by column.
type Table struct {
	Columns []*Column
	Rows    int
}

// New makes an empty table for about so many rows.
func New(defs []column.Def, rows int) *Table {
	t := &Table{}
	for _, d := range defs {
		t.Columns = append(t.Columns, &Column{Def: d, hint: rows})
	}
	return t
}

// finish makes all columns as long as the table, but those that are all null.
func (t *Table) finish() {
	for _, c := range t.Columns {
		if c.some > 0 {
			c.pad(t.Rows)
		}
	}
}

// Int is the number in a row that was set.
func (c *Column) Int(row uint32) int64 { return c.nums[row] }

// ID is the ID in a row that was set.
func (c *Column) ID(row uint32) []byte {
	if int(row)*c.Width >= len(c.data) { // it was null, and all behind it
		return make([]byte, c.Width)
	}
	return c.id(row)
}

// Text is the text in a row, empty when it is null.
func (c *Column) Text(row uint32) string {
	if int(row) >= len(c.ids) || c.ids[row] == 0 {
		return ""
	}
	return c.texts[c.ids[row]-1]
}

// Texts are the values of a text column, in no order, some perhaps twice.
func (c *Column) Texts() []string {
	out := make([]string, len(c.texts))
	for i, text := range c.texts {
		out[i] = strings.Clone(strings.ToValidUTF8(text, "\uFFFD"))
	}
	return out
}

// view shows bytes as text without copying them.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
