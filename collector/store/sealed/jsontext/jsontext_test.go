package jsontext

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func draw(t *rapid.T, depth int) any {
	kinds := 7
	if depth < 5 {
		kinds = 9
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.String().Draw(t, "text")
	case 2:
		return rapid.Bool().Draw(t, "bool")
	case 3:
		return rapid.Int64().Draw(t, "int")
	case 4:
		return rapid.Float64().Draw(t, "double")
	case 5:
		return rapid.SampledFrom([]any{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e300, 2.0, "\x00\"\\\u2028", "$x"}).Draw(t, "odd")
	case 6:
		return rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "bytes")
	case 7:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			out = append(out, draw(t, depth+1))
		}
		return out
	}
	out := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		out[rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"$bytes", "$double", "$", "$$x", ""})).Draw(t, "key")] = draw(t, depth+1)
	}
	return out
}

func TestValuesReadBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := draw(t, 0)
		text := Append(nil, v)
		if !json.Valid(text) {
			t.Fatalf("%q is no JSON", text)
		}
		got, err := Value(string(text))
		if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", v) {
			t.Fatalf("%q reads %#v, want %#v: %v", text, got, v, err)
		}
		if again := Append(nil, got); string(again) != string(text) {
			t.Fatalf("%q, then %q", text, again)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add(`{"a":[1,2.5,{"$bytes":"AA=="}],"$$b":"\ud83d\ude00"}`)
	f.Add(`[[[[{"$double":"NaN"}]]]]`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Value(text)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		if again, err := Value(string(Append(nil, v))); err != nil || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", v) {
			t.Fatalf("%q: %#v, then %#v: %v", text, v, again, err)
		}
	})
}
