package rows

import (
	"encoding/hex"
	"fmt"
	"strings"

	"weft/collector/signal"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/internal/semconv"
)

// NewReader reads rows by a cursor.
func NewReader(c *column.Cursor) *Reader { return &Reader{Cursor: c, Schema: c.Owner.(*Schema)} }

// Reader reads rows of one row group at a time. An error stays until it is taken.
type Reader struct {
	*column.Cursor
	Schema *Schema
	Group  int   // the row group; rows are counted in it
	Err    error // the first that came up since it was taken
	maps   map[mapKey]signal.Attributes
}

// mapKey names a value of a dictionary that was read as a map.
type mapKey struct {
	values *column.Values
	place  int32
}

// Take returns the error and forgets it.
func (r *Reader) Take() error {
	err := r.Err
	r.Err = nil
	return err
}

// Value finds the value of a row in a column by its place; ok is false when it is null.
func (r *Reader) Value(col, row int) (v *column.Values, place int32, ok bool) {
	if r.Err != nil || col < 0 {
		return nil, 0, false
	}
	p, err := r.Page(r.Group, col, row)
	if err != nil {
		r.Err = err
		return nil, 0, false
	}
	place = p.At(row)
	return p.Values, place, place >= 0
}

// View is a text as long as the page is held.
func (r *Reader) View(name string, row int) string {
	if v, place, ok := r.Value(r.Column(name), row); ok {
		return v.Text(place)
	}
	return ""
}

// Text is a text of its own.
func (r *Reader) Text(name string, row int) string { return strings.Clone(r.View(name, row)) }

// Int is a number, 0 when it is null.
func (r *Reader) Int(name string, row int) int64 {
	if v, place, ok := r.Value(r.Column(name), row); ok {
		return v.Int(place)
	}
	return 0
}

// ID copies an ID, and leaves zeros when it is null.
func (r *Reader) ID(name string, row int, into []byte) {
	if v, place, ok := r.Value(r.Column(name), row); ok {
		copy(into, v.ID(place))
	}
}

// Trace is the trace ID, zero when there is none.
func (r *Reader) Trace(row int) (t signal.TraceID) {
	r.ID(ColTrace, row, t[:])
	return t
}

// shared reads a map that many rows have; those of one dictionary entry share it.
func (r *Reader) shared(name string, row int) signal.Attributes {
	v, place, ok := r.Value(r.Column(name), row)
	if !ok {
		return nil
	}
	key := mapKey{v, place}
	if m, ok := r.maps[key]; ok {
		return m
	}
	m := r.Map(name, row, v.Text(place))
	if r.maps == nil || len(r.maps) >= 1024 {
		r.maps = map[mapKey]signal.Attributes{}
	}
	r.maps[key] = m
	return m
}

// Map reads a cell of JSON.
func (r *Reader) Map(name string, row int, text string) signal.Attributes {
	m, err := jsontext.Map(text)
	if err != nil {
		r.Err = fmt.Errorf("%w: row group %d, row %d, column %s: %w", column.ErrDamaged, r.Group, row, name, err)
	}
	return m
}

