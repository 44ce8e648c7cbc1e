package column

// compactReader reads the two Thrift structures that every look-up needs by the dozen, page headers and offset indexes;
// the general decoder takes ten times as long. Source: Thrift compact protocol specification.
type compactReader struct {
	buf []byte
	pos int
	bad bool
}

func (r *compactReader) byte() byte {
	if r.pos >= len(r.buf) {
		r.bad = true
		return 0
	}
	r.pos++
	return r.buf[r.pos-1]
}

func (r *compactReader) uvarint() (v uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *compactReader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// Types of the compact protocol.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
	maxNesting = 16
)

// fields calls fn with the number and type of each field of a struct; fn reads the value or skips it.
func (r *compactReader) fields(fn func(id int16, kind byte)) {
	id := int16(0)
	for !r.bad {
		head := r.byte()
		if head == 0 {
			return
		}
		if d := int16(head >> 4); d != 0 {
			id += d
		} else {
			id = int16(r.varint())
		}
		fn(id, head&0xf)
	}
}

func (r *compactReader) skip(kind byte, depth int) {
	if depth > maxNesting {
		r.bad = true
	}
	if r.bad {
		return
	}
	switch kind {
	case typeTrue, typeFalse:
	case typeByte:
		r.byte()
	case 4, 5, typeI64:
		r.uvarint()
	case typeDouble:
		r.pos += 8
	case typeBinary:
		n := r.uvarint()
		if n > uint64(len(r.buf)) {
			r.bad = true
			return
		}
		r.pos += int(n)
	case typeList, typeSet:
		n, elem := r.list()
		for i := 0; i < n && !r.bad; i++ {
			if elem == typeTrue || elem == typeFalse {
				r.byte()
			} else {
				r.skip(elem, depth+1)
			}
		}
	case typeStruct:
		r.fields(func(_ int16, k byte) { r.skip(k, depth+1) })
	default: // maps: none of the structures has one
		r.bad = true
	}
}

func (r *compactReader) list() (n int, elem byte) {
	head := r.byte()
	n = int(head >> 4)
	if n == 15 {
		v := r.uvarint()
		if v > uint64(len(r.buf)) {
			r.bad = true
			return 0, 0
		}
		n = int(v)
	}
	return n, head & 0xf
}

// appendLocations reads an OffsetIndex.
func appendLocations(out []location, raw []byte) ([]location, error) {
	r := compactReader{buf: raw}
	r.fields(func(id int16, kind byte) {
		if id != 1 || kind != typeList {
			r.skip(kind, 0)
			return
		}
		n, _ := r.list()
		for i := 0; i < n && !r.bad; i++ {
			var p location
			first := int64(0)
			r.fields(func(id int16, kind byte) {
				switch id {
				case 1:
					p.at = r.varint()
				case 2:
					p.size = int32(r.varint())
				case 3:
					first = r.varint()
					p.first = int32(first)
				default:
					r.skip(kind, 0)
				}
			})
			if first < 0 || first > 1<<31-1 {
				r.bad = true
			}
			out = append(out, p)
		}
	})
	if r.bad || r.pos > len(raw) {
		return out, damaged("offset index")
	}
	return out, nil
}

// pageHeader is what we need of a PageHeader.
type pageHeader struct {
	kind, raw, size, values, encoding int64
	crc                               uint32
}

// readPageHeader reads a header at the start of buf and returns its length.
func readPageHeader(buf []byte) (h pageHeader, n int, err error) {
	r := compactReader{buf: buf}
	h.kind = -1
	r.fields(func(id int16, kind byte) {
		switch {
		case id == 1:
			h.kind = r.varint()
		case id == 2:
			h.raw = r.varint()
		case id == 3:
			h.size = r.varint()
		case id == 4:
			h.crc = uint32(r.varint())
		case (id == 5 || id == 7) && kind == typeStruct:
			r.fields(func(id int16, kind byte) {
				switch id {
				case 1:
					h.values = r.varint()
				case 2:
					h.encoding = r.varint()
				default:
					r.skip(kind, 0)
				}
			})
		default:
			r.skip(kind, 0)
		}
	})
	if r.bad || r.pos > len(buf) || h.kind < 0 || h.raw < 0 || h.size < 0 || h.values < 0 {
		return h, 0, damaged("page header")
	}
	return h, r.pos, nil
}
