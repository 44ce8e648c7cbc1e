// Package logstore keeps log records: every batch as it came, found by trace ID and by request ID.
package logstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/plog"

	"weft/collector/signal"
	"weft/collector/store/segment"
	"weft/internal/semconv"
)

// Store keeps log records.
type Store struct {
	*segment.Store[plog.Logs, signal.Log]
	ids *segment.IDs
}

// Open opens the store in cfg.Dir.
func Open(cfg segment.Config) (*Store, error) {
	ids := segment.NewIDs()
	var marshal plog.ProtoMarshaler
	var unmarshal plog.ProtoUnmarshaler
	log, err := segment.OpenStore(cfg, segment.Codec[plog.Logs, signal.Log]{
		Marshal: marshal.MarshalLogs, Unmarshal: unmarshal.UnmarshalLogs, Items: signal.Logs,
		Keys: func(batch plog.Logs, add func(segment.Key)) { keys(ids, batch, add) },
	})
	if err != nil {
		return nil, err
	}
	return &Store{log, ids}, nil
}

// keys are each record's trace ID and request IDs. A request ID that is the trace ID in hex needs no key of its own.
func keys(ids *segment.IDs, batch plog.Logs, add func(segment.Key)) {
	for _, rl := range batch.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				trace := traceOf(r)
				if !trace.IsZero() {
					add(segment.TraceKey(trace))
				}
				ids.Each(r.Attributes(), func(id string) bool {
					if other, ok := signal.ParseTraceID(id); !ok || other != trace {
						add(segment.TextKey(id))
					}
					return true
				})
			}
		}
	}
}

// traceOf is the trace ID of the column, or else of the plain field that applications write.
func traceOf(r plog.LogRecord) signal.TraceID {
	trace := signal.TraceID(r.TraceID())
	if trace.IsZero() {
		if text, ok := r.Attributes().Get(semconv.TraceIDLog); ok {
			trace, _ = signal.ParseTraceID(text.AsString())
		}
	}
	return trace
}

// ByTrace returns the records of a trace in order of time. Beyond segment.MaxItems records it returns what it has with
// segment.ErrTruncated.
func (s *Store) ByTrace(ctx context.Context, id signal.TraceID) ([]signal.Log, error) {
	return s.find(ctx, []segment.Key{segment.TraceKey(id)}, func(r plog.LogRecord) bool { return traceOf(r) == id })
}

// ByRequest returns the records with this request ID in order of time, whether or not they are in a trace.
func (s *Store) ByRequest(ctx context.Context, id string) ([]signal.Log, error) {
	keys := []segment.Key{segment.TextKey(id)}
	if trace, ok := signal.ParseTraceID(id); ok {
		keys = append(keys, segment.TraceKey(trace))
	}
	return s.find(ctx, keys, func(r plog.LogRecord) bool { return s.ids.Has(r.Attributes(), id) })
}

func (s *Store) find(ctx context.Context, keys []segment.Key, match func(plog.LogRecord) bool) ([]signal.Log, error) {
	var out []signal.Log
	var err error
	known := counts{}
	for _, key := range keys {
		err = s.Find(ctx, key, func(batch plog.Logs) int {
			keep(batch, match)
			out = known.appendNew(out, signal.Logs(batch))
			return len(out)
		})
		if err != nil {
			break
		}
	}
	slices.SortStableFunc(out, func(a, b signal.Log) int { return cmp.Compare(a.Time, b.Time) })
	return out, err
}

// keep removes the other records, before the dear part of decoding.
func keep(batch plog.Logs, match func(plog.LogRecord) bool) {
	batch.ResourceLogs().RemoveIf(func(rl plog.ResourceLogs) bool {
		rl.ScopeLogs().RemoveIf(func(sl plog.ScopeLogs) bool {
			sl.LogRecords().RemoveIf(func(r plog.LogRecord) bool { return !match(r) })
			return sl.LogRecords().Len() == 0
		})
		return rl.ScopeLogs().Len() == 0
	})
}

// counts is how many times each record has been taken. Log records have no identity, and an application may well
// write one line twice in a nanosecond; but two batches that both hold a record, equal in every field, are one batch
// sent again. So a record is shown as often as the batch that holds it most often says.
type counts map[uint64]int

func (c counts) appendNew(out, batch []signal.Log) []signal.Log {
	inBatch := counts{}
	for _, l := range batch {
		h := identity(&l)
		if inBatch[h]++; inBatch[h] > c[h] {
			c[h]++
			out = append(out, l)
		}
	}
	return out
}

// identity hashes every field of a record.
func identity(l *signal.Log) uint64 {
	raw, err := json.Marshal(l) // maps in order of their keys
	if err != nil {             // NaN and infinities have no JSON: what is left still tells records apart
		bare := *l
		bare.Attributes, bare.Resource = nil, nil
		raw, _ = json.Marshal(bare)
	}
	return xxhash.Sum64(raw)
}
