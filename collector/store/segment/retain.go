package segment

import (
	"context"
	"fmt"
	"time"

	"weft/collector/store/segment/manifest"
)

// retain drops the oldest segments while they are too old or too many. What is worth more than the bulk moves to a
// segment of its own in the same change.
func (l *Log[F]) retain(ctx context.Context, now time.Time) error {
	if due := l.due(now); len(due) > 0 {
		if err := l.expire(ctx, due); err != nil {
			return fmt.Errorf("drop %d old segments: %w", len(due), err)
		}
	}
	if due := l.dueTails(now); len(due) > 0 {
		if err := l.replace(due, manifest.Entry{}); err != nil {
			return fmt.Errorf("drop %d old tail segments: %w", len(due), err)
		}
		l.countDropped(due, 0)
	}
	return nil
}

// due is the segments whose time has come, oldest first.
func (l *Log[F]) due(now time.Time) []manifest.Entry {
	total := l.wal.Stats().Bytes
	for _, e := range l.manifest.Segments {
		total += e.Bytes
	}
	keep := l.cfg.Retention
	var due []manifest.Entry
	for _, e := range l.manifest.Segments {
		if e.Tail {
			continue
		}
		tooOld := keep.Age > 0 && time.Unix(0, e.LastReceived).Before(now.Add(-keep.Age))
		tooMany := keep.Bytes > 0 && total > keep.Bytes
		if !tooOld && !tooMany {
			break
		}
		due = append(due, e)
		total -= e.Bytes
	}
	return due
}

// dueTails is the same for the tail segments, by their own limits. A tail without a limit of bytes shares that of all.
func (l *Log[F]) dueTails(now time.Time) []manifest.Entry {
	keep := l.cfg.Retention
	limit := keep.Tail.Bytes
	if limit == 0 {
		limit = keep.Bytes
	}
	var total int64
	for _, e := range l.manifest.Segments {
		if e.Tail {
			total += e.Bytes
		}
	}
	var due []manifest.Entry
	for _, e := range l.manifest.Segments {
		tooOld := keep.Tail.Age > 0 && time.Unix(0, e.LastReceived).Before(now.Add(-keep.Tail.Age))
		if e.Tail && (tooOld || limit > 0 && total > limit) {
			due = append(due, e)
			total -= e.Bytes
		}
	}
	return due
}

func (l *Log[F]) expire(ctx context.Context, due []manifest.Entry) error {
	tail := manifest.Entry{From: due[0].From, To: due[len(due)-1].To, Generation: l.manifest.Generation + 1, Tail: true}
	if l.cfg.Retention.Tail.Age > 0 {
		var err error
		if tail.Summary, err = l.keep(ctx, tail, due); err != nil {
			return err
		}
	}
	if err := l.replace(due, tail); err != nil {
		return err
	}
	l.countDropped(due, tail.Rows)
	return nil
}

func (l *Log[F]) keep(ctx context.Context, tail manifest.Entry, due []manifest.Entry) (manifest.Summary, error) {
	l.cfg.Turn.Lock()
	defer l.cfg.Turn.Unlock()
	view := l.View()
	defer view.Release()
	files, err := view.files(due)
	if err != nil {
		return manifest.Summary{}, err
	}
	return l.form.Keep(ctx, l.base(tail), files, Worth{Slow: l.cfg.Retention.Tail.Slow, Pinned: l.cfg.Pinned()})
}

func (l *Log[F]) countDropped(dropped []manifest.Entry, kept int64) {
	for _, e := range dropped {
		l.counts.droppedRows.Add(uint64(e.Rows))
	}
	l.counts.droppedRows.Add(-uint64(kept))
	l.counts.keptRows.Add(uint64(kept))
	l.counts.dropped.Add(uint64(len(dropped)))
}

// Erase removes the request that id names from every segment, after sealing what there is. It says how many items went.
func (l *Log[F]) Erase(ctx context.Context, id string) (erased int64, err error) {
	if err := l.SealAll(ctx); err != nil {
		return 0, err
	}
	l.making.Lock()
	defer l.making.Unlock()
	// The sealed log files that stay for a restart hold the request too.
	if err := l.wal.DropBefore(l.wal.End()); err != nil {
		return 0, err
	}
	view := l.View()
	defer view.Release()
	for _, s := range view.segments {
		file, err := s.get()
		if err != nil {
			return erased, fmt.Errorf("erase from %s: %w", s.Name(), err)
		}
		e := s.Entry
		e.Generation = l.manifest.Generation + 1
		if e.Summary, err = l.form.Without(ctx, l.base(e), file, id); err != nil {
			return erased, fmt.Errorf("erase from %s: %w", s.Name(), err)
		}
		if e.Rows == s.Rows { // it was not there
			if err := l.removeFiles(e); err != nil {
				return erased, err
			}
			continue
		}
		if err := l.replace([]manifest.Entry{s.Entry}, e); err != nil {
			return erased, err
		}
		erased += s.Rows - e.Rows
	}
	return erased, nil
}
