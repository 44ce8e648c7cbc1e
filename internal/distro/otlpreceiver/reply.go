package otlpreceiver

import (
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"weft/internal/otlp"
)

// The three Export…ServiceResponse messages are one on the wire: partial_success is field 1, and in it the number that
// was rejected field 1, the message field 2. In JSON the number's name differs.

// reply is the response in protobuf: nothing at all when everything was kept.
func reply(rejected Rejected) []byte {
	if rejected.Items == 0 && rejected.Why == "" {
		return nil
	}
	var partial []byte
	if rejected.Items != 0 {
		partial = protowire.AppendTag(partial, 1, protowire.VarintType)
		partial = protowire.AppendVarint(partial, uint64(rejected.Items))
	}
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, clean(rejected.Why))
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

var rejectedName = map[otlp.Signal]string{
	otlp.SignalTraces: "rejectedSpans", otlp.SignalLogs: "rejectedLogRecords", otlp.SignalMetrics: "rejectedDataPoints",
}

func replyJSON(signal otlp.Signal, rejected Rejected) []byte {
	if rejected.Items == 0 && rejected.Why == "" {
		return []byte("{}")
	}
	type message map[string]any
	partial := message{"errorMessage": clean(rejected.Why)}
	if rejected.Items != 0 {
		partial[rejectedName[signal]] = strconv.FormatInt(rejected.Items, 10) // protobuf's JSON has 64 bits as text
	}
	out, err := json.Marshal(message{"partialSuccess": partial})
	if err != nil {
		return []byte("{}") // cannot be: the message is text and a number
	}
	return out
}
