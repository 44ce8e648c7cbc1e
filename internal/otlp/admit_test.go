package otlp_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"weft/internal/otlp"
)

// richMetrics has a metric of every type.
func richMetrics(t testing.TB) []byte {
	t.Helper()
	batch := pmetric.NewMetrics()
	rm := batch.ResourceMetrics().AppendEmpty()
	everyType(rm.Resource().Attributes(), 1)
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	for i := range 5 {
		m := metrics.AppendEmpty()
		m.SetName("metric")
		switch i {
		case 0:
			everyType(m.SetEmptyGauge().DataPoints().AppendEmpty().Attributes(), i)
		case 1:
			p := m.SetEmptySum().DataPoints().AppendEmpty()
			everyType(p.Exemplars().AppendEmpty().FilteredAttributes(), i)
		case 2:
			p := m.SetEmptyHistogram().DataPoints().AppendEmpty()
			p.BucketCounts().FromRaw([]uint64{1, 2})
			everyType(p.Attributes(), i)
		case 3:
			p := m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
			p.Positive().BucketCounts().FromRaw([]uint64{1, 300})
			everyType(p.Attributes(), i)
		case 4:
			p := m.SetEmptySummary().DataPoints().AppendEmpty()
			p.QuantileValues().AppendEmpty().SetQuantile(0.5)
			everyType(p.Attributes(), i)
		}
	}
	raw, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(batch)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decode(signal otlp.Signal, batch []byte) (items int, err error) {
	switch signal {
	case otlp.SignalTraces:
		var out ptrace.Traces
		if out, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(batch); err == nil {
			items = out.SpanCount()
		}
	case otlp.SignalLogs:
		var out plog.Logs
		if out, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(batch); err == nil {
			items = out.LogRecordCount()
		}
	default:
		var out pmetric.Metrics
		if out, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(batch); err == nil {
			items = out.DataPointCount()
		}
	}
	return items, err
}

func TestAdmitLeavesGoodBatchesAlone(t *testing.T) {
	for signal, batch := range map[otlp.Signal][]byte{
		otlp.SignalTraces: marshalTraces(t, rich(t)), otlp.SignalLogs: marshalLogs(t, richLogs(t)), otlp.SignalMetrics: richMetrics(t),
	} {
		kept, items, rejected, err := otlp.Admit(signal, batch)
		want, decodeErr := decode(signal, batch)
		if err != nil || decodeErr != nil || items != want || rejected.Items != 0 || !bytes.Equal(kept, batch) {
			t.Errorf("%s: %d items, want %d, rejected %+v, %v, %v", signal, items, want, rejected, err, decodeErr)
		}
		if n, err := signal.Items(batch); err != nil || n != want {
			t.Errorf("%s: counted %d, want %d, %v", signal, n, want, err)
		}
		if n, err := signal.Decoded(batch); err != nil || n < int64(len(batch)) || n > 100*int64(len(batch)) {
			t.Errorf("%s: %d bytes decoded from %d, %v", signal, n, len(batch), err)
		}
	}
}

// A resource goes with its last item: what is wrong with its items can be wrong with itself.
func TestAResourceGoesWithItsLastItem(t *testing.T) {
	nested := []byte{1<<3 | 2, 1, 'x'}
	for range 40 {
		nested = prefix(5, prefix(1, nested))
	}
	bad := prefix(1, append(prefix(1, prefix(1, append(message(1, 'k'), prefix(2, nested)...))), prefix(2, prefix(2, message(5, 'a')))...))
	fine := inBatch(append(message(1, bytes.Repeat([]byte{1}, 16)...), message(2, bytes.Repeat([]byte{2}, 8)...)...))
	kept, items, rejected, err := otlp.Admit(otlp.SignalTraces, append(bytes.Clone(bad), fine...))
	if err != nil || items != 1 || rejected.Items != 1 || !bytes.Equal(kept, fine) {
		t.Errorf("%x, %d items, %+v, %v", kept, items, rejected, err)
	}
}

func TestWhyIsShort(t *testing.T) {
	_, _, rejected, err := otlp.Admit(otlp.SignalTraces, prefix(1, prefix(2, prefix(2, prefix(5, bytes.Repeat([]byte("\xff\"x"), 1e6))))))
	if err != nil || rejected.Items != 1 || rejected.Reason != otlp.ReasonID || len(rejected.Why) > 1000 || !strings.HasPrefix(rejected.Why, "no trace_id") {
		t.Errorf("%+v, %v", rejected, err)
	}
}

// What Admit keeps is what the decoder takes, item by item.
func FuzzAdmit(f *testing.F) {
	for i, batch := range [][]byte{marshalTraces(f, rich(f)), marshalLogs(f, richLogs(f)), richMetrics(f)} {
		f.Add(byte(i), batch)
	}
	signals := []otlp.Signal{otlp.SignalTraces, otlp.SignalLogs, otlp.SignalMetrics}
	f.Fuzz(func(t *testing.T, which byte, batch []byte) {
		signal := signals[int(which)%len(signals)]
		counted, countErr := signal.Items(batch)
		kept, items, rejected, err := otlp.Admit(signal, batch)
		if err != nil {
			if !errors.Is(err, otlp.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if countErr != nil || counted != items+int(rejected.Items) {
			t.Fatalf("counted %d, %v, but admitted %d and rejected %d", counted, countErr, items, rejected.Items)
		}
		if (rejected.Items > 0) != (rejected.Why != "") {
			t.Fatalf("%+v", rejected)
		}
		if _, err := signal.Decoded(kept); err != nil {
			return // the receiver refuses it
		}
		decoded, err := decode(signal, kept)
		switch {
		case err != nil && signal != otlp.SignalMetrics: // of a metric only the frame is looked at
			t.Fatalf("the decoder refuses what was admitted: %v", err)
		case err == nil && decoded != items && !bytes.Contains(batch, []byte{0xc2, 0x3e}):
			t.Fatalf("%d items admitted, %d decoded", items, decoded)
		}
	})
}

// BenchmarkAdmit is beside BenchmarkSpans.
func BenchmarkAdmit(b *testing.B) {
	raw := marshalTraces(b, rich(b))
	n, _ := otlp.SignalTraces.Items(raw)
	for name, run := range map[string]func(){
		"items":   func() { _, _ = otlp.SignalTraces.Items(raw) },
		"decoded": func() { _, _ = otlp.SignalTraces.Decoded(raw) },
		"admit":   func() { _, _, _, _ = otlp.Admit(otlp.SignalTraces, raw) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/span")
		})
	}
}
