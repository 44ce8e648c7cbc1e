package signal

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"

	"weft/internal/otlp"
)

// ValueText is Text of a value where it lies. It may be a view.
func ValueText(v *otlp.Value) string {
	if v.Type == otlp.Text {
		return v.Text()
	}
	return Text(v.Any())
}

// Text is a decoded value as text: numbers in decimal, bytes in base64, arrays and maps as JSON; nil is nothing.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return doubleText(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	default:
		raw, _ := json.Marshal(finite(v)) // nothing in it has no JSON any more
		return string(raw)
	}
}

func doubleText(f float64) string {
	raw, err := json.Marshal(f)
	if err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(raw)
}

// finite is a value in which what JSON has no numbers for is text. The value itself stays: others share it.
func finite(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = finite(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = finite(v[k])
		}
		return out
	}
	return v
}
