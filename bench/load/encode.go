package load

import "google.golang.org/protobuf/encoding/protowire"

// Signal is what a batch carries.
type Signal uint8

// The signals that are sent.
const (
	Spans Signal = iota
	Logs
)

func (s Signal) String() string { return [...]string{"spans", "logs"}[s] }

// Batch names a batch, of which everything else follows: the items [From, To) of Traces traces.
type Batch struct {
	Signal   Signal
	From, To uint8
	Traces   uint16
	First    uint64 // the number of its first trace
	Base     int64  // when it was made, Unix ns
}

// Items is how many spans or log records it has.
func (b Batch) Items() int { return int(b.Traces) * int(b.To-b.From) }

// Encoder writes batches; it keeps its buffers, and serves one goroutine.
type Encoder struct {
	model  *Model
	groups [][]byte // the items of each, encoded
	trace  trace
}

// NewEncoder is an encoder of the model's traces.
func (m *Model) NewEncoder() *Encoder {
	return &Encoder{model: m, groups: make([][]byte, len(m.groups))}
}

// Append appends the batch as an ExportTraceServiceRequest or ExportLogsServiceRequest.
func (e *Encoder) Append(out []byte, b Batch) []byte {
	for i := range e.groups {
		e.groups[i] = e.groups[i][:0]
	}
	t := &e.trace
	for n := range uint64(b.Traces) {
		e.model.draw(t, b.First+n, b.Base)
		for i := range positions[:b.To] {
			p := positions[i].service
			g := e.model.groupOf[t.journey][p] + t.instances[p]
			if b.Signal == Logs {
				// Drawn also where it is not wanted, so that a record is the same in whichever batch it comes.
				before := len(e.groups[g])
				e.groups[g] = e.log(e.groups[g], i)
				if i < int(b.From) {
					e.groups[g] = e.groups[g][:before]
				}
			} else if i >= int(b.From) {
				e.groups[g] = e.span(e.groups[g], i)
			}
		}
	}
	for g, items := range e.groups {
		if len(items) > 0 {
			out = appendGroup(out, e.model.groups[g], items)
		}
	}
	return out
}

// appendGroup writes a ResourceSpans or ResourceLogs, whose field numbers are the same.
func appendGroup(out []byte, g group, items []byte) []byte {
	const scopes protowire.Number = 2
	inner := len(g.scope) + len(items)
	out = header(out, 1, len(g.resource)+headerSize(scopes, inner)+inner)
	out = append(out, g.resource...)
	out = header(out, scopes, inner)
	out = append(out, g.scope...)
	return append(out, items...)
}

func (e *Encoder) span(out []byte, i int) []byte {
	t, failed := &e.trace, 0
	if t.failed[i] {
		failed = 1
	}
	form := e.model.spans[t.journey][i][failed]
	start := len(out)
	out = append(out, form.bytes...)
	item := out[start:]
	copy(item[form.at[atTraceID]:], t.id[:])
	copy(item[form.at[atSpanID]:], t.spans[i][:])
	if parent := positions[i].parent; parent >= 0 {
		copy(item[form.at[atParentID]:], t.spans[parent][:])
	}
	put64(item, form.at[atStart], t.start[i])
	put64(item, form.at[atEnd], t.start[i]+t.duration[i])
	digits(item[form.at[atItem]:][:4], t.item)
	digits(item[form.at[atPeer]:][:2], t.peers>>(4*i)&15)
	copy(item[form.at[atAgent]:], agents[t.agent])
	copy(item[form.at[atRequestID]:], t.request[:e.model.requestWidth()])
	item[form.at[atInstance]] = '1' + byte(t.instances[positions[i].callee])
	return out
}

func (e *Encoder) log(out []byte, i int) []byte {
	t := &e.trace
	r := &t.logs
	numbers, when := r.next(), t.start[i]+r.part(t.duration[i], 0, 1)
	form := e.model.logs[t.journey][i][wordingOf(numbers&255, t.failed[i])]
	start := len(out)
	out = append(out, form.bytes...)
	item := out[start:]
	put64(item, form.at[atStart], when)
	put64(item, form.at[atEnd], when+int64(numbers>>8&(1<<14-1)))
	copy(item[form.at[atTraceID]:], t.id[:])
	copy(item[form.at[atSpanID]:], t.spans[i][:])
	copy(item[form.at[atRequestID]:], t.request[:e.model.requestWidth()])
	item[form.at[atThread]] = 1 + byte(numbers>>22%96)
	numbers = r.next()
	for _, n := range [...]struct {
		slot  slot
		width int
		value uint64
	}{{atItem, 4, t.item}, {atNumber5, 5, 10000 + numbers&(1<<32-1)%90000}, {atNumber4, 4, 1000 + numbers>>32&0xffff%9000}, {atNumber2, 2, 10 + numbers>>48%90}} {
		if at := form.at[n.slot]; at >= 0 {
			digits(item[at:][:n.width], n.value)
		}
	}
	return out
}

// wordingOf picks a text by a number below 256.
func wordingOf(n uint64, failed bool) int {
	switch {
	case failed:
		return 3
	case n < 8: // 3 in 100
		return 2
	default:
		return int(n & 1)
	}
}
