package signal_test

import (
	"math"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"

	"weft/collector/signal"
	"weft/internal/otlp"
)

func TestTextOfValues(t *testing.T) {
	batch := plog.NewLogs()
	attrs := batch.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes()
	attrs.PutStr("text", "as it is")
	attrs.PutInt("int", -3)
	attrs.PutDouble("double", 1.5)
	attrs.PutDouble("nan", math.NaN())
	attrs.PutBool("bool", true)
	attrs.PutEmpty("empty")
	attrs.PutEmptyBytes("bytes").FromRaw([]byte{1, 2})
	list := attrs.PutEmptySlice("list")
	list.AppendEmpty().SetStr("first")
	list.AppendEmpty().SetEmptyMap().PutDouble("inner", math.Inf(1))
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"text": "as it is", "int": "-3", "double": "1.5", "nan": "NaN", "bool": "true", "empty": "", "bytes": "AQI=",
		"list": `["first",{"inner":"+Inf"}]`, "none": "",
	}
	if err := otlp.Logs(raw, func(l *otlp.Log) error {
		for key, text := range want {
			if got := signal.ValueText(otlp.Find(l.Attrs, key)); got != text {
				t.Errorf("%s = %q, want %q", key, got, text)
			}
		}
		first := otlp.Find(l.Attrs, "list").First()
		if first.Text() != "first" {
			t.Errorf("first of the list is %q", first.Text())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
