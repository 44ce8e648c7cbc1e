package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"weft/internal/otlp"
	"weft/internal/wal"
)

// deadLetters keeps what the collector will never take, for a person to look at: each record of its log is one line of
// JSON, so `strings dead/*.log` shows them. It is bounded by bytes and by age; the oldest go first, whole files at a time.
type deadLetters struct {
	cfg  DeadLetters
	deps Deps
	log  *wal.Log

	mu      sync.Mutex
	files   []deadFile // oldest first; those that hold a letter
	evicted int64      // items
}

type deadFile struct {
	number         uint64
	items          int64
	oldest, newest time.Time
}

// deadLetter is one line. The first two fields lead it, so that a start need not read the rest.
type deadLetter struct {
	Items    int             `json:"items"`
	Refused  time.Time       `json:"refused"`
	Received time.Time       `json:"received"`
	Signal   otlp.Signal     `json:"signal"`
	Reason   string          `json:"reason"`
	Batch    json.RawMessage `json:"batch,omitempty"` // OTLP JSON, which POST /v1/… takes
	Protobuf []byte          `json:"protobuf,omitempty"`
}

// DeadLetterStats counts items.
type DeadLetterStats struct {
	Items   int64 // kept
	Evicted int64 // no longer kept, since the process started
}

const (
	deadFiles      = 8       // the budget is spent and given back in so many parts
	maxReason      = 1 << 10 // bytes
	maxReadable    = 1 << 20 // bytes of a batch that is shown as JSON
	deadLetterSize = 2 * maxBatch
)

func openDeadLetters(dir string, cfg Config, deps Deps) (*deadLetters, error) {
	d := &deadLetters{cfg: cfg.DeadLetters, deps: deps}
	var err error
	d.log, err = wal.Open(wal.Config{
		Dir: dir, FileBytes: max(1, d.cfg.LimitBytes/deadFiles), MaxRecord: deadLetterSize, Durability: cfg.Durability, FS: deps.FS,
		OnDamage: func(damage wal.Damage) {
			deps.Log.Error("dead letters: damaged range stepped over", zap.String("file", damage.File), zap.Int64("offset", damage.Offset))
		},
	})
	if err != nil {
		return nil, err
	}
	err = d.log.Replay(wal.Position{}, func(at wal.Position, raw []byte) error {
		var items int64
		var refused string
		if _, err := fmt.Sscanf(string(raw[:min(len(raw), 100)]), `{"items":%d,"refused":%q`, &items, &refused); err != nil {
			return nil // not ours: kept as long as its file, and not counted
		}
		when, _ := time.Parse(time.RFC3339Nano, refused)
		d.note(at.File, items, when)
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, d.log.Close())
	}
	return d, nil
}

func (d *deadLetters) close() error { return d.log.Close() }

// note needs mu, or nobody else around.
func (d *deadLetters) note(file uint64, items int64, when time.Time) {
	if n := len(d.files); n == 0 || d.files[n-1].number != file {
		d.files = append(d.files, deadFile{number: file, oldest: when})
	}
	last := &d.files[len(d.files)-1]
	last.items += items
	last.newest = when
}

// add keeps a record. It is not kept, without an error, when it is larger than all that may be.
func (d *deadLetters) add(signal otlp.Signal, r record, reason string) (kept bool, err error) {
	now := d.deps.Now()
	line, err := json.Marshal(describe(deadLetter{
		Items: r.items, Refused: now.UTC(), Received: r.received.UTC(), Signal: signal, Reason: reason[:min(len(reason), maxReason)],
	}, r.batch))
	if err != nil {
		return false, err
	}
	line = append(line, '\n')
	d.mu.Lock()
	defer d.mu.Unlock()
	if int64(len(line)) > d.cfg.LimitBytes || len(line) > deadLetterSize {
		d.evicted += int64(r.items)
		return false, nil
	}
	if err := d.sweep(now, int64(len(line))); err != nil {
		return false, err
	}
	at, err := d.log.Append(context.Background(), line)
	if err == nil {
		d.note(at.File, int64(r.items), now)
	}
	return err == nil, err
}

// describe adds the batch, readable if it can be read.
func describe(l deadLetter, batch []byte) deadLetter {
	if len(batch) <= maxReadable {
		if text, err := readable(l.Signal, batch); err == nil && json.Valid(text) {
			l.Batch = text
			return l
		}
	}
	l.Protobuf = batch
	return l
}

func readable(signal otlp.Signal, batch []byte) ([]byte, error) {
	switch signal {
	case otlp.SignalTraces:
		traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(batch)
		if err != nil {
			return nil, err
		}
		return (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
	case otlp.SignalLogs:
		logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(batch)
		if err != nil {
			return nil, err
		}
		return (&plog.JSONMarshaler{}).MarshalLogs(logs)
	default:
		metrics, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(batch)
		if err != nil {
			return nil, err
		}
		return (&pmetric.JSONMarshaler{}).MarshalMetrics(metrics)
	}
}

// Sweep deletes what is too old.
func (d *deadLetters) expire() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sweep(d.deps.Now(), 0)
}

// sweep makes room for so many bytes and deletes what is too old; it needs mu. Files are deleted whole, so one that has
// been written to for an eighth of the age is closed.
func (d *deadLetters) sweep(now time.Time, room int64) error {
	for len(d.files) > 0 {
		first, stats := d.files[0], d.log.Stats()
		last := d.files[len(d.files)-1]
		due := now.Sub(first.newest) > d.cfg.Age || stats.Bytes+room > d.cfg.LimitBytes
		if last.number == stats.Newest && (due && len(d.files) == 1 || now.Sub(last.oldest) > d.cfg.Age/deadFiles) {
			if err := d.log.Rotate(); err != nil {
				return err
			}
			continue
		}
		if !due {
			break
		}
		if err := d.log.DropBefore(wal.Position{File: first.number + 1}); err != nil {
			return err
		}
		d.evicted += first.items
		d.files = d.files[1:]
	}
	return nil
}

func (d *deadLetters) stats() (s DeadLetterStats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		s.Items += f.items
	}
	s.Evicted = d.evicted
	return s
}
