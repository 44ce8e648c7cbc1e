package signal

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"

	"weft/internal/otlp"
)

// ValueText is a value as text: numbers in decimal, bytes in base64, arrays and maps as JSON. It may be a view.
func ValueText(v *otlp.Value) string {
	if v.Type == otlp.Text {
		return v.Text()
	}
	switch v := v.Any().(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return doubleText(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case nil:
		return ""
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
