package sealed

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
	colTrace          = "trace_id"
	colSpan           = "span_id"
	colService        = "service"
	colInstance       = "instance"
	colRequest        = "request_id"
	colRequestFrom    = "request_id_from"
	colAttributes     = "attributes"
	colResource       = "resource"
	colResourceSchema = "resource_schema_url"
	colScope          = "scope"
	colScopeVersion   = "scope_version"
	colScopeAttrs     = "scope_attributes"
	colScopeSchema    = "scope_schema_url"
	colFlags          = "flags"
	colDroppedAttrs   = "dropped_attributes"
	colReceived       = "received"

	colParent        = "parent_span_id"
	colName          = "name"
	colKind          = "kind"
	colStart         = "start"
	colDuration      = "duration"
	colStatus        = "status"
	colStatusMessage = "status_message"
	colTraceState    = "trace_state"
	colEvents        = "events"
	colLinks         = "links"
	colDroppedEvents = "dropped_events"
	colDroppedLinks  = "dropped_links"

	colTime           = "time"
	colDelay          = "observed_delay"
	colSeverity       = "severity"
	colSeverityNumber = "severity_number"
	colBody           = "body"
	colEventName      = "event_name"

	attrPrefix = "attr."
)

var (
	traceCol  = column.Def{Name: colTrace, Kind: column.ID, Width: 16, Bloom: true}
	spanCol   = column.Def{Name: colSpan, Kind: column.ID, Width: 8, Raw: true}
	commonEnd = []column.Def{
		text(colService), text(colInstance), {Name: colRequest, Bloom: true}, text(colRequestFrom),
		{Name: colAttributes, Kind: column.JSON}, {Name: colResource, Kind: column.JSON}, text(colResourceSchema),
		text(colScope), text(colScopeVersion), {Name: colScopeAttrs, Kind: column.JSON}, text(colScopeSchema),
		integer(colFlags), integer(colDroppedAttrs), {Name: colReceived, Kind: column.Time},
	}
	spanColumns = append([]column.Def{
		traceCol, spanCol, {Name: colParent, Kind: column.ID, Width: 8}, text(colName), text(colKind),
		{Name: colStart, Kind: column.Time}, integer(colDuration), text(colStatus), text(colStatusMessage), text(colTraceState),
		{Name: colEvents, Kind: column.JSON}, {Name: colLinks, Kind: column.JSON}, integer(colDroppedEvents), integer(colDroppedLinks),
	}, commonEnd...)
	logColumns = append([]column.Def{
		traceCol, spanCol, {Name: colTime, Kind: column.Time}, integer(colDelay), text(colSeverity),
		integer(colSeverityNumber), text(colBody), text(colEventName),
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

// wellKnown are the attributes that have a column in every file, of a name that is easier to write in SQL.
var wellKnown = []struct {
	column, key string
	kind        column.Kind
}{
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

// kindOf is the kind of column that holds values of a type.
func kindOf(t otlp.Type) (column.Kind, bool) {
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

// signalKind is what the rows of a file are.
type signalKind string

const (
	spansFile signalKind = "spans"
	logsFile  signalKind = "logs"
)

func (s signalKind) columns() []column.Def {
	if s == logsFile {
		return logColumns
	}
	return spanColumns
}

// Facts in a file's footer.
const (
	factSignal     = "weft.signal"
	factAttributes = "weft.attributes"
	factRest       = "weft.rest"
	factSummary    = "weft.summary"
)

// schema is what the footer says of the columns.
type schema struct {
	signal     signalKind
	attributes []Attribute
	byKey      map[string]int // place in attributes
	// rest are the keys in the attributes column, sorted; many says that there are more than maxRest.
	rest []string
	many bool
	// Places of columns in a file that is read: of the attributes, and of the fixed ones.
	attrCols []int
	cols     map[string]int
}

// maxRest bounds the list of keys.
const maxRest = 512

func (s *schema) facts(sum Summary) (map[string]string, []byte, error) {
	attributes, err := json.Marshal(s.attributes)
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(s.rest)
	rest := []byte("null")
	if !s.many {
		if rest, err = json.Marshal(append([]string{}, s.rest...)); err != nil {
			return nil, nil, err
		}
	}
	summary, err := json.Marshal(sum)
	return map[string]string{
		factSignal: string(s.signal), factAttributes: string(attributes), factRest: string(rest), factSummary: string(summary),
	}, summary, err
}

// readSchema reads a footer's facts; it is kept with the footer.
func readSchema(m *column.Meta) (any, int, error) {
	s := &schema{signal: signalKind(m.Facts[factSignal]), byKey: map[string]int{}}
	if s.signal != spansFile && s.signal != logsFile {
		return nil, 0, fmt.Errorf("%w: it holds %q", column.ErrDamaged, s.signal)
	}
	if err := json.Unmarshal([]byte(m.Facts[factAttributes]), &s.attributes); err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", column.ErrDamaged, factAttributes, err)
	}
	if err := json.Unmarshal([]byte(m.Facts[factRest]), &s.rest); err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", column.ErrDamaged, factRest, err)
	}
	s.many = s.rest == nil
	bytes := 0
	for i, a := range s.attributes {
		if m.Column(a.Column) < 0 {
			return nil, 0, fmt.Errorf("%w: no column %s", column.ErrDamaged, a.Column)
		}
		s.byKey[a.Key] = i
		s.attrCols = append(s.attrCols, m.Column(a.Column))
		bytes += 120 + 2*len(a.Key) + len(a.Column)
	}
	for _, d := range s.signal.columns() {
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

// mayRest says whether rows may have a key in the attributes column.
func (s *schema) mayRest(key string) bool {
	if i, ok := s.byKey[key]; ok {
		return s.attributes[i].Elsewhere
	}
	if s.many {
		return true
	}
	_, found := slices.BinarySearch(s.rest, key)
	return found
}
