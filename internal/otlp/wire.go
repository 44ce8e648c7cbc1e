package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// ErrMalformed says that bytes are not the protobuf message they should be.
var ErrMalformed = errors.New("malformed protobuf")

type wireType uint8

const (
	varint     wireType = 0
	fixed64    wireType = 1
	bytesType  wireType = 2
	startGroup wireType = 3
	endGroup   wireType = 4
	fixed32    wireType = 5
)

// field is one field of a message: a number in num, or bytes in data.
type field struct {
	id   int32
	wire wireType
	num  uint64
	data []byte
}

// cursor reads the fields of one message.
type cursor struct {
	buf []byte
	pos int
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// next reads one field into f; it is false at the end of the message.
func (c *cursor) next(f *field) (bool, error) {
	if c.pos >= len(c.buf) {
		return false, nil
	}
	tag, err := c.varint()
	if err != nil {
		return false, err
	}
	f.id, f.wire = int32(tag>>3), wireType(tag&7)
	if f.id <= 0 {
		return false, malformed("illegal field number")
	}
	return true, c.value(f)
}

func (c *cursor) value(f *field) (err error) {
	switch f.wire {
	case bytesType:
		var length uint64
		if length, err = c.varint(); err != nil {
			return err
		}
		if length > uint64(len(c.buf)-c.pos) {
			return malformed("a field is longer than its message")
		}
		f.data = c.buf[c.pos : c.pos+int(length) : c.pos+int(length)]
		c.pos += int(length)
		return nil
	case varint:
		f.num, err = c.varint()
		return err
	case fixed64:
		if len(c.buf)-c.pos < 8 {
			return malformed("truncated number")
		}
		f.num = binary.LittleEndian.Uint64(c.buf[c.pos:])
		c.pos += 8
		return nil
	case fixed32:
		if len(c.buf)-c.pos < 4 {
			return malformed("truncated number")
		}
		f.num = uint64(binary.LittleEndian.Uint32(c.buf[c.pos:]))
		c.pos += 4
		return nil
	case startGroup:
		return c.skipGroup()
	}
	return malformed("illegal wire type")
}

// skipGroup passes over a group, which protobuf has given up and OTLP never used, with all that it holds.
func (c *cursor) skipGroup() error {
	for depth := 1; depth > 0; {
		tag, err := c.varint()
		if err != nil {
			return err
		}
		f := field{id: int32(tag >> 3), wire: wireType(tag & 7)}
		switch {
		case f.id <= 0:
			return malformed("illegal field number")
		case c.pos >= len(c.buf): // the full decoder takes no group that ends its message
			return malformed("truncated group")
		case f.wire == startGroup:
			depth++
		case f.wire == endGroup:
			depth--
		default:
			// Inside a group the full decoder takes one value for the rest of it, and so do we.
			return c.value(&f)
		}
	}
	return nil
}

func (c *cursor) varint() (uint64, error) {
	if c.pos < len(c.buf) && c.buf[c.pos] < 0x80 {
		c.pos++
		return uint64(c.buf[c.pos-1]), nil
	}
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		if c.pos >= len(c.buf) {
			return 0, malformed("truncated number")
		}
		b := c.buf[c.pos]
		c.pos++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, malformed("a number is too long")
}

// is checks the wire type of a field that is known.
func (f *field) is(want wireType) error {
	if f.wire != want {
		return fmt.Errorf("%w: field %d has wire type %d, not %d", ErrMalformed, f.id, f.wire, want)
	}
	return nil
}

// view shows bytes as text without copying them.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
