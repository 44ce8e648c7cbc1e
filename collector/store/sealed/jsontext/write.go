package jsontext

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weft/internal/otlp"
)

// Append appends a value: nil, string, bool, int64, float64, []byte, []any or map[string]any.
func Append(out []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendText(out, v)
	case bool:
		return strconv.AppendBool(out, v)
	case int64:
		return strconv.AppendInt(out, v, 10)
	case float64:
		return appendDouble(out, v)
	case []byte:
		out = append(out, `{"$bytes":"`...)
		return append(base64.StdEncoding.AppendEncode(out, v), `"}`...)
	case []any:
		out = append(out, '[')
		for i, item := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = Append(out, item)
		}
		return append(out, ']')
	case map[string]any:
		out = append(out, '{')
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for i, key := range keys {
			if i > 0 {
				out = append(out, ',')
			}
			out = Append(AppendKey(out, key), v[key])
		}
		return append(out, '}')
	}
	return append(out, "null"...)
}

// AppendKey appends a key and its colon.
func AppendKey(out []byte, key string) []byte {
	if len(key) > 0 && key[0] == '$' {
		out = append(out, `"$`...)
		out = appendQuoted(out, key)
		return append(out, `":`...)
	}
	return append(appendText(out, key), ':')
}

// AppendValue appends the value of an attribute.
func AppendValue(out []byte, v *otlp.Value) []byte {
	switch v.Type {
	case otlp.Text:
		return appendText(out, v.Text())
	case otlp.Int:
		return strconv.AppendInt(out, v.Int(), 10)
	case otlp.Bool:
		return strconv.AppendBool(out, v.Bool())
	case otlp.Double:
		return appendDouble(out, v.Double())
	}
	return Append(out, v.Any())
}

// AppendAttrs appends attributes as a map, in their order. Of a key that comes twice the first counts.
func AppendAttrs(out []byte, attrs []otlp.Attr) []byte {
	if len(attrs) > 32 || repeats(attrs) {
		return Append(out, otlp.Owned(attrs))
	}
	out = append(out, '{')
	for i := range attrs {
		if i > 0 {
			out = append(out, ',')
		}
		out = AppendValue(AppendKey(out, attrs[i].Key), &attrs[i].Value)
	}
	return append(out, '}')
}

func repeats(attrs []otlp.Attr) bool {
	for i := range attrs {
		for j := range i {
			if attrs[i].Key == attrs[j].Key {
				return true
			}
		}
	}
	return false
}

func appendDouble(out []byte, f float64) []byte {
	if f != f || f > math.MaxFloat64 || f < -math.MaxFloat64 || f == 0 && math.Signbit(f) {
		return append(strconv.AppendFloat(append(out, `{"$double":"`...), f, 'g', -1, 64), `"}`...)
	}
	n := len(out)
	out = strconv.AppendFloat(out, f, 'g', -1, 64)
	if !strings.ContainsAny(string(out[n:]), ".e") {
		out = append(out, ".0"...)
	}
	return out
}

func appendText(out []byte, text string) []byte {
	return append(appendQuoted(append(out, '"'), text), '"')
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends what goes between the quotes.
func appendQuoted(out []byte, text string) []byte {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	from := 0
	for i := range len(text) {
		b := text[i]
		if b >= ' ' && b != '"' && b != '\\' && b != 0x7f {
			continue
		}
		out = append(out, text[from:i]...)
		from = i + 1
		switch b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\n':
			out = append(out, `\n`...)
		case '\t':
			out = append(out, `\t`...)
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		}
	}
	return append(out, text[from:]...)
}
