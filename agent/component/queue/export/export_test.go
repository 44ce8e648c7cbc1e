package export

import (
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// The three signals' responses are read by one decoder.
func TestAnswersOfEverySignal(t *testing.T) {
	spans, records, points := ptraceotlp.NewExportResponse(), plogotlp.NewExportResponse(), pmetricotlp.NewExportResponse()
	spans.PartialSuccess().SetRejectedSpans(7)
	spans.PartialSuccess().SetErrorMessage("because")
	records.PartialSuccess().SetRejectedLogRecords(7)
	records.PartialSuccess().SetErrorMessage("because")
	points.PartialSuccess().SetRejectedDataPoints(7)
	points.PartialSuccess().SetErrorMessage("because")
	for _, response := range []interface{ MarshalProto() ([]byte, error) }{spans, records, points} {
		raw, err := response.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		if got := parseAnswer(raw); got != (Answer{7, "because"}) {
			t.Errorf("%T: %+v", response, got)
		}
	}
	records.PartialSuccess().SetRejectedLogRecords(-1)
	negative, err := records.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{nil, {0x0a, 0x7f}, negative} {
		if got := parseAnswer(raw); got.Rejected != 0 {
			t.Errorf("%x: %+v", raw, got)
		}
	}
}
