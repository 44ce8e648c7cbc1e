package sealed

import (
	"fmt"
	"strings"

	"weft/collector/signal"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/internal/semconv"
)

// rowReader reads rows of one row group at a time. An error stays until it is taken.
type rowReader struct {
	*column.Cursor
	schema *schema
	group  int
	err    error
	maps   map[mapKey]signal.Attributes
}

// mapKey names a value of a dictionary that was read as a map.
type mapKey struct {
	values *column.Values
	place  int32
}

// take returns the error and forgets it.
func (r *rowReader) take() error {
	err := r.err
	r.err = nil
	return err
}

// value finds the value of a row in a column by its place; ok is false when it is null.
func (r *rowReader) value(col, row int) (v *column.Values, place int32, ok bool) {
	if r.err != nil || col < 0 {
		return nil, 0, false
	}
	p, err := r.Page(r.group, col, row)
	if err != nil {
		r.err = err
		return nil, 0, false
	}
	place = p.At(row)
	return p.Values, place, place >= 0
}

// view is a text as long as the page is held.
func (r *rowReader) view(name string, row int) string {
	if v, place, ok := r.value(r.Column(name), row); ok {
		return v.Text(place)
	}
	return ""
}

func (r *rowReader) text(name string, row int) string { return strings.Clone(r.view(name, row)) }

func (r *rowReader) int(name string, row int) int64 {
	if v, place, ok := r.value(r.Column(name), row); ok {
		return v.Int(place)
	}
	return 0
}

func (r *rowReader) id(name string, row int, into []byte) {
	if v, place, ok := r.value(r.Column(name), row); ok {
		copy(into, v.ID(place))
	}
}

func (r *rowReader) trace(row int) (t signal.TraceID) {
	r.id(colTrace, row, t[:])
	return t
}

// shared reads a map that many rows have; those of one dictionary entry share it.
func (r *rowReader) shared(name string, row int) signal.Attributes {
	v, place, ok := r.value(r.Column(name), row)
	if !ok {
		return nil
	}
	key := mapKey{v, place}
	if m, ok := r.maps[key]; ok {
		return m
	}
	m := r.readMap(name, row, v.Text(place))
	if r.maps == nil || len(r.maps) >= 1024 {
		r.maps = map[mapKey]signal.Attributes{}
	}
	r.maps[key] = m
	return m
}

func (r *rowReader) readMap(name string, row int, text string) signal.Attributes {
	m, err := jsontext.Map(text)
	if err != nil {
		r.err = fmt.Errorf("%w: row group %d, row %d, column %s: %w", ErrDamaged, r.group, row, name, err)
	}
	return m
}

// cell is a value of an attribute's column.
func cell(v *column.Values, place int32) any {
	switch v.Kind {
	case column.Int:
		return v.Int(place)
	case column.Double:
		return v.Double(place)
	case column.Bool:
		return v.Bool(place)
	}
	return strings.Clone(v.Text(place))
}

// attributes gathers the attributes of a row from all their columns.
func (r *rowReader) attributes(row int, request string) signal.Attributes {
	out := signal.Attributes{}
	if v, place, ok := r.value(r.Column(colAttributes), row); ok {
		out = r.readMap(colAttributes, row, v.Text(place))
	}
	for i, col := range r.schema.attrCols {
		if v, place, ok := r.value(col, row); ok {
			out[r.schema.attributes[i].Key] = cell(v, place)
		}
	}
	if from := r.view(colRequestFrom, row); from != "" {
		if key, ok := strings.CutSuffix(from, list); ok {
			out[strings.Clone(key)] = []any{request}
		} else {
			out[strings.Clone(from)] = request
		}
	}
	return out
}

// request is the request ID of a row.
func (r *rowReader) request(row int, trace signal.TraceID) string {
	if v, place, ok := r.value(r.Column(colRequest), row); ok {
		return strings.Clone(v.Text(place))
	}
	if _, _, ok := r.value(r.Column(colRequestFrom), row); ok {
		return trace.String()
	}
	return ""
}

// has says whether a row has an ID: as its request ID, by whatever name, or as the untrusted caller's.
func (r *rowReader) has(row int, id string) bool {
	if id == "" {
		return false
	}
	if r.request(row, r.trace(row)) == id {
		return true
	}
	for _, key := range idKeys {
		if i, ok := r.schema.byKey[key]; ok {
			if v, place, ok := r.value(r.schema.attrCols[i], row); ok && isID(cell(v, place), id) {
				return true
			}
		}
	}
	v, place, ok := r.value(r.Column(colAttributes), row)
	if !ok {
		return false
	}
	rest := r.readMap(colAttributes, row, v.Text(place))
	for _, key := range idKeys {
		if isID(rest[key], id) {
			return true
		}
	}
	return false
}

// isID says whether an attribute's value is an ID; of a list the first counts.
func isID(value any, id string) bool {
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	switch v := value.(type) {
	case string:
		return v == id && id != ""
	case int64, bool:
		return fmt.Sprint(v) == id
	}
	return false
}

