// Package logstore keeps log records: every batch as it came, then sealed, found by trace ID and by request ID.
package logstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/plog"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/key"
	"weft/collector/store/records"
	"weft/collector/store/sealed"
	"weft/collector/store/segment"
	"weft/internal/otlp"
)

// Store keeps log records.
type Store struct {
	*records.Log
	ids *key.IDs
}

// Worth is the traces that outlive the bulk by their spans, of those that ran at some time in between.
type Worth func(ctx context.Context, from, to int64, slow time.Duration) (map[signal.TraceID]bool, error)

// Open opens the store in cfg.Dir. spans says which traces outlive the bulk, so that their log records do too; nil = none.
func Open(cfg segment.Config, spans Worth) (*Store, error) {
	ids := key.NewIDs()
	log, err := records.Open(cfg, records.Kind{
		Write: sealed.WriteLogs, Worth: worth(spans), Holds: holds,
		Keys: func(batch []byte, add func(key.Key)) (items int, err error) {
			var keys []key.Key
			err = otlp.Logs(batch, func(l *otlp.Log) error {
				items++
				keys = ids.AppendLog(keys[:0], l)
				for _, k := range keys {
					add(k)
				}
				return nil
			})
			return items, err
		},
	})
	if err != nil {
		return nil, err
	}
	return &Store{log, ids}, nil
}

// AppendRaw stores an OTLP export request of so many records under the keys that they are found by. The slice of keys
// may be reordered.
func (s *Store) AppendRaw(ctx context.Context, batch []byte, keys []key.Key, items int) error {
	return s.Log.Append(ctx, batch, keys, items)
}

// Append stores a decoded batch.
func (s *Store) Append(ctx context.Context, batch plog.Logs) error {
	raw, err := (&plog.ProtoMarshaler{}).MarshalLogs(batch)
	if err != nil {
		return err
	}
	var keys []key.Key
	items := 0
	err = otlp.Logs(raw, func(l *otlp.Log) error {
		items++
		keys = s.ids.AppendLog(keys, l)
		return nil
	})
	if err != nil {
		return err
	}
	return s.AppendRaw(ctx, raw, keys, items)
}

// ByTrace returns the records of a trace in order of time. Beyond segment.MaxItems records it returns what it has with
// signal.ErrTruncated.
func (s *Store) ByTrace(ctx context.Context, id signal.TraceID) ([]signal.Log, error) {
	return s.find(ctx, question{
		keys:  []key.Key{key.OfTrace(id)},
		match: func(l *otlp.Log) bool { return signal.TraceID(key.TraceOf(l)) == id },
		sealed: func(f *sealed.File, fn sealed.EachLog) (search.Cost, error) {
			return f.LogsOfTrace(ctx, id, fn)
		},
	})
}

// ByRequest returns the records with this request ID in order of time, whether or not they are in a trace.
func (s *Store) ByRequest(ctx context.Context, id string) ([]signal.Log, error) {
	q := question{
		keys:   []key.Key{key.OfText(id)},
		match:  func(l *otlp.Log) bool { return s.ids.Has(l.Attrs, id) },
		sealed: func(f *sealed.File, fn sealed.EachLog) (search.Cost, error) { return f.LogsOf(ctx, id, fn) },
	}
	if trace, ok := signal.ParseTraceID(id); ok {
		q.keys = append(q.keys, key.OfTrace(trace))
	}
	return s.find(ctx, q)
}

// question is what find looks for: in batches by key and match, in segments by sealed.
type question struct {
	keys   []key.Key
	match  func(*otlp.Log) bool
	sealed func(*sealed.File, sealed.EachLog) (search.Cost, error)
}

func (s *Store) find(ctx context.Context, q question) ([]signal.Log, error) {
	found := logs{known: counts{}}
	view := s.View()
	defer view.Release()
	var decoder signal.Decoder
	for _, k := range q.keys {
		err := view.EachBatch(ctx, k, func(_ time.Time, batch []byte) error {
			var here []signal.Log
			err := otlp.Logs(batch, func(l *otlp.Log) error {
				if q.match(l) {
					here = append(here, decoder.Log(l))
				}
				return nil
			})
			return found.add(here, err)
		})
		if err != nil {
			return found.list, err
		}
	}
	if !found.full() {
		err := view.EachSegment(ctx, nil, func(f *sealed.File) error {
			var here []signal.Log
			of := 0
			_, err := q.sealed(f, func(group int, l *signal.Log) bool {
				if group != of {
					found.take(here)
					here, of = here[:0], group
				}
				here = append(here, *l)
				return len(found.list)+len(here) <= segment.MaxItems
			})
			return found.add(here, err)
		})
		if err != nil {
			return found.list, err
		}
	}
	slices.SortStableFunc(found.list, func(a, b signal.Log) int { return cmp.Compare(a.Time, b.Time) })
	if found.full() {
		return found.list, fmt.Errorf("%w: more than %d", signal.ErrTruncated, segment.MaxItems)
	}
	return found.list, nil
}

// logs gathers records, each as often as the place that holds it most often says.
type logs struct {
	list  []signal.Log
	known counts
}

func (l *logs) full() bool { return len(l.list) > segment.MaxItems }

func (l *logs) take(here []signal.Log) { l.list = l.known.appendNew(l.list, here) }

func (l *logs) add(here []signal.Log, err error) error {
	l.take(here)
	if err == nil && l.full() {
		return segment.ErrStop
	}
	return err
}

// counts is how many times each record has been taken. Log records have no identity, and an application may well
// write one line twice in a nanosecond; but two batches that both hold a record, equal in every field, are one batch
// sent again. So a record is shown as often as the batch, or the row group, that holds it most often says.
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
