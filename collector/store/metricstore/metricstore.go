// Package metricstore keeps metric series in a Prometheus TSDB, which nothing else opens.
//
// OTLP metrics become series as Prometheus itself names them; Weft's own generated series come in ready. A point that
// the TSDB does not take (too old, a second value for one time, delta temporality) is counted and left out, the rest
// of its batch is kept. What is acknowledged was written to the TSDB's log.
package metricstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"weft/internal/config"
	"weft/internal/wal"
)

// Config is the metric store.
type Config struct {
	Dir        string        `yaml:"-" mapstructure:"-"`
	Reserve    int           `yaml:"-" mapstructure:"-"` // percent of the disk that stays free
	Retention  time.Duration `yaml:"retention" mapstructure:"retention"`
	MaxBytes   int64         `yaml:"max_bytes" mapstructure:"max_bytes"`       // of blocks; 0 = no limit
	OutOfOrder time.Duration `yaml:"out_of_order" mapstructure:"out_of_order"` // how late a point may come
	Exemplars  int64         `yaml:"exemplars" mapstructure:"exemplars"`       // kept in memory, newest first

	// free answers the free space; nil asks the disk. For tests, like FS elsewhere.
	free wal.FS
}

// DefaultConfig keeps fifteen days, and takes points up to half an hour late: an agent's queue after an outage.
func DefaultConfig() Config {
	return Config{Retention: 15 * 24 * time.Hour, OutOfOrder: 30 * time.Minute, Exemplars: 50_000}
}

// Validate names the faulty key under prefix.
func (c Config) Validate(prefix string) error {
	var faults []error
	if c.Retention < time.Hour {
		faults = append(faults, config.Faultf(prefix+"retention", "must be at least an hour"))
	}
	if c.MaxBytes < 0 {
		faults = append(faults, config.Faultf(prefix+"max_bytes", "must not be negative"))
	}
	if c.OutOfOrder < 0 || c.OutOfOrder > c.Retention {
		faults = append(faults, config.Faultf(prefix+"out_of_order", "must be between 0 and the retention"))
	}
	if c.Exemplars < 0 {
		faults = append(faults, config.Faultf(prefix+"exemplars", "must not be negative"))
	}
	return errors.Join(faults...)
}

// Store keeps metric series.
type Store struct {
	cfg Config
	db  *tsdb.DB

	looks    sync.Mutex
	lookedAt time.Time
	looked   error

	points, refused atomic.Uint64
	mu              sync.Mutex
	dropped         map[string]uint64
	lastRejection   string
}

// Open opens the TSDB in cfg.Dir. The TSDB compacts and drops blocks by itself until Close.
func Open(cfg Config) (*Store, error) {
	if cfg.free == nil {
		cfg.free = wal.OS{}
	}
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = cfg.Retention.Milliseconds()
	opts.MaxBytes = cfg.MaxBytes
	opts.MaxBlockDuration = max(opts.MinBlockDuration, min(cfg.Retention/10, 31*24*time.Hour).Milliseconds())
	opts.OutOfOrderTimeWindow = cfg.OutOfOrder.Milliseconds()
	opts.EnableExemplarStorage, opts.MaxExemplars = true, cfg.Exemplars
	opts.WALCompression = compression.Snappy
	opts.EnableSTAsZeroSample = true // the first increment of a new counter counts in rate()
	opts.StripeSize = 1024           // its default is for millions of series and takes memory when idle
	log := slog.New(atLeast{slog.Default().Handler(), slog.LevelWarn}).With("part", "tsdb")
	db, err := tsdb.Open(cfg.Dir, log, nil, opts, nil)
	if err != nil {
		return nil, fmt.Errorf("open metrics in %s: %w", cfg.Dir, err)
	}
	return &Store{cfg: cfg, db: db, dropped: map[string]uint64{}}, nil
}

// Append stores a batch of OTLP metrics. It answers wal.ErrFull before the disk is so full that the TSDB could fail.
func (s *Store) Append(ctx context.Context, batch pmetric.Metrics) error {
	return s.write(ctx, func(app *tolerant) error {
		settings := prometheusremotewrite.Settings{AddMetricSuffixes: true, LookbackDelta: lookback}
		_, err := prometheusremotewrite.NewPrometheusConverter(app).FromMetrics(ctx, batch, settings)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // points that have no form in Prometheus; all others are in
			app.drop(Unsupported, err)
		}
		return nil
	})
}

const lookback = 5 * time.Minute

// Label is one name and value.
type Label struct{ Name, Value string }

// Series is the value of one generated series at one time. A histogram is its _bucket, _sum and _count series.
type Series struct {
	Name      string
	Labels    []Label // without the metric's name
	Value     float64 // cumulative, for counters
	Start     int64   // Unix milliseconds since when Value counts; 0 = not known
	Time      int64   // Unix milliseconds
	Exemplars []Exemplar
}

// Exemplar is one observation, with the request it came from.
type Exemplar struct {
	Labels []Label // those that fit Prometheus' 128 characters are kept, in this order: trace_id goes first
	Value  float64
	Time   int64 // Unix milliseconds
}

// Write stores generated series.
func (s *Store) Write(ctx context.Context, series []Series) error {
	return s.write(ctx, func(app *tolerant) error {
		builder := labels.NewScratchBuilder(16)
		for i := range series {
			if err := ctx.Err(); err != nil {
				return err
			}
			in := &series[i]
			builder.Reset()
			builder.Add(labels.MetricName, in.Name)
			for _, l := range in.Labels {
				builder.Add(l.Name, l.Value)
			}
			builder.Sort()
			opts := storage.AOptions{MetricFamilyName: in.Name, Exemplars: exemplars(in.Exemplars)}
			_, _ = app.Append(0, builder.Labels(), in.Start, in.Time, in.Value, nil, nil, opts) // never fails, see tolerant
		}
		return nil
	})
}

