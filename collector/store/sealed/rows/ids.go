package rows

import (
	"errors"
	"fmt"
	"slices"

	"weft/collector/signal"
	"weft/collector/store/key"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/index"
)

// IDs calls fn with each ID in text that a row of a trace is found by. rest says whether the column "attributes" may hold any.
func (r *Reader) IDs(row int, trace signal.TraceID, rest bool, fn func(string)) {
	add := func(id string) {
		if other, ok := signal.ParseTraceID(id); id != "" && (!ok || other != trace) {
			fn(id)
		}
	}
	add(r.View(ColRequest, row))
	for _, key := range IDKeys {
		if i, ok := r.Schema.ByKey[key]; ok {
			if v, place, ok := r.Value(r.Schema.AttrCols[i], row); ok {
				add(cellID(Cell(v, place)))
			}
		}
	}
	if !rest {
		return
	}
	if v, place, ok := r.Value(r.Column(ColAttributes), row); ok {
		m := r.Map(ColAttributes, row, v.Text(place))
		for _, key := range IDKeys {
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

// Entries makes the index entries of a row group from its rows, those of a table (build). Rows that cannot be
// read are counted; another error is left in r.
func (r *Reader) Entries(group int) (out []index.Entry, damaged int64) {
	r.Group = group
	rest := r.Schema.IDsRest()
	var ids []index.Entry
	start := 0 // of the run
	var last signal.TraceID
	lastID, broken := "", true
	runs := make([]uint32, r.Groups[group].Rows)
	for row := range runs {
		trace := r.Trace(row)
		id := ""
		if trace.IsZero() {
			id = r.View(ColRequest, row)
		}
		if r.Err == nil && (broken || trace != last || trace.IsZero() && (id == "" || id != lastID)) {
			if start = row; !trace.IsZero() {
				out = append(out, index.Entry{Key: key.OfTrace(trace), Row: uint32(row)})
			}
		}
		last, lastID, broken = trace, id, false
		runs[row] = uint32(start)
		r.IDs(row, trace, rest, func(id string) {
			ids = append(ids, index.Entry{Key: key.OfText(id), Row: uint32(row)})
		})
		if r.Err != nil {
			if !errors.Is(r.Err, column.ErrDamaged) {
				return nil, damaged
			}
			r.Err = nil
			damaged++
		}
	}
	ids = slices.CompactFunc(index.Sort(ids), func(a, b index.Entry) bool { return a.Key == b.Key && runs[a.Row] == runs[b.Row] })
	return append(out, ids...), damaged
}
