package sealed

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"weft/collector/signal"
	"weft/collector/store/sealed/index"
	"weft/internal/wal"
)

// ids calls fn with each ID in text that a row is found by.
func (r *rowReader) ids(row int, trace signal.TraceID, keys []string, rest bool, fn func(string)) {
	add := func(id string) {
		if other, ok := signal.ParseTraceID(id); id != "" && (!ok || other != trace) {
			fn(id)
		}
	}
	add(r.view(colRequest, row))
	for _, key := range keys {
		if i, ok := r.schema.byKey[key]; ok {
			if v, place, ok := r.value(r.schema.attrCols[i], row); ok {
				add(cellID(cell(v, place)))
			}
		}
	}
	if !rest {
		return
	}
	if v, place, ok := r.value(r.Column(colAttributes), row); ok {
		m := r.readMap(colAttributes, row, v.Text(place))
		for _, key := range keys {
			add(cellID(m[key]))
		}
	}
}

// cellID is the ID that an attribute's value is, as idText.
func cellID(value any) string {
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	switch v := value.(type) {
	case string:
		return v
	case int64, bool:
		return fmt.Sprint(v)
	}
	return ""
}

// idsRest says whether rows may have an ID in the attributes column.
func (s *schema) idsRest() bool { return slices.ContainsFunc(idKeys, s.mayRest) }

// entries makes the index entries of a row group from its rows, those of a table (builder.enter). Rows that cannot be
// read are counted; another error is left in r.
func (r *rowReader) entries(group int) (out []index.Entry, damaged int64) {
	r.group = group
	rest := r.schema.idsRest()
	var ids []index.Entry
	start := 0 // of the run
	var last signal.TraceID
	lastID, broken := "", true
	runs := make([]uint32, r.Groups[group].Rows)
	for row := range runs {
		trace := r.trace(row)
		id := ""
		if trace.IsZero() {
			id = r.view(colRequest, row)
		}
		if r.err == nil && (broken || trace != last || trace.IsZero() && (id == "" || id != lastID)) {
			if start = row; !trace.IsZero() {
				out = append(out, index.Entry{Key: index.TraceKey(trace), Row: uint32(row)})
			}
		}
		last, lastID, broken = trace, id, false
		runs[row] = uint32(start)
		r.ids(row, trace, idKeys, rest, func(id string) {
			ids = append(ids, index.Entry{Key: index.TextKey(id), Row: uint32(row)})
		})
		if r.err != nil {
			if !errors.Is(r.err, ErrDamaged) {
				return nil, damaged
			}
			r.err = nil
			damaged++
		}
	}
	ids = slices.CompactFunc(index.Sort(ids), func(a, b index.Entry) bool { return a.Key == b.Key && runs[a.Row] == runs[b.Row] })
	return append(out, ids...), damaged
}

// RebuildIndex makes the index of a published file from its rows, and publishes it. damaged is how many rows cannot be
// read, and are not found by all of their IDs.
func RebuildIndex(fs wal.FS, path string) (damaged int64, err error) {
	rows, err := openRows(fs, path, NewCache(0))
	if err != nil {
		return 0, err
	}
	f := &File{path: path, rows: rows}
	entries, damaged, about, err := f.index()
	if err = errors.Join(err, rows.Close()); err != nil {
		return damaged, fmt.Errorf("index %s: %w", path, err)
	}
	tmp := IndexPath(path) + tmpSuffix
	if _, err := writeIndex(fs, tmp, entries, about); err != nil {
		return damaged, errors.Join(err, removeAny(fs, tmp))
	}
	if err := fs.Rename(tmp, IndexPath(path)); err != nil {
		return damaged, err
	}
	return damaged, fs.SyncDir(filepath.Dir(path))
}

// index is what the index of a file must be.
func (f *File) index() (entries []index.Entry, damaged int64, about index.About, err error) {
	r, err := f.reader("")
	if err != nil {
		return nil, 0, about, err
	}
	for g := range r.Groups {
		part, n := r.entries(g)
		if damaged += n; r.err != nil {
			return nil, damaged, about, r.err
		}
		for _, e := range part {
			entries = append(entries, index.Entry{Key: e.Key, Row: e.Row + uint32(r.Groups[g].First)})
		}
	}
	summary := []byte(r.Facts[factSummary])
	if !json.Valid(summary) {
		return nil, damaged, about, fmt.Errorf("%w: %s", ErrDamaged, factSummary)
	}
	return index.Sort(entries), damaged, index.About{Size: f.rows.Size(), Footer: r.FooterSum, Summary: summary}, nil
}