func exemplars(in []Exemplar) []exemplar.Exemplar {
	out := make([]exemplar.Exemplar, 0, len(in))
	for _, e := range in {
		room := exemplar.ExemplarMaxLabelSetLength
		var fits []string
		for _, l := range e.Labels {
			if n := len([]rune(l.Name)) + len([]rune(l.Value)); n <= room {
				room -= n
				fits = append(fits, l.Name, l.Value)
			}
		}
		out = append(out, exemplar.Exemplar{Labels: labels.FromStrings(fits...), Value: e.Value, Ts: e.Time, HasTs: e.Time != 0})
	}
	return out
}

// write runs fill on one transaction and commits it.
func (s *Store) write(ctx context.Context, fill func(*tolerant) error) error {
	if err := s.reserve(); err != nil {
		s.refused.Add(1)
		return err
	}
	app := &tolerant{AppenderV2: s.db.AppenderV2(ctx), dropped: map[string]uint64{}}
	if err := fill(app); err != nil {
		return errors.Join(err, app.Rollback())
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("write metrics to %s: %w", s.cfg.Dir, err)
	}
	s.count(app)
	return nil
}

// count takes over what became of a transaction's samples.
func (s *Store) count(app *tolerant) {
	s.points.Add(app.points)
	if len(app.dropped) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for reason, n := range app.dropped {
		s.dropped[reason] += n
	}
	s.lastRejection = app.last
}

// reserve looks at the disk, at most four times a second.
func (s *Store) reserve() error {
	s.looks.Lock()
	defer s.looks.Unlock()
	if time.Since(s.lookedAt) > 250*time.Millisecond {
		s.looked = wal.CheckReserve(s.cfg.free, s.cfg.Dir, s.cfg.Reserve)
		s.lookedAt = time.Now()
	}
	return s.looked
}

// Why samples of a batch that is acknowledged are not stored.
const (
	TooOld      = "too_old"     // behind what the series has, by more than Config.OutOfOrder
	Conflict    = "conflict"    // the series has another value of that time
	Unsupported = "unsupported" // no form in Prometheus; counts metrics, not samples
	Invalid     = "invalid"     // for any other reason of the TSDB's
)

func reasonOf(err error) string {
	switch {
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		return TooOld
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		return Conflict
	}
	return Invalid
}

// tolerant leaves out the samples that the TSDB does not take, so that one of them does not cost the others.
type tolerant struct {
	storage.AppenderV2
	points  uint64
	dropped map[string]uint64
	last    string // why, of the last one
}

func (a *tolerant) drop(reason string, err error) {
	a.dropped[reason]++
	a.last = err.Error()
}

// maxStartAge is how old a start may be to become a zero sample. Counters of the machine begin at its boot: weeks of
// nothing must not open weeks of blocks.
const maxStartAge = 10 * time.Minute

func (a *tolerant) Append(ref storage.SeriesRef, ls labels.Labels, start, at int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if at-start > maxStartAge.Milliseconds() {
		start = 0
	}
	out, err := a.AppenderV2.Append(ref, ls, start, at, v, h, fh, opts)
	if partial := new(storage.AppendPartialError); errors.As(err, &partial) {
		err = nil // the sample is in; only an exemplar is not
	}
	if err != nil {
		a.drop(reasonOf(err), fmt.Errorf("%s: %w", ls.Get(labels.MetricName), err))
		return 0, nil
	}
	a.points++
	return out, nil
}

// Storage is what Prometheus' web API, its rule manager and PromQL work on.
type Storage interface {
	storage.SampleAndChunkQueryable
	storage.ExemplarQueryable
	storage.Appendable
}

// Storage gives query access, and write access for recording rules and alert state.
func (s *Store) Storage() Storage { return guarded{s.db, s} }

type guarded struct {
	*tsdb.DB
	store *Store
}

// Appender refuses, at Commit, what the reserve does not allow.
func (g guarded) Appender(ctx context.Context) storage.Appender {
	return guardedAppender{g.DB.Appender(ctx), g.store}
}

type guardedAppender struct {
	storage.Appender
	store *Store
}

func (a guardedAppender) Commit() error {
	if err := a.store.reserve(); err != nil {
		a.store.refused.Add(1)
		return errors.Join(err, a.Rollback())
	}
	return a.Appender.Commit()
}

// Stats counts what the store holds and what happened to it since Open.
type Stats struct {
	Points        uint64            // samples stored
	Dropped       map[string]uint64 // samples of acknowledged batches that are not, by reason
	LastRejection string
	Refused       uint64 // batches, by ErrFull
	Series        uint64 // in the head
}

// Rejected is how many samples of acknowledged batches are not stored.
func (s *Stats) Rejected() (n uint64) {
	for _, dropped := range s.Dropped {
		n += dropped
	}
	return n
}

// Stats is a snapshot.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Points: s.points.Load(), Dropped: maps.Clone(s.dropped), LastRejection: s.lastRejection, Refused: s.refused.Load(),
		Series: s.db.Head().NumSeries(),
	}
}

// Close ends the TSDB's own work and closes it.
func (s *Store) Close() error { return s.db.Close() }
