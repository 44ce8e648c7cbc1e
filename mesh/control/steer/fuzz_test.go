package steer

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"weft/internal/sample"
	"weft/internal/wire"
)

// Whatever a collector sends, the panic share holds and every weight is in its range.
func FuzzUpdate(f *testing.F) {
	for _, text := range []string{"a 1.1 full +payment-1=ejected +payment-2=ejected", "a 9.9 +payment-1=probing -payment/payment-2", "a 0.0 full"} {
		_, in := update(text)
		raw, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var in wire.VerdictUpdate
		if proto.Unmarshal(raw, &in) != nil {
			return
		}
		l := NewLedger()
		l.apply(start, "a", &in)
		ejected := 0
		for _, e := range Apply(endpoints(5), l.At(start), 50)["payment"] {
			if e.State == sample.Ejected {
				ejected++
			}
			if e.Weight < 0 || e.Weight > 100 || e.State != sample.Ejected && e.Weight < 1 {
				t.Fatalf("%v with weight %d", e.State, e.Weight)
			}
		}
		if ejected > 2 {
			t.Fatalf("%d of 5 ejected", ejected)
		}
	})
}
