package otlp

// Signal is one of OTLP's kinds of data, and of what a batch consists.
type Signal string

// The signals that OTLP has a stable service for.
const (
	SignalTraces  Signal = "traces"
	SignalLogs    Signal = "logs"
	SignalMetrics Signal = "metrics"
)

// Items counts the spans, log records or data points of a batch, without a look into them.
func (s Signal) Items(batch []byte) (int, error) {
	root := justRecords
	if s == SignalMetrics {
		root = justPoints
	}
	var t tally
	err := t.add(root, batch, 0)
	return t.items, err
}

// Decoded is about the memory in bytes that the full decoder makes of a batch: of one with many small messages, a hundred
// times what came. It is ErrMalformed for a batch whose values nest so deep that the decoder must not see them.
func (s Signal) Decoded(batch []byte) (int64, error) {
	root := allMetrics
	switch s {
	case SignalTraces:
		root = allTraces
	case SignalLogs:
		root = allLogs
	}
	var t tally
	err := t.add(root, batch, 0)
	return t.bytes + int64(len(batch)), err
}
