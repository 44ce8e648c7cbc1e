package sealed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weft/collector/signal"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/index"
	"weft/collector/store/sealed/jsontext"
	"weft/internal/wal"
)

// Row is a row that Copy may keep. What is asked for is read. A field that cannot be read counts the row as lost.
type Row struct {
	r   *rowReader
	row int
}

// Trace is the trace ID, zero when there is none.
func (w Row) Trace() signal.TraceID { return w.r.trace(w.row) }

// Service is the service's name.
func (w Row) Service() string { return w.r.text(colService, w.row) }

// RequestID is the request ID, empty when there is none.
func (w Row) RequestID() string { return w.r.request(w.row, w.Trace()) }

// Has says whether the row has an ID: as its request ID, client request ID or client trace ID.
func (w Row) Has(id string) bool { return w.r.has(w.row, signal.Valid(id)) }

// Failed says whether a span's status is error.
func (w Row) Failed() bool { return w.r.view(colStatus, w.row) == signal.StatusError.String() }

// Duration is a span's, in nanoseconds.
func (w Row) Duration() int64 { return w.r.int(colDuration, w.row) }

// SeverityNumber is a log record's.
func (w Row) SeverityNumber() int32 { return int32(w.r.int(colSeverityNumber, w.row)) }

// Received is when the row's batch came, Unix nanoseconds.
func (w Row) Received() int64 { return w.r.int(colReceived, w.row) }

// groupRows is how many rows a row group is filled with.
const groupRows = 1 << 18

// Copy writes the rows of files that keep wants into one file, under temporary names. Row groups are filled anew, in the
// order of the files; rows that are there twice within one are left out.
func Copy(fs wal.FS, path string, files []*File, keep func(Row) bool) (Summary, error) {
	s, defs, err := union(files)
	if err != nil {
		return Summary{}, err
	}
	o, err := create(fs, path, defs)
	if err != nil {
		return Summary{}, err
	}
	c := &copier{output: o, schema: s, defs: defs}
	for _, f := range files {
		c.left += int(f.Rows)
	}
	for _, f := range files {
		o.sum.tallies(f.Summary)
		if err := c.file(f, keep); err != nil {
			return Summary{}, errors.Join(fmt.Errorf("copy %s: %w", f.path, err), o.abandon())
		}
	}
	if err := c.flush(); err != nil {
		return Summary{}, errors.Join(err, o.abandon())
	}
	return o.finish(s)
}

// union is the schema of a file that takes the rows of all: every attribute that has a column in one of them, within
// bounds.
func union(files []*File) (*schema, []column.Def, error) {
	if len(files) == 0 {
		return nil, nil, errors.New("no files to copy")
	}
	s := &schema{byKey: map[string]int{}}
	kinds := map[string]column.Kind{}
	var keys []string
	for i, f := range files {
		r, err := f.reader("")
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			s.signal = r.schema.signal
		} else if r.schema.signal != s.signal {
			return nil, nil, fmt.Errorf("%s holds %s, not %s", f.path, r.schema.signal, s.signal)
		}
		for j, a := range r.schema.attributes {
			if _, ok := kinds[a.Key]; !ok && strings.HasPrefix(a.Column, attrPrefix) && len(keys) < 2*maxPromoted {
				kinds[a.Key] = r.Columns[r.schema.attrCols[j]].Kind
				keys = append(keys, a.Key)
			}
		}
	}
	defs := slices.Clone(s.signal.columns())
	for _, w := range wellKnown {
		s.add(Attribute{Column: w.column, Key: w.key})
		defs = append(defs, column.Def{Name: w.column, Kind: w.kind})
	}
	slices.Sort(keys)
	for _, key := range keys {
		s.add(Attribute{Column: attrPrefix + key, Key: key})
		defs = append(defs, column.Def{Name: attrPrefix + key, Kind: kinds[key]})
	}
	return s, defs, nil
}

// copier gathers rows and writes them group by group.
type copier struct {
	*output
	schema *schema
	defs   []column.Def
	b      *builder
	sorter
	hashes []uint64
	rest   []byte
	digest xxhash.Digest
	left   int // rows to come, kept or not
}

