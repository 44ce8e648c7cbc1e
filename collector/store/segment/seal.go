package segment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"weft/internal/wal"
)

// Run seals closed files and applies retention until ctx ends. A disk that refuses is tried again; Append pushes back
// meanwhile.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := ""
	for {
		if err := l.Maintain(); err != nil {
			l.unsealable.Add(1)
			if text := err.Error(); text != failing { // once, not every second
				failing = text
				slog.ErrorContext(ctx, "store cannot seal or drop files, tries on", "dir", l.cfg.Dir, "error", err)
			}
		} else {
			failing = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.full:
		case <-tick.C:
		}
	}
}

// Maintain does once what Run does again and again.
func (l *Log) Maintain() error {
	now := l.cfg.Now()
	if parts := l.snapshot(); len(parts) > 0 {
		if _, s := parts[len(parts)-1].get(); s.records > 0 && now.Sub(time.Unix(0, s.first)) > sealAfter {
			if err := l.wal.Rotate(); err != nil {
				return err
			}
		}
	}
	return errors.Join(l.seal(), l.retain(now))
}

// seal publishes the index of every file that is closed.
func (l *Log) seal() error {
	active := l.wal.End().File
	var faults []error
	for _, p := range l.snapshot() {
		if x, _ := p.get(); isMem(x) && p.number < active {
			l.barrier.Lock() // appends that began before the file was closed have now finished
			l.barrier.Unlock()
			faults = append(faults, l.sealPart(p))
		}
	}
	return errors.Join(faults...)
}

func (l *Log) sealPart(p *part) error {
	x, s := p.get()
	mem, ok := x.(*memIndex)
	if !ok {
		return nil
	}
	for _, f := range l.wal.Files() {
		if f.Number == p.number {
			s.size = f.Size
		}
	}
	if err := writeIndex(l.cfg.FS, p.indexPath(), mem.sorted(), s); err != nil {
		return fmt.Errorf("seal %s: %w", p.path, err)
	}
	f, err := openIndex(l.cfg.FS, p.indexPath())
	if err != nil {
		return fmt.Errorf("seal %s: %w", p.path, err)
	}
	p.set(f, s)
	return nil
}

// retain drops the oldest closed files while they are too old or too many.
func (l *Log) retain(now time.Time) error {
	active := l.wal.End().File
	total := l.Stats().Bytes
	for _, p := range l.snapshot() {
		x, s := p.get()
		if p.number >= active || isMem(x) {
			return nil
		}
		tooOld := l.cfg.Retention.Age > 0 && s.lastTime().Before(now.Add(-l.cfg.Retention.Age))
		tooMany := l.cfg.Retention.Bytes > 0 && total > l.cfg.Retention.Bytes
		if !tooOld && !tooMany {
			return nil
		}
		total -= p.bytes()
		if err := l.drop(p); err != nil {
			return err
		}
	}
	return nil
}

// bytes is what the part takes on the disk.
func (p *part) bytes() int64 {
	x, s := p.get()
	if f, ok := x.(*indexFile); ok {
		return s.size + f.bytes
	}
	return s.size
}

// drop removes a part, which must be the oldest: the index first, since a log file alone is whole.
func (l *Log) drop(p *part) error {
	l.mu.Lock()
	l.parts = slices.DeleteFunc(l.parts, func(q *part) bool { return q == p })
	l.mu.Unlock()
	l.dropped.Add(1)
	x, _ := p.get()
	var err error
	if f, ok := x.(*indexFile); ok {
		err = f.f.Close()
	}
	if e := l.cfg.FS.Remove(p.indexPath()); e != nil && !os.IsNotExist(e) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, l.wal.DropBefore(wal.Position{File: p.number + 1}))
}

// Stats counts what the log holds and what happened to it since Open.
type Stats struct {
	Log                  wal.Stats
	Bytes                int64 // on the disk, indexes included
	Sealed, Unsealed     int   // files
	IndexMemory          int64 // bytes
	Oldest, Newest       time.Time
	Dropped              uint64 // files, by retention
	Damaged, SealFailure uint64
}

// Stats is a snapshot.
func (l *Log) Stats() Stats {
	s := Stats{Log: l.wal.Stats(), Dropped: l.dropped.Load(), Damaged: l.damaged.Load(), SealFailure: l.unsealable.Load()}
	s.Bytes = s.Log.Bytes
	s.Damaged += s.Log.Damaged
	for _, p := range l.snapshot() {
		x, sum := p.get()
		if sum.records > 0 {
			if s.Oldest.IsZero() {
				s.Oldest = time.Unix(0, sum.first)
			}
			s.Newest = sum.lastTime()
		}
		switch x := x.(type) {
		case *indexFile:
			s.Sealed++
			s.Bytes += x.bytes
		case *memIndex:
			s.Unsealed++
			s.IndexMemory += x.bytes()
		}
	}
	return s
}

// Check proves that every record is readable and found by each of its keys, and that every byte of every index
// checks. Batches may be appended meanwhile.
func (l *Log) Check(ctx context.Context) error {
	var faults []error
	damaged := l.wal.Stats().Damaged
	for _, p := range l.snapshot() {
		if err := l.checkPart(ctx, p); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.path, err))
		}
	}
	if n := l.wal.Stats().Damaged - damaged; n > 0 {
		faults = append(faults, fmt.Errorf("%s: %d damaged ranges", l.cfg.Dir, n))
	}
	return errors.Join(faults...)
}

func (l *Log) checkPart(ctx context.Context, p *part) error {
	l.barrier.Lock() // between two appends: every record written is in the index
	x, s := p.get()
	var pairs []pair
	if mem, ok := x.(*memIndex); ok {
		pairs = mem.sorted()
	}
	l.barrier.Unlock()
	if f, ok := x.(*indexFile); ok {
		var err error
		if pairs, err = f.all(); err != nil {
			return err
		}
	}
	have := make(map[pair]bool, len(pairs))
	for _, e := range pairs {
		have[e] = true
	}
	var records int64
	err := l.wal.Replay(wal.Position{File: p.number}, func(at wal.Position, record []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at.File != p.number || isMem(x) && records == s.records {
			return wal.ErrStop
		}
		records++
		_, batch, err := split(record)
		if err != nil {
			return err
		}
		var missing error
		err = l.keys(batch, func(k Key) {
			if !have[pair{k, uint32(at.Offset)}] {
				missing = fmt.Errorf("record at %v is not found by its key %x", at, uint64(k))
			}
		})
		return errors.Join(err, missing)
	})
	if err == nil && records != s.records {
		err = fmt.Errorf("%d records, its index says %d", records, s.records)
	}
	return err
}
