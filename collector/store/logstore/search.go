package logstore

import (
	"context"
	"maps"
	"strconv"
	"time"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/records"
	"weft/collector/store/sealed"
	"weft/internal/otlp"
)

// Search returns the newest records that a query wants, newest first, and what the answer cost. Records that are equal in
// every field are one.
func (s *Store) Search(ctx context.Context, q search.Query) ([]signal.Log, search.Cost, error) {
	q.Newest = q.Limit > 0
	compiled, err := q.Compile()
	if err != nil {
		return nil, search.Cost{}, err
	}
	var decoder signal.Decoder
	find := records.Search[signal.Log]{
		Query: compiled,
		Time:  func(l *signal.Log) int64 { return l.Time },
		Same:  func(l *signal.Log) string { return strconv.FormatUint(identity(l), 36) },
		Match: compiled.MatchLog,
		Scan: func(ctx context.Context, f *sealed.File, q *search.Compiled, fn func(*signal.Log) bool) (search.Cost, error) {
			return f.ScanLogs(ctx, q, fn)
		},
		Walk: func(batch []byte, fn func(*signal.Log)) error {
			return otlp.Logs(batch, func(l *otlp.Log) error {
				record := decoder.Log(l)
				fn(&record)
				return nil
			})
		},
	}
	return find.Run(ctx, s.Log)
}

// severityError is the least of OTLP's numbers for an error.
const severityError = 17

// worth is the traces with a record of an error, and those that outlive the bulk by their spans.
func worth(spans Worth) func(context.Context, []*sealed.File, time.Duration) (map[signal.TraceID]bool, error) {
	return func(ctx context.Context, files []*sealed.File, slow time.Duration) (map[signal.TraceID]bool, error) {
		failed, err := search.Query{MinSeverity: severityError}.Compile()
		if err != nil {
			return nil, err
		}
		found := map[signal.TraceID]bool{}
		for _, f := range files {
			if _, err := f.ScanLogs(ctx, failed, func(l *signal.Log) bool {
				found[l.TraceID] = true
				return true
			}); err != nil {
				return nil, err
			}
			if spans == nil {
				continue
			}
			const slack = int64(time.Minute) // a request's spans and records are not of the same moment
			more, err := spans(ctx, f.First-slack, f.Last+slack, slow)
			if err != nil {
				return nil, err
			}
			maps.Copy(found, more)
		}
		return found, nil
	}
}

// holds finds the records of a request: those of the trace that id is in hex, and those that carry it.
func holds(ctx context.Context, f *sealed.File, id string) (map[signal.TraceID]bool, bool, error) {
	traces, found := map[signal.TraceID]bool{}, false
	note := func(_ int, l *signal.Log) bool {
		found = true
		if !l.TraceID.IsZero() {
			traces[l.TraceID] = true
		}
		return true
	}
	if trace, ok := signal.ParseTraceID(id); ok {
		if _, err := f.LogsOfTrace(ctx, trace, note); err != nil {
			return nil, false, err
		}
	}
	_, err := f.LogsOf(ctx, id, note)
	return traces, found, err
}