func (c *copier) file(f *File, keep func(Row) bool) error {
	r, err := f.reader("")
	if err != nil {
		return err
	}
	idsRest := r.schema.idsRest()
	for g := range r.Groups {
		r.group = g
		for row := range r.Groups[g].Rows {
			wanted := keep(Row{r, row})
			if r.err == nil && wanted {
				if c.b == nil {
					c.b = newBuilder(c.schema, c.defs, min(groupRows, c.left))
				}
				c.row(r, row, idsRest)
			}
			if err := r.take(); errors.Is(err, ErrDamaged) {
				c.sum.Lost++
			} else if err != nil {
				return err
			}
			if c.b != nil && c.b.row >= groupRows {
				if err := c.flush(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// row copies a row cell by cell. All cells are read first: a row is copied whole or not at all.
func (c *copier) row(r *rowReader, row int, idsRest bool) {
	for col := range r.Columns {
		r.value(col, row)
	}
	trace := r.trace(row)
	var ids []index.Key
	r.ids(row, trace, idKeys, idsRest, func(id string) { ids = append(ids, index.TextKey(id)) })
	if r.err != nil {
		return
	}
	b := c.b
	c.digest.Reset()
	for i, d := range c.schema.signal.columns() { // the first columns of the new file are the same
		if v, place, ok := r.value(r.Column(d.Name), row); ok && d.Name != colAttributes {
			c.set(b.Columns[i], v, place)
		}
	}
	c.attributes(r, row)
	for _, id := range ids {
		b.ids = append(b.ids, rowID{id, uint32(b.row)})
	}
	key := spanKey(trace, r.int(colStart, row), [8]byte{}, b.row)
	if c.schema.signal == logsFile {
		key.time, key.span = r.int(colTime, row), uint64(r.int(colReceived, row))
		c.hashes = append(c.hashes, c.digest.Sum64())
	} else {
		var span signal.SpanID
		if r.id(colSpan, row, span[:]); span.IsZero() {
			c.noteHash(b.row, c.digest.Sum64())
		}
		key.span = binary.BigEndian.Uint64(span[:])
	}
	c.keys = append(c.keys, key)
	b.row++
	b.Rows = b.row
}

// set copies a cell, and makes it part of what the row is.
func (c *copier) set(to *column.Column, v *column.Values, place int32) {
	to.SetFrom(c.b.row, v, place)
	if to.Name == colReceived {
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
func (c *copier) attributes(r *rowReader, row int) {
	rest := append(c.rest[:0], '{')
	if v, place, ok := r.value(r.Column(colAttributes), row); ok {
		rest = append(rest, strings.TrimSuffix(v.Text(place), "}")[1:]...)
	}
	for i, a := range r.schema.attributes {
		v, place, ok := r.value(r.schema.attrCols[i], row)
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
		rest = jsontext.Append(jsontext.AppendKey(rest, a.Key), cell(v, place))
	}
	if c.rest = rest; len(rest) > 1 {
		_, _ = c.digest.Write(rest)
		c.b.attributes.SetCopy(c.b.row, append(rest, '}'))
	}
	c.restOf(r.schema)
}

// restOf takes over what another file says of its attributes column.
func (c *copier) restOf(s *schema) {
	if c.b.from == s {
		return
	}
	c.b.from = s
	for _, a := range s.attributes {
		if t := c.b.target(a.Key); a.Elsewhere && !t.rest {
			c.b.putRest(t)
		}
	}
	for _, key := range s.rest {
		if t := c.b.target(key); !t.rest {
			c.b.putRest(t)
		}
	}
	c.schema.many = c.schema.many || s.many
}

// flush writes what was gathered as a row group.
func (c *copier) flush() error {
	if c.b == nil {
		return nil
	}
	var order []uint32
	time := c.b.column(colStart)
	if c.schema.signal == spansFile {
		order = c.spanOrder()
	} else {
		time = c.b.column(colTime)
		l := &logBuilder{builder: c.b, sorter: c.sorter, hashes: c.hashes}
		order = l.logOrder()
	}
	err := c.write(c.b, order, time, len(c.keys))
	c.b, c.sorter, c.hashes = nil, sorter{}, nil
	return err
}
