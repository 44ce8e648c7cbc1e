package otlp

import "fmt"

// Log is one log record. Times are Unix nanoseconds.
type Log struct {
	Resource          *Resource
	Scope             *Scope
	Time, Observed    uint64
	SeverityNumber    int32 // OTLP's, 0 to 24
	SeverityText      string
	Body              Value
	Attrs             []Attr
	DroppedAttributes uint32
	Flags             uint32
	TraceID           [16]byte // zero when the sender gave none
	SpanID            [8]byte
	EventName         string
	Raw               []byte // the LogRecord message
	// Fault says why the record cannot be kept although the batch around it is sound; empty when it can.
	Fault  string
	reason Reason
}

// Logs walks a LogsData or ExportLogsServiceRequest message, and calls fn with each record in turn. The record and all
// that it points to is valid during the call. ErrMalformed means that the batch as a whole cannot be read.
func Logs(batch []byte, fn func(*Log) error) error {
	var w walk
	var l Log
	w.item = func(raw []byte) error {
		l = Log{Resource: &w.resource, Scope: &w.scope, Attrs: l.Attrs[:0], Raw: raw}
		l.deep(w.resource.deep || w.scope.deep)
		if err := l.read(raw); err != nil {
			return err
		}
		return fn(&l)
	}
	return w.batch(batch)
}

func (l *Log) fault(reason Reason, format string, args ...any) {
	if l.Fault == "" {
		l.Fault, l.reason = fmt.Sprintf(format, args...), reason
	}
}

func (l *Log) deep(deep bool) {
	if deep {
		l.fault(ReasonAttributes, tooDeep)
	}
}

// logWires are the wire types of LogRecord's fields, by number. There is no field 4.
var logWires = [13]wireType{0, fixed64, varint, bytesType, 0, bytesType, bytesType, varint, fixed32, bytesType, bytesType,
	fixed64, bytesType}

func (l *Log) read(buf []byte) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		if int(f.id) >= len(logWires) || f.id == 4 {
			continue
		}
		if err := f.is(logWires[f.id]); err != nil {
			return err
		}
		if err := l.field(&f); err != nil {
			return err
		}
	}
}

func (l *Log) field(f *field) (err error) {
	var deep bool
	switch f.id {
	case 1:
		l.Time = f.num
	case 2:
		l.SeverityNumber = int32(enum(f.num, 24))
	case 3:
		l.SeverityText = view(f.data)
	case 5:
		deep, err = l.Body.read(f.data, 0)
	case 6:
		l.Attrs, deep, err = appendAttr(l.Attrs, f.data)
	case 7:
		l.DroppedAttributes = uint32(f.num)
	case 8:
		l.Flags = uint32(f.num)
	case 9:
		if !id(l.TraceID[:], f.data) {
			l.fault(ReasonID, "trace_id has %d bytes", len(f.data))
		}
	case 10:
		if !id(l.SpanID[:], f.data) {
			l.fault(ReasonID, "span_id has %d bytes", len(f.data))
		}
	case 11:
		l.Observed = f.num
	case 12:
		l.EventName = view(f.data)
	}
	l.deep(deep)
	return err
}