// Cell is a value of an attribute's column.
func Cell(v *column.Values, place int32) any {
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

// Attributes gathers the attributes of a row from all their columns.
func (r *Reader) Attributes(row int, request string) signal.Attributes {
	out := signal.Attributes{}
	if v, place, ok := r.Value(r.Column(ColAttributes), row); ok {
		out = r.Map(ColAttributes, row, v.Text(place))
	}
	for i, col := range r.Schema.AttrCols {
		if v, place, ok := r.Value(col, row); ok {
			out[r.Schema.Attributes[i].Key] = Cell(v, place)
		}
	}
	if from := r.View(ColRequestFrom, row); from != "" {
		if key, ok := strings.CutSuffix(from, List); ok {
			out[strings.Clone(key)] = []any{request}
		} else {
			out[strings.Clone(from)] = request
		}
	}
	return out
}

// Request is the request ID of a row.
func (r *Reader) Request(row int, trace signal.TraceID) string {
	if v, place, ok := r.Value(r.Column(ColRequest), row); ok {
		return strings.Clone(v.Text(place))
	}
	if _, _, ok := r.Value(r.Column(ColRequestFrom), row); ok {
		return trace.String()
	}
	return ""
}

// Has says whether a row has an ID: as its request ID, by whatever name, or as the untrusted caller's.
func (r *Reader) Has(row int, id string) bool {
	if id == "" {
		return false
	}
	if r.Request(row, r.Trace(row)) == id {
		return true
	}
	for _, key := range IDKeys {
		if i, ok := r.Schema.ByKey[key]; ok {
			if v, place, ok := r.Value(r.Schema.AttrCols[i], row); ok && IsID(Cell(v, place), id) {
				return true
			}
		}
	}
	v, place, ok := r.Value(r.Column(ColAttributes), row)
	if !ok {
		return false
	}
	rest := r.Map(ColAttributes, row, v.Text(place))
	for _, key := range IDKeys {
		if IsID(rest[key], id) {
			return true
		}
	}
	return false
}

// IsID says whether an attribute's value is an ID; of a list the first counts.
func IsID(value any, id string) bool {
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

// IDKeys are the attributes that hold IDs which rows are found by.
var IDKeys = append([]string{semconv.ClientRequestID, semconv.ClientTraceID}, semconv.RequestIDAliases...)

// Span reads a whole row.
func (r *Reader) Span(row int) (signal.Span, error) {
	s := signal.Span{
		TraceID: r.Trace(row), TraceState: r.Text(ColTraceState, row), Flags: uint32(r.Int(ColFlags, row)),
		Name: r.Text(ColName, row), Kind: kinds[r.View(ColKind, row)], Start: r.Int(ColStart, row),
		Status: statuses[r.View(ColStatus, row)], StatusMessage: r.Text(ColStatusMessage, row),
		Service: r.Text(ColService, row), Instance: r.Text(ColInstance, row),
		Resource: r.shared(ColResource, row), ResourceSchema: r.Text(ColResourceSchema, row),
		Scope: r.Text(ColScope, row), ScopeVersion: r.Text(ColScopeVersion, row), ScopeAttributes: r.shared(ColScopeAttrs, row),
		ScopeSchema:       r.Text(ColScopeSchema, row),
		DroppedAttributes: uint32(r.Int(ColDroppedAttrs, row)), DroppedEvents: uint32(r.Int(ColDroppedEvents, row)),
		DroppedLinks: uint32(r.Int(ColDroppedLinks, row)),
	}
	r.ID(ColSpan, row, s.SpanID[:])
	r.ID(ColParent, row, s.ParentID[:])
	s.End = s.Start + r.Int(ColDuration, row)
	s.RequestID = r.Request(row, s.TraceID)
	s.Attributes = r.Attributes(row, s.RequestID)
	s.ClientRequestID = s.Attributes.Text(semconv.ClientRequestID)
	s.Events, s.Links = r.events(row), r.links(row)
	return s, r.Take()
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
func (r *Reader) items(name string, row int, fn func(signal.Attributes)) {
	v, place, ok := r.Value(r.Column(name), row)
	if !ok {
		return
	}
	all, err := jsontext.Value(v.Text(place))
	items, isList := all.([]any)
	if err != nil || !isList {
		r.Err = fmt.Errorf("%w: row group %d, row %d, column %s: %w", column.ErrDamaged, r.Group, row, name, err)
		return
	}
	for _, item := range items {
		m, _ := item.(map[string]any)
		fn(m)
	}
}

func (r *Reader) events(row int) (out []signal.Event) {
	r.items(ColEvents, row, func(m signal.Attributes) {
		out = append(out, signal.Event{
			Time: m.Int("time"), Name: m.Text("name"), Attributes: inner(m), DroppedAttributes: uint32(m.Int("dropped")),
		})
	})
	return out
}

func (r *Reader) links(row int) (out []signal.Link) {
	r.items(ColLinks, row, func(m signal.Attributes) {
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

// Log reads a whole row.
func (r *Reader) Log(row int) (signal.Log, error) {
	l := signal.Log{
		Time: r.Int(ColTime, row), TraceID: r.Trace(row), Flags: uint32(r.Int(ColFlags, row)),
		Service: r.Text(ColService, row), Instance: r.Text(ColInstance, row), Severity: r.Text(ColSeverity, row),
		SeverityNumber: int32(r.Int(ColSeverityNumber, row)), Body: r.Text(ColBody, row), EventName: r.Text(ColEventName, row),
		DroppedAttributes: uint32(r.Int(ColDroppedAttrs, row)), Resource: r.shared(ColResource, row),
		ResourceSchema: r.Text(ColResourceSchema, row), Scope: r.Text(ColScope, row), ScopeVersion: r.Text(ColScopeVersion, row),
		ScopeAttributes: r.shared(ColScopeAttrs, row), ScopeSchema: r.Text(ColScopeSchema, row),
	}
	r.ID(ColSpan, row, l.SpanID[:])
	if v, place, ok := r.Value(r.Column(ColDelay), row); ok {
		l.Observed = l.Time + v.Int(place)
	}
	l.RequestID = r.Request(row, l.TraceID)
	l.Attributes = r.Attributes(row, l.RequestID)
	return l, r.Take()
}

// parseSpanID reads what String wrote.
func parseSpanID(text string) (id signal.SpanID) {
	if len(text) == 2*len(id) {
		_, _ = hex.Decode(id[:], []byte(text)) // we wrote it
	}
	return id
}

// List marks, in request_id_from, a request ID that came as a list of one.
const List = "[]"
