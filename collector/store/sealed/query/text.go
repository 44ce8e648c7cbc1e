package query

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
)

// text is an attribute's value as text; nil is none.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return double(v)
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case []any, map[string]any:
		raw, err := json.Marshal(finite(v))
		if err != nil {
			return ""
		}
		return string(raw)
	}
	return ""
}

func double(f float64) string {
	raw, err := json.Marshal(f)
	if err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return string(raw)
}

// finite is a value in which what JSON has no numbers for is text.
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
