package correlate

import (
	"weft/collector/correlate/facts"
	"weft/internal/otlp"
)

// reader reads the facts of one batch after another into the same memory. What it returns is valid until its next use,
// and as long as the batch is unchanged.
type reader struct {
	spans []facts.Span
	logs  []facts.Log
}

func (r *reader) readSpans(batch []byte) ([]facts.Span, error) {
	r.spans = r.spans[:0]
	err := otlp.Spans(batch, func(s *otlp.Span) error {
		r.spans = append(r.spans, facts.Span{})
		facts.ReadWire(s, &r.spans[len(r.spans)-1])
		return nil
	})
	return r.spans, err
}

func (r *reader) readLogs(batch []byte) ([]facts.Log, error) {
	r.logs = r.logs[:0]
	err := otlp.Logs(batch, func(l *otlp.Log) error {
		r.logs = append(r.logs, facts.Log{})
		facts.ReadLogWire(l, &r.logs[len(r.logs)-1])
		return nil
	})
	return r.logs, err
}
