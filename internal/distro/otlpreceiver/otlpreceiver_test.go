package otlpreceiver

import (
	"bytes"
	"testing"

	"weft/internal/otlp"
)

func everything() *log { return &log{signals: signals} }

// A signal without a pipeline goes to the Sink as it came; metrics alone name the receiver in the YAML.
func TestBytesGoToTheSinkAsTheyCame(t *testing.T) {
	s := open(t, defaults(t), everything(), otlp.SignalMetrics)
	batches := map[otlp.Signal][]byte{otlp.SignalTraces: tracesBytes(t, spans(3)), otlp.SignalLogs: logsBytes(t, 4), otlp.SignalMetrics: metricsBytes(t, 5)}
	conn := s.dial(t)
	for signal, batch := range batches {
		out, err := export(t.Context(), conn, signal, batch)
		if err != nil || len(out) != 0 {
			t.Errorf("%s over gRPC: %v %x", signal, err, out)
		}
		if r := s.post(t, "/v1/"+string(signal), asProtobuf, batch); r.code != 200 || len(r.body) != 0 {
			t.Errorf("%s over HTTP: %d %q", signal, r.code, r.body)
		}
	}
	for _, signal := range []otlp.Signal{otlp.SignalTraces, otlp.SignalLogs} {
		if len(s.sink.kept[signal]) != 2 {
			t.Fatalf("the sink has %d batches of %s", len(s.sink.kept[signal]), signal)
		}
		for _, kept := range s.sink.kept[signal] {
			if !bytes.Equal(kept, batches[signal]) {
				t.Errorf("%s came as other bytes", signal)
			}
		}
	}
	if len(s.sink.kept[otlp.SignalMetrics]) != 0 || s.metrics.DataPointCount() != 10 {
		t.Errorf("metrics have a pipeline, and yet it got %d points", s.metrics.DataPointCount())
	}
	for _, transport := range []string{"grpc", "http"} {
		for signal, want := range map[otlp.Signal]int64{otlp.SignalTraces: 3, otlp.SignalLogs: 4, otlp.SignalMetrics: 5} {
			if got := s.counted(t, "weft_receiver_accepted_items", transport, string(signal)); got != want {
				t.Errorf("%d %s accepted over %s, want %d", got, signal, transport, want)
			}
		}
	}
}