// idKeys are the attributes that hold IDs which rows are found by.
var idKeys = append([]string{semconv.ClientRequestID, semconv.ClientTraceID}, semconv.RequestIDAliases...)

// span reads a whole row.
func (r *rowReader) span(row int) (signal.Span, error) {
	s := signal.Span{
		TraceID: r.trace(row), TraceState: r.text(colTraceState, row), Flags: uint32(r.int(colFlags, row)),
		Name: r.text(colName, row), Kind: kinds[r.view(colKind, row)], Start: r.int(colStart, row),
		Status: statuses[r.view(colStatus, row)], StatusMessage: r.text(colStatusMessage, row),
		Service: r.text(colService, row), Instance: r.text(colInstance, row),
		Resource: r.shared(colResource, row), ResourceSchema: r.text(colResourceSchema, row),
		Scope: r.text(colScope, row), ScopeVersion: r.text(colScopeVersion, row), ScopeAttributes: r.shared(colScopeAttrs, row),
		ScopeSchema:       r.text(colScopeSchema, row),
		DroppedAttributes: uint32(r.int(colDroppedAttrs, row)), DroppedEvents: uint32(r.int(colDroppedEvents, row)),
		DroppedLinks: uint32(r.int(colDroppedLinks, row)),
	}
	r.id(colSpan, row, s.SpanID[:])
	r.id(colParent, row, s.ParentID[:])
	s.End = s.Start + r.int(colDuration, row)
	s.RequestID = r.request(row, s.TraceID)
	s.Attributes = r.attributes(row, s.RequestID)
	s.ClientRequestID = s.Attributes.Text(semconv.ClientRequestID)
	s.Events, s.Links = r.events(row), r.links(row)
	return s, r.take()
}

var (
	kinds    = byName(signal.KindConsumer, signal.Kind.String)
	statuses = byName(signal.StatusError, signal.Status.String)
)

func byName[T ~uint8](last T, name func(T) string) map[string]T {
	out := map[string]T{}
	for v := range last + 1 {
		out[name(v)] = v
	}
	return out
}

// items reads a list of maps.
func (r *rowReader) items(name string, row int, fn func(signal.Attributes)) {
	v, place, ok := r.value(r.Column(name), row)
	if !ok {
		return
	}
	all, err := jsontext.Value(v.Text(place))
	items, isList := all.([]any)
	if err != nil || !isList {
		r.err = fmt.Errorf("%w: row group %d, row %d, column %s: %w", ErrDamaged, r.group, row, name, err)
		return
	}
	for _, item := range items {
		m, _ := item.(map[string]any)
		fn(m)
	}
}

func (r *rowReader) events(row int) (out []signal.Event) {
	r.items(colEvents, row, func(m signal.Attributes) {
		out = append(out, signal.Event{
			Time: m.Int("time"), Name: m.Text("name"), Attributes: inner(m), DroppedAttributes: uint32(m.Int("dropped")),
		})
	})
	return out
}

func (r *rowReader) links(row int) (out []signal.Link) {
	r.items(colLinks, row, func(m signal.Attributes) {
		l := signal.Link{
			Attributes: inner(m), TraceState: m.Text("trace_state"), Flags: uint32(m.Int("flags")), DroppedAttributes: uint32(m.Int("dropped")),
		}
		l.TraceID, _ = signal.ParseTraceID(m.Text("trace_id"))
		l.SpanID = parseSpanID(m.Text("span_id"))
		out = append(out, l)
	})
	return out
}

// inner are the attributes of an event or a link.
func inner(m signal.Attributes) signal.Attributes {
	if attrs, ok := m["attributes"].(map[string]any); ok {
		return attrs
	}
	return signal.Attributes{}
}

// log reads a whole row.
func (r *rowReader) log(row int) (signal.Log, error) {
	l := signal.Log{
		Time: r.int(colTime, row), TraceID: r.trace(row), Flags: uint32(r.int(colFlags, row)),
		Service: r.text(colService, row), Instance: r.text(colInstance, row), Severity: r.text(colSeverity, row),
		SeverityNumber: int32(r.int(colSeverityNumber, row)), Body: r.text(colBody, row), EventName: r.text(colEventName, row),
		DroppedAttributes: uint32(r.int(colDroppedAttrs, row)), Resource: r.shared(colResource, row),
		ResourceSchema: r.text(colResourceSchema, row), Scope: r.text(colScope, row), ScopeVersion: r.text(colScopeVersion, row),
		ScopeAttributes: r.shared(colScopeAttrs, row), ScopeSchema: r.text(colScopeSchema, row),
	}
	r.id(colSpan, row, l.SpanID[:])
	if v, place, ok := r.value(r.Column(colDelay), row); ok {
		l.Observed = l.Time + v.Int(place)
	}
	l.RequestID = r.request(row, l.TraceID)
	l.Attributes = r.attributes(row, l.RequestID)
	return l, r.take()
}
