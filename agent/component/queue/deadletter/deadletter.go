// Package deadletter keeps what the collector will never take, for a person to look at.
package deadletter

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

// Config bounds what is kept.
type Config struct {
	LimitBytes int64         `mapstructure:"limit_bytes"`
	Age        time.Duration `mapstructure:"age"`
}

// Deps is what the letters need of the world.
type Deps struct {
	FS  wal.FS
	Now func() time.Time
	Log *zap.Logger
}

// Letters is a log, each record of which is one line of JSON, so that `strings dead/*.log` shows them. It is bounded by
// bytes and by age; the oldest go first, whole files at a time.
type Letters struct {
	cfg  Config
	deps Deps
	log  *wal.Log

	mu      sync.Mutex
	files   []file // oldest first; those that hold a letter
	evicted int64  // items
}

// Letter is a batch that was refused for good, and why.
type Letter struct {
	Signal   otlp.Signal
	Items    int
	Received time.Time
	Batch    []byte
	Reason   string
}

type file struct {
	number         uint64
	items          int64
	oldest, newest time.Time
}

// line is a letter as it is written. The first two fields lead it, so that a start need not read the rest.
type line struct {
	Items    int             `json:"items"`
	Refused  time.Time       `json:"refused"`
	Received time.Time       `json:"received"`
	Signal   otlp.Signal     `json:"signal"`
	Reason   string          `json:"reason"`
	Batch    json.RawMessage `json:"batch,omitempty"` // OTLP JSON, which POST /v1/… takes
	Protobuf []byte          `json:"protobuf,omitempty"`
}

// Stats counts items.
type Stats struct {
	Items   int64 // kept
	Evicted int64 // no longer kept, since the process started
}

const (
	parts       = 8         // in which the budget is spent and given back
	maxReason   = 1 << 10   // bytes
	maxReadable = 1 << 20   // bytes of a batch that is shown as JSON; what nests without end, in so few, harms no decoder
	maxLine     = 128 << 20 // bytes
)

// Open opens or creates the letters in a folder.
func Open(dir string, cfg Config, durability wal.Durability, deps Deps) (*Letters, error) {
	d := &Letters{cfg: cfg, deps: deps}
	var err error
	d.log, err = wal.Open(wal.Config{
		Dir: dir, FileBytes: max(1, cfg.LimitBytes/parts), MaxRecord: maxLine, Durability: durability, FS: deps.FS,
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

// Close closes the log.
func (d *Letters) Close() error { return d.log.Close() }

// note needs mu, or nobody else around.
func (d *Letters) note(number uint64, items int64, when time.Time) {
	if n := len(d.files); n == 0 || d.files[n-1].number != number {
		d.files = append(d.files, file{number: number, oldest: when})
	}
	last := &d.files[len(d.files)-1]
	last.items += items
	last.newest = when
}

// Add keeps a letter. It is not kept, without an error, when it is larger than all that may be.
func (d *Letters) Add(l Letter) (kept bool, err error) {
	now := d.deps.Now()
	text, err := json.Marshal(describe(line{
		Items: l.Items, Refused: now.UTC(), Received: l.Received.UTC(), Signal: l.Signal, Reason: l.Reason[:min(len(l.Reason), maxReason)],
	}, l.Batch))
	if err != nil {
		return false, err
	}
	text = append(text, '\n')
	d.mu.Lock()
	defer d.mu.Unlock()
	if int64(len(text)) > d.cfg.LimitBytes || len(text) > maxLine {
		d.evicted += int64(l.Items)
		return false, nil
	}
	if err := d.sweep(now, int64(len(text))); err != nil {
		return false, err
	}
	at, err := d.log.Append(context.Background(), text)
	if err == nil {
		d.note(at.File, int64(l.Items), now)
	}
	return err == nil, err
}

// describe adds the batch, readable if it can be read.
func describe(l line, batch []byte) line {
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

// Expire deletes what is too old.
func (d *Letters) Expire() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sweep(d.deps.Now(), 0)
}

// sweep makes room for so many bytes and deletes what is too old; it needs mu. Files are deleted whole, so one that has
// been written to for an eighth of the age is closed.
func (d *Letters) sweep(now time.Time, room int64) error {
	for len(d.files) > 0 {
		first, stats := d.files[0], d.log.Stats()
		last := d.files[len(d.files)-1]
		due := now.Sub(first.newest) > d.cfg.Age || stats.Bytes+room > d.cfg.LimitBytes
		if last.number == stats.Newest && (due && len(d.files) == 1 || now.Sub(last.oldest) > d.cfg.Age/parts) {
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

// Stats is a snapshot.
func (d *Letters) Stats() (s Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		s.Items += f.items
	}
	s.Evicted = d.evicted
	return s
}
