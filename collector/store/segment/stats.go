package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft/collector/store/key"
	"weft/internal/wal"
)

// Stats counts what the log holds and what happened to it since Open.
type Stats struct {
	Log            wal.Stats
	Bytes          int64 // on the disk: log files and segments
	Unsealed       int   // log files
	UnsealedItems  int64
	IndexMemory    int64 // bytes
	Segments       int
	Rows           int64 // in segments
	SegmentBytes   int64
	Tails          int // of the segments
	TailRows       int64
	Oldest, Newest time.Time // receipt

	// The ledger in items, since Open: Accepted + Recovered = Stored + Deduplicated + Lost + UnsealedItems.
	Accepted     uint64 // acknowledged
	Recovered    uint64 // found in the log by Open, not sealed yet
	Stored       uint64 // rows of the segments made of log files
	Deduplicated uint64 // left out of a segment because they were there already
	Lost         uint64 // not readable any more when they were to be sealed

	Sealed     uint64 // log files
	Merged     uint64 // segments
	Dropped    uint64 // segments, by retention
	DroppedRow uint64 // rows, by retention
	KeptRows   uint64 // rows that outlived their bulk
	Damaged    uint64 // ranges and records that could not be read
	Quarantine uint64 // files set aside
	Failures   uint64 // of sealing, merging or dropping; they are tried again
}

// Stats is a snapshot.
func (l *Log[F]) Stats() Stats {
	c := &l.counts
	s := Stats{
		Log: l.wal.Stats(), Accepted: c.items.Load(), Recovered: c.recovered.Load(), Stored: c.rows.Load(),
		Deduplicated: c.duplicates.Load(), Lost: c.lost.Load(), Sealed: c.sealed.Load(), Merged: c.merged.Load(),
		Dropped: c.dropped.Load(), DroppedRow: c.droppedRows.Load(), KeptRows: c.keptRows.Load(), Damaged: c.damaged.Load(),
		Quarantine: c.quarantined.Load(), Failures: c.failures.Load(),
	}
	s.Damaged += s.Log.Damaged
	s.Bytes = s.Log.Bytes
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, e := range l.manifest.Segments {
		s.Segments++
		s.Rows += e.Rows
		s.SegmentBytes += e.Bytes
		if e.Tail {
			s.Tails++
			s.TailRows += e.Rows
		}
		s.note(e.FirstReceived, e.LastReceived)
	}
	s.Bytes += s.SegmentBytes
	for _, p := range l.parts {
		s.Unsealed++
		s.IndexMemory += p.index.Bytes()
		if first, last, records := p.times(); records > 0 {
			s.note(first, last)
		}
		p.mu.Lock()
		s.UnsealedItems += p.items
		p.mu.Unlock()
	}
	return s
}

func (s *Stats) note(first, last int64) {
	if at := time.Unix(0, first); s.Oldest.IsZero() || at.Before(s.Oldest) {
		s.Oldest = at
	}
	if at := time.Unix(0, last); at.After(s.Newest) {
		s.Newest = at
	}
}

// Check proves that every record of the log is readable and found by each of its keys, and every byte of every segment.
// Batches may be appended meanwhile.
func (l *Log[F]) Check(ctx context.Context) error {
	l.making.Lock() // no segment comes or goes
	defer l.making.Unlock()
	var faults []error
	damaged := l.wal.Stats().Damaged
	view := l.View()
	defer view.Release()
	for _, s := range view.segments {
		if err := l.form.Check(ctx, l.base(s.Entry)); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.Name(), err))
		}
	}
	for _, p := range view.parts {
		if err := l.checkPart(ctx, p); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.path, err))
		}
	}
	if n := l.wal.Stats().Damaged - damaged; n > 0 {
		faults = append(faults, fmt.Errorf("%s: %d damaged ranges", l.cfg.Dir, n))
	}
	return errors.Join(faults...)
}

func (l *Log[F]) checkPart(ctx context.Context, p *part) error {
	l.barrier.Lock() // between two appends: every record written is in the index
	end := l.wal.End()
	l.barrier.Unlock()
	return l.wal.Replay(wal.Position{File: p.number}, func(at wal.Position, record []byte) error {
		if at.File != p.number || !at.Before(end) {
			return wal.ErrStop
		}
		_, batch, err := split(record)
		if err != nil {
			return err
		}
		var missing error
		_, err = l.form.Keys(batch, func(k key.Key) {
			for _, offset := range p.index.Lookup(k) {
				if offset == at.Offset {
					return
				}
			}
			missing = fmt.Errorf("record at %v is not found by its key %x", at, uint64(k))
		})
		return errors.Join(err, missing, ctx.Err())
	})
}

// Repair mends what can be mended: indexes are made anew; of a segment with damage the rows that can be read go on in a new
// one, and the old one is set aside.
func (l *Log[F]) Repair(ctx context.Context) error {
	l.making.Lock()
	defer l.making.Unlock()
	for _, e := range slices.Clone(l.manifest.Segments) {
		if l.form.Check(ctx, l.base(e)) == nil {
			continue
		}
		if err := l.form.Repair(ctx, l.base(e)); err == nil && l.form.Check(ctx, l.base(e)) == nil {
			continue
		}
		if err := l.setAside(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
