package sealed

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/collector/store/sealed/rows"
	"weft/internal/semconv"
)

// filter is a condition on the values of one column.
type filter struct {
	col int
	// test says whether a row is wanted by its value; a place below zero is null.
	test func(v *column.Values, place int32) bool
	// low and high are bounds that a wanted value is within, as statistics hold them; nil = none. A filter with a bound
	// wants no nulls.
	low, high []byte
	// rest is what to ask of the attributes column where this one is null.
	rest *search.Matcher

	known  *column.Values // the dictionary that memory is about
	memory []int8         // of each place: 1 wanted, -1 not
}

// filters are the conditions of a query on a file's columns. none says that no row can match. slow are those that need
// a row's attributes put together.
func filtersOf(r *rows.Reader, q *search.Compiled) (out []*filter, slow []*search.Matcher, none bool) {
	add := func(name string, f *filter) {
		f.col = r.Column(name)
		out = append(out, f)
	}
	when := rows.ColTime
	if r.Schema.Signal == rows.Spans {
		when = rows.ColStart
		spanFilters(q, add)
	} else {
		logFilters(q, add)
	}
	if q.From != 0 || q.To != 0 {
		f := &filter{test: func(v *column.Values, p int32) bool { return p >= 0 && q.InTime(v.Int(p)) }}
		if q.From != 0 {
			f.low = number(q.From)
		}
		if q.To != 0 {
			f.high = number(q.To - 1)
		}
		add(when, f)
	}
	if len(q.Services) > 0 {
		add(rows.ColService, oneOf(q.Services))
	}
	for _, m := range q.Resource {
		add(rows.ColResource, mapFilter(r, rows.ColResource, m))
	}
	for _, m := range q.Attributes {
		switch i, ok := r.Schema.ByKey[m.Key]; {
		case slices.Contains(semconv.RequestIDAliases, m.Key):
			slow = append(slow, m)
		case ok:
			f := cellFilter(m, r.Columns[r.Schema.AttrCols[i]].Kind)
			if r.Schema.Attributes[i].Elsewhere {
				f.rest, f.low, f.high = m, nil, nil
			}
			add(r.Schema.Attributes[i].Column, f)
		case r.Schema.MayRest(m.Key):
			add(rows.ColAttributes, mapFilter(r, rows.ColAttributes, m))
		case !m.Absent:
			return nil, nil, true
		}
	}
	return out, slow, false
}

func number(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

func spanFilters(q *search.Compiled, add func(string, *filter)) {
	if q.MinDuration > 0 || q.MaxDuration > 0 {
		f := &filter{test: func(v *column.Values, p int32) bool {
			return p >= 0 && q.InDuration(max(0, v.Int(p)))
		}}
		if q.MinDuration > 0 {
			f.low = number(q.MinDuration)
		}
		if q.MaxDuration > 0 {
			f.high = number(q.MaxDuration)
		}
		add(rows.ColDuration, f)
	}
	if len(q.Names) > 0 {
		add(rows.ColName, oneOf(q.Names))
	}
	if len(q.Kinds) > 0 {
		add(rows.ColKind, oneOf(names(q.Kinds, signal.Kind.String)))
	}
	if len(q.Statuses) > 0 {
		add(rows.ColStatus, oneOf(names(q.Statuses, signal.Status.String)))
	}
}

func names[T any](in []T, name func(T) string) (out []string) {
	for _, v := range in {
		out = append(out, name(v))
	}
	return out
}

func logFilters(q *search.Compiled, add func(string, *filter)) {
	if q.MinSeverity > 0 {
		add(rows.ColSeverityNumber, &filter{low: number(int64(q.MinSeverity)), test: func(v *column.Values, p int32) bool {
			return p >= 0 && v.Int(p) >= int64(q.MinSeverity)
		}})
	}
	for _, line := range q.Lines {
		add(rows.ColBody, &filter{test: func(v *column.Values, p int32) bool {
			if p < 0 {
				return line.Match("")
			}
			return line.Match(v.Text(p))
		}})
	}
}

// oneOf wants a text that is one of several; null is the empty text.
func oneOf(wanted []string) *filter {
	f := &filter{test: func(v *column.Values, p int32) bool {
		if p < 0 {
			return slices.Contains(wanted, "")
		}
		return slices.Contains(wanted, v.Text(p))
	}}
	if !slices.Contains(wanted, "") {
		f.low, f.high = []byte(slices.Min(wanted)), []byte(slices.Max(wanted))
	}
	return f
}

// cellFilter asks an attribute's own column.
func cellFilter(m *search.Matcher, kind column.Kind) *filter {
	f := &filter{test: func(v *column.Values, p int32) bool {
		switch {
		case p < 0:
			return m.Absent
		case v.Kind == column.Text:
			return m.Text(v.Text(p))
		}
		return m.Wants(rows.Cell(v, p))
	}}
	if m.Absent {
		return f
	}
	if bound, ok := m.Compares(); ok && kind == column.Int && math.Abs(bound) < 1<<53 {
		if m.Op == search.Greater || m.Op == search.GreaterEqual {
			f.low = number(int64(math.Floor(bound)))
		} else {
			f.high = number(int64(math.Ceil(bound)))
		}
	} else if m.Op == search.Equal && kind == column.Text {
		f.low, f.high = []byte(m.Value), []byte(m.Value)
	}
	return f
}

// mapFilter asks a column of maps.
func mapFilter(r *rows.Reader, name string, m *search.Matcher) *filter {
	return &filter{test: mapTest{r, name, m}.wants}
}

// mapTest asks one value of a column of maps.
type mapTest struct {
	reader *rows.Reader
	column string
	match  *search.Matcher
}

func (t mapTest) wants(v *column.Values, p int32) bool {
	if p < 0 || !strings.Contains(v.Text(p), string(jsontext.AppendKey(nil, t.match.Key))) {
		return t.match.Absent
	}
	return t.match.Wants(t.reader.Map(t.column, 0, v.Text(p))[t.match.Key])
}

// wants asks the filter, and remembers the answer for values of a dictionary.
func (f *filter) wants(p *column.Page, row int) bool {
	place := p.At(row)
	if place < 0 || !p.Shared {
		return f.test(p.Values, place)
	}
	f.about(p.Values)
	if f.memory[place] == 0 {
		f.memory[place] = -1
		if f.test(p.Values, place) {
			f.memory[place] = 1
		}
	}
	return f.memory[place] > 0
}

func (f *filter) about(v *column.Values) {
	if f.known != v {
		f.known, f.memory = v, make([]int8, v.Len)
	}
}

// excludes says that no row of a row group is wanted, by its statistics or by its dictionary.
func (f *filter) excludes(r *rows.Reader, group int) (bool, error) {
	g := &r.Groups[group]
	k := &g.Chunks[f.col]
	if f.low != nil || f.high != nil {
		if k.Nulls == g.Rows || k.Min != nil && k.Max != nil && f.beside(r.Columns[f.col].Kind, k.Min, k.Max) {
			return true, nil
		}
	}
	if !k.Dict || f.rest != nil || k.Nulls > 0 && f.test(nil, -1) {
		return false, nil
	}
	dict, err := r.Dict(group, f.col)
	if err != nil {
		return false, err
	}
	f.about(dict)
	for place := range int32(dict.Len) {
		if f.test(dict, place) {
			return false, nil
		}
	}
	return true, nil
}

// beside says that the wanted values are all below min or above max.
func (f *filter) beside(kind column.Kind, min, max []byte) bool {
	return f.high != nil && column.Compare(kind, f.high, min) < 0 || f.low != nil && column.Compare(kind, f.low, max) > 0
}
