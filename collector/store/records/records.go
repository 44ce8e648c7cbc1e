// Package records is a durable log whose segments are sealed Parquet files: what the stores of spans and of log records
// share.
package records

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"weft/collector/signal"
	"weft/collector/store/key"
	"weft/collector/store/sealed"
	"weft/collector/store/segment"
	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// Log is one signal's.
type Log = segment.Log[*sealed.File]

// View is what a Log holds at one moment.
type View = segment.View[*sealed.File]

// Kind is what tells the signals apart.
type Kind struct {
	// Keys calls add with every key under which a batch is to be found, and returns how many items it holds.
	Keys func(batch []byte, add func(key.Key)) (items int, err error)
	// Write makes a file of batches.
	Write func(fs wal.FS, path string, batches []sealed.Batch, opts sealed.Options) (sealed.Summary, error)
	// Worth is the traces in files that outlive the bulk by themselves: what failed, or took as long as slow (0 = any).
	Worth func(ctx context.Context, files []*sealed.File, slow time.Duration) (map[signal.TraceID]bool, error)
	// Holds says whether anything in file is of the request that id names, and which traces are all of it.
	Holds func(ctx context.Context, file *sealed.File, id string) (traces map[signal.TraceID]bool, found bool, err error)
}

const (
	rowsExtension  = ".parquet"
	indexExtension = ".idx"
	cacheBytes     = 48 << 20 // footers and dictionaries of the files that are asked
)

// Open opens or creates the log in cfg.Dir.
func Open(cfg segment.Config, kind Kind) (*Log, error) {
	fs := cfg.FS
	if fs == nil {
		fs = wal.OS{}
	}
	f := &form{fs: fs, kind: kind, cache: sealed.NewCache(cacheBytes)}
	return segment.Open(cfg, segment.Form[*sealed.File]{
		Extensions: []string{rowsExtension, indexExtension},
		Keys:       kind.Keys, Seal: f.seal, Join: f.join, Keep: f.keep, Without: f.without, Salvage: f.salvage, Open: f.open, Check: f.check, Repair: f.repair,
		Summary: func(file *sealed.File) manifest.Summary { return summary(file.Summary) },
	})
}

// form makes and opens files.
type form struct {
	fs    wal.FS
	kind  Kind
	cache *sealed.Cache

	mu         sync.Mutex
	attributes []string // that had columns in the file before
}

func path(base string) string { return base + rowsExtension }

func (f *form) seal(base string, batches []segment.Batch) (manifest.Summary, error) {
	in := make([]sealed.Batch, len(batches))
	for i, b := range batches {
		in[i] = sealed.Batch(b)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.kind.Write(f.fs, path(base), in, sealed.Options{Attributes: f.attributes})
	if err != nil {
		return manifest.Summary{}, err
	}
	published, attributes, err := f.publish(base, s)
	if err == nil && s.Rows > 0 {
		f.attributes = attributes
	}
	return published, err
}

// publish makes a written file visible, unless nothing is in it, and reads it back: it is what the disk says that counts.
// attributes are the keys that have columns in it.
func (f *form) publish(base string, s sealed.Summary) (found manifest.Summary, attributes []string, err error) {
	if s.Rows == 0 {
		return summary(s), nil, sealed.Discard(f.fs, path(base))
	}
	if err := sealed.Publish(f.fs, path(base)); err != nil {
		return found, nil, errors.Join(err, sealed.Discard(f.fs, path(base)))
	}
	file, err := f.open(base)
	if err != nil {
		return found, nil, fmt.Errorf("look at what was just written: %w", err)
	}
	rows, attributes, err := file.Columns()
	if err == nil && (rows != s.Rows || file.Rows != s.Rows) {
		err = fmt.Errorf("%w: %s has %d rows, its index says %d, and %d were written", sealed.ErrDamaged, path(base), rows, file.Rows, s.Rows)
	}
	return summary(file.Summary), attributes, errors.Join(err, file.Close())
}

func (f *form) published(base string, s sealed.Summary) (manifest.Summary, error) {
	found, _, err := f.publish(base, s)
	return found, err
}

func summary(s sealed.Summary) manifest.Summary {
	return manifest.Summary{
		Rows: s.Rows, Duplicates: s.Duplicates, First: s.First, Last: s.Last, FirstReceived: s.FirstReceived, LastReceived: s.LastReceived,
		Bytes: s.Bytes, Services: s.Services,
	}
}

func (f *form) open(base string) (*sealed.File, error) { return sealed.Open(f.fs, path(base), f.cache) }

func (f *form) join(_ context.Context, base string, files []*sealed.File) (manifest.Summary, error) {
	s, err := sealed.Concat(f.fs, path(base), files)
	if err != nil {
		return manifest.Summary{}, err
	}
	return f.published(base, s)
}

// keep copies the rows of requests that are worth more than the bulk.
func (f *form) keep(ctx context.Context, base string, files []*sealed.File, worth segment.Worth) (manifest.Summary, error) {
	traces, err := f.kind.Worth(ctx, files, worth.Slow)
	if err != nil {
		return manifest.Summary{}, err
	}
	pinned := map[string]bool{}
	for _, id := range worth.Pinned {
		pinned[id] = true
		for _, file := range files {
			named, _, err := f.kind.Holds(ctx, file, id)
			if err != nil {
				return manifest.Summary{}, err
			}
			maps.Copy(traces, named)
		}
	}
	s, err := sealed.Copy(f.fs, path(base), files, func(row sealed.Row) bool {
		if trace := row.Trace(); !trace.IsZero() && traces[trace] {
			return true
		}
		return pinned[row.RequestID()]
	})
	if err != nil {
		return manifest.Summary{}, err
	}
	return f.published(base, s)
}

// without copies a file but for the request that id names: its trace, if it is a trace ID, and what carries it as an ID.
func (f *form) without(ctx context.Context, base string, file *sealed.File, id string) (manifest.Summary, error) {
	traces, found, err := f.kind.Holds(ctx, file, id)
	if err != nil || !found {
		return summary(file.Summary), err
	}
	s, err := sealed.Copy(f.fs, path(base), []*sealed.File{file}, func(row sealed.Row) bool {
		trace := row.Trace()
		return !(traces[trace] && !trace.IsZero()) && !row.Has(id)
	})
	if err != nil {
		return manifest.Summary{}, err
	}
	return f.published(base, s)
}

// salvage copies the rows that can be read.
func (f *form) salvage(_ context.Context, base string, file *sealed.File) (manifest.Summary, error) {
	s, err := sealed.Copy(f.fs, path(base), []*sealed.File{file}, func(sealed.Row) bool { return true })
	if err != nil {
		return manifest.Summary{}, err
	}
	return f.published(base, s)
}

func (f *form) check(ctx context.Context, base string) error {
	return sealed.Check(ctx, f.fs, path(base))
}

func (f *form) repair(_ context.Context, base string) error {
	damaged, err := sealed.RebuildIndex(f.fs, path(base))
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%w: %s: %d rows cannot be read", sealed.ErrDamaged, path(base), damaged)
	}
	return err
}
