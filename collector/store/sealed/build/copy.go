package build

import (
	"encoding/binary"
	"runtime"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weft/collector/signal"
	"weft/collector/store/key"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/collector/store/sealed/rows"
	"weft/collector/store/sealed/table"
)

// Copier makes rows of rows of other files.
type Copier struct {
	schema *rows.Schema
	defs   []column.Def
	b      *builder
	sorter
	hashes  []uint64
	rest    []byte
	digest  xxhash.Digest
	from    *rows.Schema // of the file that the last row is from
	group   int          // of that file
	place   uint64       // counts the row groups that rows came from
	idsRest bool
}

// NewCopier gathers about n rows for a file with this schema (Union).
func NewCopier(s *rows.Schema, defs []column.Def, n int) *Copier {
	return &Copier{schema: s, defs: defs, b: newBuilder(s, defs, n)}
}

// Len is how many rows there are.
func (c *Copier) Len() int { return c.b.row }

// Continues says whether a row may be equal to the last one, so that the two must not come into different row groups.
func (c *Copier) Continues(r *rows.Reader, row int) bool {
	if c.schema.Signal == rows.Spans || len(c.keys) == 0 {
		return false
	}
	last, next := &c.keys[len(c.keys)-1], spanKey(r.Trace(row), r.Int(rows.ColTime, row), [8]byte{}, row)
	return last.time == next.time && last.sameTrace(&next)
}

// Add copies a row cell by cell. All cells are read first: a row is copied whole or, with an error in r, not at all.
func (c *Copier) Add(r *rows.Reader, row int) {
	c.fromGroup(r.Schema, r.Group)
	for col := range r.Columns {
		r.Value(col, row)
	}
	trace := r.Trace(row)
	var ids []key.Key
	r.IDs(row, trace, c.idsRest, func(id string) { ids = append(ids, key.OfText(id)) })
	if r.Err != nil {
		return
	}
	b := c.b
	c.digest.Reset()
	for i, d := range c.schema.Signal.Columns() { // the first columns of the new file are the same
		if v, place, ok := r.Value(r.Column(d.Name), row); ok && d.Name != rows.ColAttributes {
			c.set(b.Columns[i], v, place)
		}
	}
	c.attributes(r, row)
	for _, id := range ids {
		b.ids = append(b.ids, rowID{id, uint32(b.row)})
	}
	key := spanKey(trace, r.Int(rows.ColStart, row), [8]byte{}, b.row)
	if c.schema.Signal == rows.Logs {
		key.time, key.span = r.Int(rows.ColTime, row), c.place
		c.hashes = append(c.hashes, c.digest.Sum64())
	} else {
		var span signal.SpanID
		if r.ID(rows.ColSpan, row, span[:]); span.IsZero() {
			c.noteHash(b.row, c.digest.Sum64())
		}
		key.span = binary.BigEndian.Uint64(span[:])
	}
	c.keys = append(c.keys, key)
	b.row++
	if b.Rows = b.row; b.row%yieldRows == 0 {
		runtime.Gosched()
	}
}

// set copies a cell, and makes it part of what the row is.
func (c *Copier) set(to *table.Column, v *column.Values, place int32) {
	to.SetFrom(c.b.row, v, place)
	if to.Name == rows.ColReceived {
		return
	}
	_, _ = c.digest.WriteString(to.Name)
	switch to.Kind {
	case column.Text, column.JSON:
		_, _ = c.digest.WriteString(v.Text(place))
	case column.ID:
		_, _ = c.digest.Write(v.ID(place))
	default:
		var bits [8]byte
		binary.LittleEndian.PutUint64(bits[:], uint64(v.Int(place)))
		_, _ = c.digest.Write(bits[:])
	}
}

// attributes copies the attributes: into columns of their own where the new file has them, else behind what the row has
// in the attributes column.
func (c *Copier) attributes(r *rows.Reader, row int) {
	rest := append(c.rest[:0], '{')
	if v, place, ok := r.Value(r.Column(rows.ColAttributes), row); ok {
		rest = append(rest, strings.TrimSuffix(v.Text(place), "}")[1:]...)
	}
	for i, a := range r.Schema.Attributes {
		v, place, ok := r.Value(r.Schema.AttrCols[i], row)
		if !ok {
			continue
		}
		t := c.b.target(a.Key)
		if t.col != nil && t.col.Kind == v.Kind {
			c.set(t.col, v, place)
			continue
		}
		if !t.rest {
			c.b.putRest(t)
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = jsontext.Append(jsontext.AppendKey(rest, a.Key), rows.Cell(v, place))
	}
	if c.rest = rest; len(rest) > 1 {
		_, _ = c.digest.Write(rest)
		c.b.attributes.SetCopy(c.b.row, append(rest, '}'))
	}
}

// fromGroup notes that rows come from another row group, and takes over what another file says of its attributes column.
func (c *Copier) fromGroup(s *rows.Schema, group int) {
	if c.from == s && c.group == group {
		return
	}
	c.group = group
	c.place++
	if c.from == s {
		return
	}
	c.from, c.idsRest = s, s.IDsRest()
	for _, a := range s.Attributes {
		if t := c.b.target(a.Key); a.Elsewhere && !t.rest {
			c.b.putRest(t)
		}
	}
	for _, key := range s.Rest {
		if t := c.b.target(key); !t.rest {
			c.b.putRest(t)
		}
	}
	c.schema.Many = c.schema.Many || s.Many
}

// Rows are the rows in order, without those that are there twice.
func (c *Copier) Rows() *Rows {
	out := &Rows{Table: c.b.Table, Schema: c.schema, Defs: c.defs, Gathered: int64(len(c.keys)), builder: c.b}
	if c.schema.Signal == rows.Spans {
		out.time, out.Order = c.b.column(rows.ColStart), c.spanOrder()
	} else {
		l := &logBuilder{builder: c.b, sorter: c.sorter, hashes: c.hashes}
		out.time, out.Order = c.b.column(rows.ColTime), l.logOrder()
	}
	return out
}

// Union is the schema of a file that takes the rows of all: every attribute that has a column in one of them, within
// bounds.
func Union(all []*rows.Reader) (*rows.Schema, []column.Def) {
	s := rows.NewSchema(all[0].Schema.Signal)
	kinds := map[string]column.Kind{}
	var keys []string
	for _, r := range all {
		for j, a := range r.Schema.Attributes {
			if _, ok := kinds[a.Key]; !ok && strings.HasPrefix(a.Column, rows.AttrPrefix) && len(keys) < 2*maxPromoted {
				kinds[a.Key] = r.Columns[r.Schema.AttrCols[j]].Kind
				keys = append(keys, a.Key)
			}
		}
	}
	slices.Sort(keys)
	return s, promote(s, keys, kinds)
}
