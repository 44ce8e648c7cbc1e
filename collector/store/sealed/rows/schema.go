package rows

import (
	"encoding/json"
	"fmt"
	"slices"

	"weft/collector/store/sealed/column"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// Names of columns. FORMAT.md says what each holds.
const (
	ColTrace          = "trace_id"
	ColSpan           = "span_id"
	ColService        = "service"
	ColInstance       = "instance"
	ColRequest        = "request_id"
	ColRequestFrom    = "request_id_from"
	ColAttributes     = "attributes"
	ColResource       = "resource"
	ColResourceSchema = "resource_schema_url"
	ColScope          = "scope"
	ColScopeVersion   = "scope_version"
	ColScopeAttrs     = "scope_attributes"
	ColScopeSchema    = "scope_schema_url"
	ColFlags          = "flags"
	ColDroppedAttrs   = "dropped_attributes"
	ColReceived       = "received"

	ColParent        = "parent_span_id"
	ColName          = "name"
	ColKind          = "kind"
	ColStart         = "start"
	ColDuration      = "duration"
	ColStatus        = "status"
	ColStatusMessage = "status_message"
	ColTraceState    = "trace_state"
	ColEvents        = "events"
	ColLinks         = "links"
	ColDroppedEvents = "dropped_events"
	ColDroppedLinks  = "dropped_links"

	ColTime           = "time"
	ColDelay          = "observed_delay"
	ColSeverity       = "severity"
	ColSeverityNumber = "severity_number"
	ColBody           = "body"
	ColEventName      = "event_name"

	AttrPrefix = "attr."
)

var (
	traceCol  = column.Def{Name: ColTrace, Kind: column.ID, Width: 16, Sorted: true}
	spanCol   = column.Def{Name: ColSpan, Kind: column.ID, Width: 8, Raw: true}
	commonEnd = []column.Def{
		text(ColService), text(ColInstance), {Name: ColRequest, Bloom: true}, text(ColRequestFrom),
		{Name: ColAttributes, Kind: column.JSON}, {Name: ColResource, Kind: column.JSON}, text(ColResourceSchema),
		text(ColScope), text(ColScopeVersion), {Name: ColScopeAttrs, Kind: column.JSON}, text(ColScopeSchema),
		integer(ColFlags), integer(ColDroppedAttrs), {Name: ColReceived, Kind: column.Time},
	}
	spanColumns = append([]column.Def{
		traceCol, spanCol, {Name: ColParent, Kind: column.ID, Width: 8}, text(ColName), text(ColKind),
		{Name: ColStart, Kind: column.Time}, integer(ColDuration), text(ColStatus), text(ColStatusMessage), text(ColTraceState),
		{Name: ColEvents, Kind: column.JSON}, {Name: ColLinks, Kind: column.JSON}, integer(ColDroppedEvents), integer(ColDroppedLinks),
	}, commonEnd...)
	logColumns = append([]column.Def{
		traceCol, spanCol, {Name: ColTime, Kind: column.Time}, integer(ColDelay), text(ColSeverity),
		integer(ColSeverityNumber), text(ColBody), text(ColEventName),
	}, commonEnd...)
)

func text(name string) column.Def    { return column.Def{Name: name} }
func integer(name string) column.Def { return column.Def{Name: name, Kind: column.Int} }

// Attribute says which attribute a column holds.
type Attribute struct {
	Column string `json:"column"`
	Key    string `json:"key"`
	// Elsewhere says that some rows have the key in the attributes column, because the value is of another type.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// WellKnownAttribute is an attribute with a column in every file.
type WellKnownAttribute struct {
	Column, Key string
	Kind        column.Kind
}

// WellKnown are the attributes that have a column in every file, of a name that is easier to write in SQL.
var WellKnown = []WellKnownAttribute{
	{"client_request_id", semconv.ClientRequestID, column.Text},
	{"client_trace_id", semconv.ClientTraceID, column.Text},
	{"http_method", semconv.HTTPRequestMethod, column.Text},
	{"http_route", semconv.HTTPRoute, column.Text},
	{"http_status", semconv.HTTPResponseStatusCode, column.Int},
	{"error_type", semconv.ErrorType, column.Text},
	{"weft_proxy", semconv.WeftProxy, column.Text},
	{"weft_direction", semconv.WeftDirection, column.Text},
	{"weft_route", semconv.WeftRoute, column.Text},
	{"weft_service", semconv.WeftService, column.Text},
	{"weft_endpoint", semconv.WeftEndpoint, column.Text},
	{"weft_outcome", semconv.WeftOutcome, column.Text},
	{"weft_cause", semconv.WeftCause, column.Text},
}

// KindOf is the kind of column that holds values of a type.
func KindOf(t otlp.Type) (column.Kind, bool) {
	switch t {
	case otlp.Text:
		return column.Text, true
	case otlp.Int:
		return column.Int, true
	case otlp.Double:
		return column.Double, true
	case otlp.Bool:
		return column.Bool, true
	}
	return 0, false
}

// Signal is what the rows of a file are.
type Signal string

const (
	Spans Signal = "spans"
	Logs  Signal = "logs"
)

func (s Signal) Columns() []column.Def {
	if s == Logs {
		return logColumns
	}
	return spanColumns
}

// Facts in a file's footer.
const (
	factSignal     = "weft.signal"
	factAttributes = "weft.attributes"
	factRest       = "weft.rest"
	FactSummary    = "weft.summary"
)

// Schema is what the footer says of the columns.
type Schema struct {
	Signal     Signal
	Attributes []Attribute
	ByKey      map[string]int // place in Attributes
	// Rest are the keys in the attributes column, sorted; Many says that there are more than MaxRest.
	Rest []string
	Many bool
	// AttrCols are the columns of the attributes, in a file that is read.
	AttrCols []int
}

// MaxRest bounds the list of keys.
const MaxRest = 512

// NewSchema is the schema of a file without attributes.
func NewSchema(signal Signal) *Schema { return &Schema{Signal: signal, ByKey: map[string]int{}} }

// Add gives an attribute a column.
func (s *Schema) Add(a Attribute) {
	s.ByKey[a.Key] = len(s.Attributes)
	s.Attributes = append(s.Attributes, a)
}

// Facts are the schema and a summary as the footer has them.
func (s *Schema) Facts(summary []byte) (map[string]string, error) {
	attributes, err := json.Marshal(s.Attributes)
	if err != nil {
		return nil, err
	}
	slices.Sort(s.Rest)
	rest := []byte("null")
	if !s.Many {
		if rest, err = json.Marshal(append([]string{}, s.Rest...)); err != nil {
			return nil, err
		}
	}
	return map[string]string{
		factSignal: string(s.Signal), factAttributes: string(attributes), factRest: string(rest), FactSummary: string(summary),
	}, nil
}

// Merge adds what the schema of another file with the same columns says.
func (s *Schema) Merge(o *Schema) {
	for i := range s.Attributes {
		s.Attributes[i].Elsewhere = s.Attributes[i].Elsewhere || o.Attributes[i].Elsewhere
	}
	s.Rest = append(s.Rest, o.Rest...)
	slices.Sort(s.Rest)
	s.Rest = slices.Compact(s.Rest)
	s.Many = s.Many || o.Many || len(s.Rest) > MaxRest
}

// ReadSchema reads a footer's facts; it is kept with the footer.
func ReadSchema(m *column.Meta) (any, int, error) {
	s := &Schema{Signal: Signal(m.Facts[factSignal]), ByKey: map[string]int{}}
	if s.Signal != Spans && s.Signal != Logs {
		return nil, 0, fmt.Errorf("%w: it holds %q", column.ErrDamaged, s.Signal)
	}
	if err := json.Unmarshal([]byte(m.Facts[factAttributes]), &s.Attributes); err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", column.ErrDamaged, factAttributes, err)
	}
	if err := json.Unmarshal([]byte(m.Facts[factRest]), &s.Rest); err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", column.ErrDamaged, factRest, err)
	}
	s.Many = s.Rest == nil
	bytes := 0
	for i, a := range s.Attributes {
		if m.Column(a.Column) < 0 {
			return nil, 0, fmt.Errorf("%w: no column %s", column.ErrDamaged, a.Column)
		}
		s.ByKey[a.Key] = i
		s.AttrCols = append(s.AttrCols, m.Column(a.Column))
		bytes += 120 + 2*len(a.Key) + len(a.Column)
	}
	for _, d := range s.Signal.Columns() {
		if i := m.Column(d.Name); i < 0 || !sameType(m.Columns[i], d) {
			return nil, 0, fmt.Errorf("%w: no column %s", column.ErrDamaged, d.Name)
		}
	}
	return s, bytes, nil
}

func sameType(a, b column.Def) bool {
	physical := func(k column.Kind) column.Kind {
		if k == column.JSON {
			return column.Text
		}
		return k
	}
	return physical(a.Kind) == physical(b.Kind) && a.Width == b.Width
}

// MayRest says whether rows may have a key in the attributes column.
func (s *Schema) MayRest(key string) bool {
	if i, ok := s.ByKey[key]; ok {
		return s.Attributes[i].Elsewhere
	}
	if s.Many {
		return true
	}
	_, found := slices.BinarySearch(s.Rest, key)
	return found
}

// IDsRest says whether rows may have an ID in the attributes column.
func (s *Schema) IDsRest() bool { return slices.ContainsFunc(IDKeys, s.MayRest) }
