package build

import (
	"slices"
	"strings"
	"unsafe"

	"weft/collector/signal"
	"weft/collector/store/key"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/jsontext"
	"weft/collector/store/sealed/rows"
	"weft/collector/store/sealed/table"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// Batch is one record of the log: an OTLP export request as it came, and when (Unix nanoseconds).
type Batch struct {
	Received int64
	Raw      []byte
}

// yieldRows is after how many rows the processor is offered to others: whoever asks must not wait for who seals.
const yieldRows = 512

// Rows are rows that are ready to be written.
type Rows struct {
	*table.Table
	Schema *rows.Schema
	Defs   []column.Def
	Order  []uint32 // of the rows that are written
	// Gathered is how many rows there were, with those that are there twice; Faulty how many items could not become one,
	// Malformed how many batches could not be read to their end.
	Gathered, Faulty, Malformed int64

	*builder
	time *table.Column
}

// Time is the start of a span or the time of a record.
func (r *Rows) Time(row uint32) int64 { return r.time.Int(row) }

// Received is when the row's batch came.
func (r *Rows) Received(row uint32) int64 { return r.received.Int(row) }

// Services are the services that rows are from, some perhaps twice.
func (r *Rows) Services() []string { return r.service.Texts() }

// builder fills the columns that spans and log records share, row by row in order of arrival.
type builder struct {
	*table.Table
	schema  *rows.Schema
	row     int
	scratch []byte

	trace, span, service, instance, request, requestFrom, attributes, flags, dropped, received *table.Column
	resource, resourceSchema, scope, scopeVersion, scopeAttrs, scopeSchema                     *table.Column

	targets map[string]*target
	first   target // before a row's first attribute
	aliases []alias
	ids     []rowID

	resources map[string]*resource
	last      *resource
	lastRaw   []byte
	scopes    scopeText
}

// target is where an attribute of a key goes.
type target struct {
	key   string
	col   *table.Column // nil: the attributes column
	kind  otlp.Type
	place int     // in the schema's attributes
	rank  int     // of a request ID's alias, from 1
	id    bool    // it is an ID that a row is found by
	rest  bool    // rows have it in the attributes column
	row   int     // the last row that had it, counted from 1
	next  *target // what came after it last time
}

// alias is an attribute of the row that may be its request ID.
type alias struct {
	*target
	value *otlp.Value
	text  string
}

// rowID is an ID by which a row is found.
type rowID struct {
	key key.Key
	row uint32
}

type resource struct{ text, service, instance, schema string }

type scopeText struct {
	name, version, schema, attrs string
	valid                        bool
}

func newBuilder(s *rows.Schema, defs []column.Def, n int) *builder {
	b := &builder{Table: table.New(defs, n), schema: s, targets: map[string]*target{}, resources: map[string]*resource{}}
	named := map[string]*table.Column{}
	for _, c := range b.Columns {
		named[c.Name] = c
	}
	for name, into := range map[string]**table.Column{
		rows.ColTrace: &b.trace, rows.ColSpan: &b.span, rows.ColService: &b.service, rows.ColInstance: &b.instance, rows.ColRequest: &b.request,
		rows.ColRequestFrom: &b.requestFrom, rows.ColAttributes: &b.attributes, rows.ColFlags: &b.flags, rows.ColDroppedAttrs: &b.dropped,
		rows.ColReceived: &b.received, rows.ColResource: &b.resource, rows.ColResourceSchema: &b.resourceSchema, rows.ColScope: &b.scope,
		rows.ColScopeVersion: &b.scopeVersion, rows.ColScopeAttrs: &b.scopeAttrs, rows.ColScopeSchema: &b.scopeSchema,
	} {
		*into = named[name]
	}
	for i, a := range s.Attributes {
		t := b.target(a.Key)
		t.place, t.col = i, named[a.Column]
		t.kind = [...]otlp.Type{column.Text: otlp.Text, column.Int: otlp.Int, column.Double: otlp.Double, column.Bool: otlp.Bool}[t.col.Kind]
	}
	return b
}

// column finds a column by its name.
func (b *builder) column(name string) *table.Column {
	for _, c := range b.Columns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// maxTargets bounds the keys that are known; those beyond are looked at anew each time.
const maxTargets = 1 << 14

func (b *builder) target(key string) *target {
	if t, ok := b.targets[key]; ok {
		return t
	}
	t := &target{key: key, id: key == semconv.ClientRequestID || key == semconv.ClientTraceID}
	for i, name := range semconv.RequestIDAliases {
		if name == key {
			t.rank, t.id = i+1, true
		}
	}
	if len(b.targets) < maxTargets {
		b.targets[strings.Clone(key)] = t
	}
	return t
}

// common sets what spans and log records share.
func (b *builder) common(trace, span []byte, from origin) {
	b.trace.SetID(b.row, trace)
	b.span.SetID(b.row, span)
	b.received.SetInt(b.row, from.received)
	b.setResource(from.resource)
	b.setScope(from.scope)
}

// origin is what an item came with.
type origin struct {
	resource *otlp.Resource
	scope    *otlp.Scope
	received int64
}

func (b *builder) setResource(r *otlp.Resource) {
	if b.last == nil || unsafe.SliceData(r.Raw) != unsafe.SliceData(b.lastRaw) || len(r.Raw) != len(b.lastRaw) || r.SchemaURL != b.last.schema {
		key := string(r.Raw) + r.SchemaURL
		b.lastRaw = r.Raw
		if b.last = b.resources[key]; b.last == nil {
			b.last = &resource{
				text: string(jsontext.AppendAttrs(nil, r.Attrs)), service: r.Text(semconv.ServiceName), instance: r.Text(semconv.ServiceInstanceID),
				schema: r.SchemaURL,
			}
			b.resources[key] = b.last
		}
	}
	b.resource.Set(b.row, b.last.text)
	setText(b.service, b.row, b.last.service)
	setText(b.instance, b.row, b.last.instance)
	setText(b.resourceSchema, b.row, b.last.schema)
}

// setText leaves an empty text out.
func setText(c *table.Column, row int, text string) {
	if text != "" {
		c.Set(row, text)
	}
}

// setInt leaves a zero out.
func setInt(c *table.Column, row int, v int64) {
	if v != 0 {
		c.SetInt(row, v)
	}
}

func (b *builder) setScope(s *otlp.Scope) {
	last := &b.scopes
	if len(s.Attrs) > 0 || !last.valid || s.Name != last.name || s.Version != last.version || s.SchemaURL != last.schema {
		*last = scopeText{name: s.Name, version: s.Version, schema: s.SchemaURL, valid: len(s.Attrs) == 0}
		if len(s.Attrs) > 0 {
			last.attrs = string(jsontext.AppendAttrs(nil, s.Attrs))
		}
	}
	setText(b.scope, b.row, last.name)
	setText(b.scopeVersion, b.row, last.version)
	setText(b.scopeSchema, b.row, last.schema)
	setText(b.scopeAttrs, b.row, last.attrs)
}

// setAttributes spreads the attributes of a row over columns.
func (b *builder) setAttributes(attrs []otlp.Attr, trace *[16]byte) {
	rest := append(b.scratch[:0], '{')
	b.aliases = b.aliases[:0]
	last := &b.first
	for i := range attrs {
		a := &attrs[i]
		t := last.next
		if t == nil || t.key != a.Key {
			t = b.target(a.Key)
			last.next = t
		}
		last = t
		if t.row == b.row+1 {
			continue // of a key that comes twice the first counts
		}
		t.row = b.row + 1
		if t.id {
			text := idText(&a.Value)
			b.addID(text, trace)
			if t.rank > 0 {
				b.aliases = append(b.aliases, alias{t, &a.Value, text})
				continue
			}
		}
		rest = b.setAttribute(t, &a.Value, rest)
	}
	rest = b.setRequest(trace, rest)
	if b.scratch = rest; len(rest) > 1 {
		b.attributes.SetCopy(b.row, append(rest, '}'))
	}
}

func (b *builder) setAttribute(t *target, v *otlp.Value, rest []byte) []byte {
	if t.col == nil || t.kind != v.Type {
		if !t.rest {
			b.putRest(t)
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		return jsontext.AppendValue(jsontext.AppendKey(rest, t.key), v)
	}
	switch v.Type {
	case otlp.Text:
		t.col.Set(b.row, v.Text())
	case otlp.Int:
		t.col.SetInt(b.row, v.Int())
	case otlp.Double:
		t.col.SetDouble(b.row, v.Double())
	case otlp.Bool:
		t.col.SetBool(b.row, v.Bool())
	}
	return rest
}

// putRest notes that rows have a key in the attributes column.
func (b *builder) putRest(t *target) {
	t.rest = true
	if t.col != nil {
		b.schema.Attributes[t.place].Elsewhere = true
	} else if len(b.schema.Rest) >= rows.MaxRest {
		b.schema.Many = true
	} else if key := signal.Valid(t.key); !slices.Contains(b.schema.Rest, key) {
		b.schema.Rest = append(b.schema.Rest, key)
	}
}

// idText is an ID as text: of a list the first.
func idText(v *otlp.Value) string {
	first := v.First()
	switch first.Type {
	case otlp.Text:
		return first.Text()
	case otlp.Int, otlp.Bool:
		return signal.ValueText(&first)
	}
	return ""
}

// addID enters an ID that the row is found by, unless its trace ID says the same.
func (b *builder) addID(id string, trace *[16]byte) {
	if id == "" {
		return
	}
	if other, ok := signal.ParseTraceID(id); ok && [16]byte(other) == *trace {
		return
	}
	b.ids = append(b.ids, rowID{key.OfText(signal.Valid(id)), uint32(b.row)})
}

// setRequest sets the row's request ID: the first alias that holds text. Its attribute needs no place of its own when
// it is that text, or a list of it alone.
func (b *builder) setRequest(trace *[16]byte, rest []byte) []byte {
	var best *alias
	for i := range b.aliases {
		a := &b.aliases[i]
		if first := a.value.First(); first.Type == otlp.Text && a.text != "" && (best == nil || a.rank < best.rank) {
			best = a
		}
	}
	for i := range b.aliases {
		if a := &b.aliases[i]; a != best {
			rest = b.setAttribute(a.target, a.value, rest)
		}
	}
	if best == nil {
		return rest
	}
	switch {
	case best.value.Type == otlp.Text:
		b.requestFrom.Set(b.row, best.key)
	case best.value.Len() == 1:
		b.requestFrom.Set(b.row, best.key+rows.List)
	default:
		b.request.Set(b.row, signal.Valid(best.text))
		return b.setAttribute(best.target, best.value, rest)
	}
	if !isHex(best.text, trace) {
		b.request.Set(b.row, signal.Valid(best.text))
	}
	return rest
}

// isHex says whether text is the trace ID in hex, as we write it.
func isHex(text string, trace *[16]byte) bool {
	const digits = "0123456789abcdef"
	if len(text) != 2*len(trace) {
		return false
	}
	for i, b := range trace {
		if text[2*i] != digits[b>>4] || text[2*i+1] != digits[b&15] {
			return false
		}
	}
	return true
}
