package otlp

import "fmt"

// Span is one span. Times are Unix nanoseconds.
type Span struct {
	Resource          *Resource
	Scope             *Scope
	TraceID           [16]byte // zero when the sender gave none
	SpanID, ParentID  [8]byte
	TraceState, Name  string
	Kind              uint8 // OTLP's SpanKind
	Start, End        uint64
	Attrs             []Attr
	DroppedAttributes uint32
	Events, Links     [][]byte // encoded; see EachEvent and EachLink
	DroppedEvents     uint32
	DroppedLinks      uint32
	Status            uint8 // OTLP's StatusCode
	StatusMessage     string
	Flags             uint32
	Raw               []byte // the Span message
	// Fault says why the span cannot be kept although the batch around it is sound; empty when it can.
	Fault string
}

// Event is a point in time within a span.
type Event struct {
	Time              uint64
	Name              string
	Attrs             []Attr
	DroppedAttributes uint32
}

// Link points to a span of this or another trace.
type Link struct {
	TraceID           [16]byte
	SpanID            [8]byte
	TraceState        string
	Attrs             []Attr
	DroppedAttributes uint32
	Flags             uint32
}

// Spans walks a TracesData or ExportTraceServiceRequest message, and calls fn with each span in turn. The span and all
// that it points to is valid during the call. ErrMalformed means that the batch as a whole cannot be read.
func Spans(batch []byte, fn func(*Span) error) error {
	var w walk
	var s Span
	w.item = func(raw []byte) error {
		s = Span{Resource: &w.resource, Scope: &w.scope, Attrs: s.Attrs[:0], Events: s.Events[:0], Links: s.Links[:0], Raw: raw}
		if w.resource.deep || w.scope.deep {
			s.fault("attributes nest deeper than %d", maxDepth)
		}
		if err := s.read(raw); err != nil {
			return err
		}
		return fn(&s)
	}
	return w.batch(batch)
}

func (s *Span) fault(format string, args ...any) {
	if s.Fault == "" {
		s.Fault = fmt.Sprintf(format, args...)
	}
}

func id(into, data []byte) bool {
	if len(data) == 0 {
		clear(into)
		return true
	}
	return copy(into, data) == len(into) && len(data) == len(into)
}

// spanWires are the wire types of Span's fields, by number.
var spanWires = [17]wireType{0, bytesType, bytesType, bytesType, bytesType, bytesType, varint, fixed64, fixed64, bytesType,
	varint, bytesType, varint, bytesType, varint, bytesType, fixed32}

func (s *Span) read(buf []byte) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		if int(f.id) >= len(spanWires) {
			continue
		}
		if err := f.is(spanWires[f.id]); err != nil {
			return err
		}
		if err := s.field(&f); err != nil {
			return err
		}
	}
}

func (s *Span) field(f *field) (err error) {
	switch f.id {
	case 1:
		s.wrongID("trace_id", f.data, id(s.TraceID[:], f.data))
	case 2:
		s.wrongID("span_id", f.data, id(s.SpanID[:], f.data))
	case 3:
		s.TraceState = view(f.data)
	case 4:
		s.wrongID("parent_span_id", f.data, id(s.ParentID[:], f.data))
	case 5:
		s.Name = view(f.data)
	case 6:
		s.Kind = enum(f.num, 5)
	case 7:
		s.Start = f.num
	case 8:
		s.End = f.num
	case 9:
		var deep bool
		s.Attrs, deep, err = appendAttr(s.Attrs, f.data)
		s.deep(deep)
	case 10:
		s.DroppedAttributes = uint32(f.num)
	case 11:
		s.Events = append(s.Events, f.data)
		err = s.checkEvent(f.data)
	case 12:
		s.DroppedEvents = uint32(f.num)
	case 13:
		s.Links = append(s.Links, f.data)
		err = s.checkLink(f.data)
	case 14:
		s.DroppedLinks = uint32(f.num)
	case 15:
		err = s.status(f.data)
	case 16:
		s.Flags = uint32(f.num)
	}
	return err
}

