package build

import (
	"cmp"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/plog"

	"weft/collector/signal"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
	"weft/collector/store/sealed/table"
	"weft/internal/otlp"
	"weft/internal/semconv"
)

// Logs makes rows of the log records in batches, as Spans does.
func Logs(batches []Batch, keep []string) *Rows {
	c := sample(batches, rows.Logs)
	s, defs := c.schema(rows.Logs, keep)
	b := newLogBuilder(s, defs, c.estimate(batches))
	out := &Rows{Table: b.Table, Schema: s, Defs: defs, builder: b.builder, time: b.time}
	for i, batch := range batches {
		err := otlp.Logs(batch.Raw, func(x *otlp.Log) error {
			if b.add(x, batch.Received, i); b.row%yieldRows == 0 {
				runtime.Gosched()
			}
			return nil
		})
		if err != nil {
			out.Malformed++
		}
	}
	out.Gathered, out.Faulty, out.Order = int64(len(b.keys)), b.faulty, b.logOrder()
	return out
}

// logBuilder gathers log records.
type logBuilder struct {
	*builder
	sorter
	time, delay, severity, number, body, event *table.Column
	hashes                                     []uint64 // of each row, all that it is
	source                                     sourceHash
	severities                                 map[string]string
	faulty                                     int64
}

// sourceHash is the hash of a resource and scope, of which many records in turn are.
type sourceHash struct {
	raw   []byte
	scope string
	hash  uint64
}

func newLogBuilder(s *rows.Schema, defs []column.Def, n int) *logBuilder {
	b := &logBuilder{builder: newBuilder(s, defs, n), severities: map[string]string{}}
	for name, into := range map[string]**table.Column{
		rows.ColTime: &b.time, rows.ColDelay: &b.delay, rows.ColSeverity: &b.severity, rows.ColSeverityNumber: &b.number, rows.ColBody: &b.body,
		rows.ColEventName: &b.event,
	} {
		*into = b.column(name)
	}
	b.keys, b.hashes = make([]sortKey, 0, n), make([]uint64, 0, n)
	return b
}

func (b *logBuilder) add(l *otlp.Log, received int64, batch int) {
	if l.Fault != "" {
		b.faulty++
		return
	}
	row := b.row
	trace := l.TraceID
	if trace == [16]byte{} { // applications that log IDs as plain fields are as findable
		if id, ok := signal.ParseTraceID(otlp.Find(l.Attrs, semconv.TraceIDLog).Text()); ok {
			trace = id
		}
	}
	b.common(trace[:], l.SpanID[:], origin{l.Resource, l.Scope, received})
	when := cmp.Or(int64(l.Time), int64(l.Observed))
	b.time.SetInt(row, when)
	if l.Observed != 0 {
		b.delay.SetInt(row, int64(l.Observed)-when)
	}
	setText(b.severity, row, b.severityOf(l))
	setInt(b.number, row, int64(l.SeverityNumber))
	if l.Body.Type == otlp.Text {
		setText(b.body, row, l.Body.Text())
	} else {
		setText(b.body, row, signal.ValueText(&l.Body))
	}
	setText(b.event, row, l.EventName)
	setInt(b.flags, row, int64(l.Flags))
	setInt(b.dropped, row, int64(l.DroppedAttributes))
	b.setAttributes(l.Attrs, &trace)
	key := spanKey(trace, when, [8]byte{}, row)
	key.span = uint64(batch)
	b.keys, b.hashes = append(b.keys, key), append(b.hashes, xxhash.Sum64(l.Raw)^b.sourceOf(l))
	b.row++
	b.Rows = b.row
}

// severityOf is the severity in capitals, from its number when the sender gave no text.
func (b *logBuilder) severityOf(l *otlp.Log) string {
	if l.SeverityText == "" {
		return strings.ToUpper(plog.SeverityNumber(l.SeverityNumber).String())
	}
	upper, ok := b.severities[l.SeverityText]
	if !ok {
		upper = strings.ToUpper(signal.Valid(l.SeverityText))
		if len(b.severities) < few*few {
			b.severities[strings.Clone(l.SeverityText)] = upper
		}
	}
	return upper
}

// sourceOf hashes where a record comes from.
func (b *logBuilder) sourceOf(l *otlp.Log) uint64 {
	if raw := l.Resource.Raw; len(l.Scope.Attrs) > 0 || b.source.raw == nil || unsafe.SliceData(raw) != unsafe.SliceData(b.source.raw) ||
		len(raw) != len(b.source.raw) || l.Scope.Name != b.source.scope {
		b.source = sourceHash{raw, l.Scope.Name, xxhash.Sum64(raw)*31 + xxhash.Sum64String(l.Scope.Name)}
	}
	return b.source.hash
}

// logOrder is the rows in order, without those that a batch sent again has brought once more.
func (b *logBuilder) logOrder() []uint32 {
	b.sort()
	b.sortOrphans()
	order := make([]uint32, 0, len(b.keys))
	for from := 0; from < len(b.keys); {
		end := from + 1
		for end < len(b.keys) && b.keys[end].time == b.keys[from].time && b.keys[end].sameTrace(&b.keys[from]) {
			end++
		}
		order = b.appendOnce(order, b.keys[from:end])
		from = end
	}
	return order
}

// sortOrphans puts records without a trace, which come first, in order of request ID, service, time.
func (b *logBuilder) sortOrphans() {
	n := 0
	for n < len(b.keys) && b.keys[n].orphan() {
		n++
	}
	slices.SortStableFunc(b.keys[:n], func(x, y sortKey) int {
		return cmp.Or(
			strings.Compare(b.request.Text(x.row), b.request.Text(y.row)),
			strings.Compare(b.service.Text(x.row), b.service.Text(y.row)),
			cmp.Compare(x.time, y.time),
		)
	})
}

// appendOnce appends records of one moment: each as often as the batch, or the row group, that holds it most often says
// (decision 0023).
func (b *logBuilder) appendOnce(order []uint32, group []sortKey) []uint32 {
	if len(group) == 1 {
		return append(order, group[0].row)
	}
	type count struct {
		batch    uint64
		in, kept int
	}
	counts := make(map[uint64]*count, len(group))
	for i := range group {
		k := &group[i]
		h := b.hashes[k.row]
		c := counts[h]
		if c == nil {
			c = &count{batch: k.span}
			counts[h] = c
		}
		if c.batch != k.span {
			c.batch, c.in = k.span, 0
		}
		if c.in++; c.in > c.kept {
			c.kept++
			order = append(order, k.row)
		}
	}
	return order
}
