package load

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// slot is something that differs from item to item, always of one width.
type slot int

const (
	atTraceID slot = iota
	atSpanID
	atParentID
	atStart // of a log record, its time
	atEnd   // of a log record, when it was observed
	atRequestID
	atItem
	atAgent
	atPeer
	atInstance
	atNumber5
	atNumber4
	atNumber2
	atThread
	slots
)

// template is an encoded item with the places of its slots; -1 where it has none.
type template struct {
	bytes []byte
	at    [slots]int
}

func newTemplate() *template {
	t := &template{}
	for i := range t.at {
		t.at[i] = -1
	}
	return t
}

// mark notes that the last bytes written, from back bytes before the end, are a slot.
func (t *template) mark(s slot, back int) { t.at[s] = len(t.bytes) - back }

func (t *template) raw(number protowire.Number, data []byte) {
	t.bytes = protowire.AppendTag(t.bytes, number, protowire.BytesType)
	t.bytes = protowire.AppendBytes(t.bytes, data)
}

func (t *template) text(number protowire.Number, s string) { t.raw(number, []byte(s)) }

func (t *template) varint(number protowire.Number, n uint64) {
	t.bytes = protowire.AppendTag(t.bytes, number, protowire.VarintType)
	t.bytes = protowire.AppendVarint(t.bytes, n)
}

// blank is a slot of the given width: bytes, or for width 0 a fixed 64-bit number.
func (t *template) blank(number protowire.Number, s slot, width int) {
	if width == 0 {
		t.bytes = protowire.AppendTag(t.bytes, number, protowire.Fixed64Type)
		t.bytes = protowire.AppendFixed64(t.bytes, 0)
		t.mark(s, 8)
		return
	}
	t.raw(number, make([]byte, width))
	t.mark(s, width)
}

// message embeds inner, whose slots become this template's.
func (t *template) message(number protowire.Number, inner *template) {
	t.raw(number, inner.bytes)
	for s, at := range inner.at {
		if at >= 0 {
			t.at[s] = len(t.bytes) - len(inner.bytes) + at
		}
	}
}

// attribute is a KeyValue with a text; edit marks the slots in the text, which is what was written last.
func (t *template) attribute(number protowire.Number, key, value string, edit ...func(*template)) {
	text := newTemplate()
	text.text(1, value)
	for _, fn := range edit {
		fn(text)
	}
	t.keyValue(number, key, text)
}

func (t *template) integer(number protowire.Number, key string, n uint64, edit ...func(*template)) {
	value := newTemplate()
	value.varint(3, n)
	for _, fn := range edit {
		fn(value)
	}
	t.keyValue(number, key, value)
}

func (t *template) keyValue(number protowire.Number, key string, value *template) {
	pair := newTemplate()
	pair.text(1, key)
	pair.message(2, value)
	t.message(number, pair)
}

// lastBytes marks a slot in the last n bytes written.
func lastBytes(s slot, n int) func(*template) {
	return func(t *template) { t.mark(s, n) }
}

// prefixed is the template as a repeated field of a message: with tag and length before it.
func prefixed(number protowire.Number, t *template) *template {
	out := newTemplate()
	out.message(number, t)
	return out
}

// header is the tag of a message of n bytes and its length.
func header(out []byte, number protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, number, protowire.BytesType), uint64(n))
}

// headerSize is len(header(nil, number, n)).
func headerSize(number protowire.Number, n int) int {
	return protowire.SizeTag(number) + protowire.SizeVarint(uint64(n))
}

func put64(out []byte, at int, n int64) { binary.LittleEndian.PutUint64(out[at:], uint64(n)) }

// digits writes n in as many digits as out has.
func digits(out []byte, n uint64) {
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = '0' + byte(n%10)
		n /= 10
	}
}