// enum is a small enumeration's number; one that OTLP does not know is 0, "unspecified".
func enum(n uint64, highest uint8) uint8 {
	if n > uint64(highest) {
		return 0
	}
	return uint8(n)
}

func (s *Span) wrongID(name string, data []byte, right bool) {
	if !right {
		s.fault("%s has %d bytes", name, len(data))
	}
}

func (s *Span) deep(deep bool) {
	if deep {
		s.fault("attributes nest deeper than %d", maxDepth)
	}
}

func (s *Span) status(buf []byte) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		switch f.id {
		case 2:
			err = f.is(bytesType)
			s.StatusMessage = view(f.data)
		case 3:
			err = f.is(varint)
			s.Status = enum(f.num, 2)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Span) checkEvent(buf []byte) error {
	var e Event
	deep, err := e.read(buf)
	s.deep(deep)
	return err
}

func (s *Span) checkLink(buf []byte) error {
	var l Link
	fault, err := l.read(buf)
	if fault != "" {
		s.fault("link: %s", fault)
	}
	return err
}

// EachEvent calls fn with every event of the span; the event is valid during the call.
func (s *Span) EachEvent(fn func(*Event)) {
	var e Event
	for _, raw := range s.Events {
		e = Event{Attrs: e.Attrs[:0]}
		_, _ = e.read(raw) // checked by the walk
		fn(&e)
	}
}

// EachLink calls fn with every link of the span; the link is valid during the call.
func (s *Span) EachLink(fn func(*Link)) {
	var l Link
	for _, raw := range s.Links {
		l = Link{Attrs: l.Attrs[:0]}
		_, _ = l.read(raw) // checked by the walk
		fn(&l)
	}
}

func (e *Event) read(buf []byte) (deep bool, err error) {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return deep, err
		}
		if f.id > 4 {
			continue
		}
		if err := f.is([...]wireType{0, fixed64, bytesType, bytesType, varint}[f.id]); err != nil {
			return deep, err
		}
		switch f.id {
		case 1:
			e.Time = f.num
		case 2:
			e.Name = view(f.data)
		case 3:
			var tooDeep bool
			if e.Attrs, tooDeep, err = appendAttr(e.Attrs, f.data); err != nil {
				return deep, err
			}
			deep = deep || tooDeep
		case 4:
			e.DroppedAttributes = uint32(f.num)
		}
	}
}

func (l *Link) read(buf []byte) (fault string, err error) {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return fault, err
		}
		if f.id > 6 {
			continue
		}
		if err := f.is([...]wireType{0, bytesType, bytesType, bytesType, bytesType, varint, fixed32}[f.id]); err != nil {
			return fault, err
		}
		switch f.id {
		case 1, 2:
			into := l.TraceID[:]
			if f.id == 2 {
				into = l.SpanID[:]
			}
			if !id(into, f.data) {
				fault = fmt.Sprintf("an ID of %d bytes", len(f.data))
			}
		case 3:
			l.TraceState = view(f.data)
		case 4:
			var deep bool
			if l.Attrs, deep, err = appendAttr(l.Attrs, f.data); err != nil {
				return fault, err
			}
			if deep {
				fault = fmt.Sprintf("attributes nest deeper than %d", maxDepth)
			}
		case 5:
			l.DroppedAttributes = uint32(f.num)
		case 6:
			l.Flags = uint32(f.num)
		}
	}
}

// FirstLink is where the span's first link points; zero when it has none.
func (s *Span) FirstLink() (trace [16]byte, span [8]byte) {
	if len(s.Links) == 0 {
		return trace, span
	}
	c, f := cursor{buf: s.Links[0]}, field{}
	for {
		if ok, err := c.next(&f); !ok || err != nil { // checked by the walk
			return trace, span
		}
		switch f.id {
		case 1:
			id(trace[:], f.data)
		case 2:
			id(span[:], f.data)
		}
	}
}
