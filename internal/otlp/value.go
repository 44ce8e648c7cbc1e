package otlp

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// Type is the type of an attribute's value.
type Type uint8

// The types of OTLP's AnyValue.
const (
	Empty Type = iota
	Text
	Bool
	Int
	Double
	Array
	Map
	Bytes
)

// Value is one attribute value.
type Value struct {
	Type Type
	num  uint64 // Bool, Int, Double
	data []byte // Text, Bytes; encoded: Array, Map
}

// Attr is one attribute.
type Attr struct {
	Key   string
	Value Value
}

// maxDepth bounds arrays and maps inside one another: deeper ones are no telemetry, but an attack on a stack.
const maxDepth = 32

// Text is the value if it is text, else nothing.
func (v *Value) Text() string {
	if v.Type != Text {
		return ""
	}
	return view(v.data)
}

// Int is the value if it is an integer, else 0.
func (v *Value) Int() int64 {
	if v.Type != Int {
		return 0
	}
	return int64(v.num)
}

// Double is the value if it is a floating-point number, else 0.
func (v *Value) Double() float64 {
	if v.Type != Double {
		return 0
	}
	return math.Float64frombits(v.num)
}

// Bool is the value if it is a boolean, else false.
func (v *Value) Bool() bool { return v.Type == Bool && v.num != 0 }

// Len is the number of elements if the value is an array, else 0.
func (v *Value) Len() (n int) {
	if v.Type != Array {
		return 0
	}
	c, f := cursor{buf: v.data}, field{}
	for ok, _ := c.next(&f); ok; ok, _ = c.next(&f) {
		if f.id == 1 {
			n++
		}
	}
	return n
}

// First is the value itself or, of an array, its first element: instrumentations write header attributes as lists.
func (v *Value) First() Value {
	if v.Type != Array {
		return *v
	}
	c, f := cursor{buf: v.data}, field{}
	for {
		if ok, err := c.next(&f); !ok || err != nil {
			return Value{}
		}
		if f.id == 1 && f.wire == bytesType {
			var first Value
			_, err := first.read(f.data, 0)
			if err != nil {
				return Value{}
			}
			return first
		}
	}
}

// String is the value as text: numbers in decimal, bytes in base64, arrays and maps as JSON. It may be a view.
func (v *Value) String() string {
	switch v.Type {
	case Text:
		return view(v.data)
	case Bool:
		return strconv.FormatBool(v.num != 0)
	case Int:
		return strconv.FormatInt(int64(v.num), 10)
	case Double:
		return formatDouble(math.Float64frombits(v.num))
	case Bytes:
		return base64.StdEncoding.EncodeToString(v.data)
	case Array, Map:
		raw, err := json.Marshal(finite(v.Any()))
		if err != nil {
			return ""
		}
		return string(raw)
	}
	return ""
}

func formatDouble(f float64) string {
	raw, err := json.Marshal(f)
	if err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(raw)
}

// finite replaces what JSON has no numbers for.
func finite(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case []any:
		for i := range v {
			v[i] = finite(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = finite(v[k])
		}
	}
	return v
}

// Any is the value in memory of its own: nil, string, bool, int64, float64, []byte, []any or map[string]any.
func (v *Value) Any() any {
	switch v.Type {
	case Text:
		return string(v.data)
	case Bool:
		return v.num != 0
	case Int:
		return int64(v.num)
	case Double:
		return math.Float64frombits(v.num)
	case Bytes:
		return append([]byte{}, v.data...)
	case Array:
		list := []any{}
		c, f := cursor{buf: v.data}, field{}
		for ok, _ := c.next(&f); ok; ok, _ = c.next(&f) {
			if f.id == 1 {
				var item Value
				_, _ = item.read(f.data, 0) // checked when the value was read
				list = append(list, item.Any())
			}
		}
		return list
	case Map:
		attrs, _, _ := appendAttrs(nil, v.data, 1)
		return Owned(attrs)
	}
	return nil
}

// Owned is attributes in memory of their own. Of a key that comes twice the first counts, as it does for the full decoder.
func Owned(attrs []Attr) map[string]any {
	out := make(map[string]any, len(attrs))
	for i := range attrs {
		if _, twice := out[attrs[i].Key]; !twice {
			out[strings.Clone(attrs[i].Key)] = attrs[i].Value.Any()
		}
	}
	return out
}

// read reads an AnyValue. deep says that it nests beyond maxDepth: then it is empty.
func (v *Value) read(buf []byte, depth int) (deep bool, err error) {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return deep, err
		}
		if f.id > 8 {
			continue
		}
		if err := f.is([...]wireType{0, bytesType, varint, varint, fixed64, bytesType, bytesType, bytesType, varint}[f.id]); err != nil {
			return deep, err
		}
		switch f.id {
		case 1:
			v.Type, v.data = Text, f.data
		case 2, 3:
			v.Type, v.num = Type(f.id), f.num
		case 4:
			v.Type, v.num = Double, f.num
		case 5, 6:
			tooDeep, err := checkNested(f.data, f.id == 6, depth+1)
			if err != nil {
				return deep, err
			}
			deep = deep || tooDeep
			v.Type, v.data = Type(f.id), f.data
		case 7:
			v.Type, v.data = Bytes, f.data
		case 8: // an index into a table that only profiles have
			v.Type = Empty
		}
	}
}

// checkNested reads an array's or a map's elements and forgets them.
func checkNested(buf []byte, pairs bool, depth int) (deep bool, err error) {
	if depth > maxDepth {
		return true, nil
	}
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return deep, err
		}
		if f.id != 1 {
			continue
		}
		if err := f.is(bytesType); err != nil {
			return deep, err
		}
		var tooDeep bool
		if pairs {
			var a Attr
			tooDeep, err = a.read(f.data, depth)
		} else {
			var v Value
			tooDeep, err = v.read(f.data, depth)
		}
		if err != nil {
			return deep, err
		}
		deep = deep || tooDeep
	}
}

// read reads a KeyValue.
func (a *Attr) read(buf []byte, depth int) (deep bool, err error) {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return deep, err
		}
		switch f.id {
		case 1:
			if err := f.is(bytesType); err != nil {
				return deep, err
			}
			a.Key = view(f.data)
		case 2:
			if err := f.is(bytesType); err != nil {
				return deep, err
			}
			tooDeep, err := a.Value.read(f.data, depth)
			if err != nil {
				return deep, err
			}
			deep = deep || tooDeep
		case 3:
			if err := f.is(varint); err != nil {
				return deep, err
			}
		}
	}
}

// appendAttrs reads every KeyValue with the field number id of a message, and nothing else of it.
func appendAttrs(attrs []Attr, buf []byte, id int32) (_ []Attr, deep bool, err error) {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return attrs, deep, err
		}
		if f.id != id {
			continue
		}
		if err := f.is(bytesType); err != nil {
			return attrs, deep, err
		}
		var tooDeep bool
		if attrs, tooDeep, err = appendAttr(attrs, f.data); err != nil {
			return attrs, deep, err
		}
		deep = deep || tooDeep
	}
}

func appendAttr(attrs []Attr, buf []byte) (_ []Attr, deep bool, err error) {
	attrs = append(attrs, Attr{})
	deep, err = attrs[len(attrs)-1].read(buf, 0)
	return attrs, deep, err
}
