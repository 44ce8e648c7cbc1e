package segment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// Run seals closed files, merges segments and applies retention until ctx ends. A disk that refuses is tried again;
// Append pushes back meanwhile.
func (l *Log[F]) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := ""
	for {
		if err := l.Maintain(ctx); err != nil && ctx.Err() == nil {
			l.counts.failures.Add(1)
			if text := err.Error(); text != failing { // once, not every second
				failing = text
				l.warn("cannot seal, merge or drop segments; tries on", "dir", l.cfg.Dir, "error", err)
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
func (l *Log[F]) Maintain(ctx context.Context) error {
	l.making.Lock()
	defer l.making.Unlock()
	now := l.cfg.Now()
	if err := l.closeSlow(now); err != nil {
		return err
	}
	if err := l.seal(ctx); err != nil {
		return err
	}
	l.cfg.Turn.rest(now)
	return errors.Join(l.mend(ctx), l.merge(ctx), l.retain(ctx, now))
}

// SealAll seals whatever there is.
func (l *Log[F]) SealAll(ctx context.Context) error {
	if err := l.wal.Rotate(); err != nil {
		return err
	}
	l.making.Lock()
	defer l.making.Unlock()
	return l.seal(ctx)
}

// closeSlow closes a file that fills slowly.
func (l *Log[F]) closeSlow(now time.Time) error {
	l.mu.RLock()
	var newest *part
	if n := len(l.parts); n > 0 {
		newest = l.parts[n-1]
	}
	l.mu.RUnlock()
	if newest == nil {
		return nil
	}
	if first, _, records := newest.times(); records > 0 && now.Sub(time.Unix(0, first)) > sealAfter {
		return l.wal.Rotate()
	}
	return nil
}

// seal makes a segment of every log file that is closed, oldest first.
func (l *Log[F]) seal(ctx context.Context) error {
	active := l.wal.End().File
	for ctx.Err() == nil {
		l.mu.RLock()
		var p *part
		if len(l.parts) > 0 && l.parts[0].number < active {
			p = l.parts[0]
		}
		l.mu.RUnlock()
		if p == nil {
			return nil
		}
		l.barrier.Lock() // appends that began before the file was closed have now finished
		l.barrier.Unlock()
		if err := l.sealPart(p); err != nil {
			return fmt.Errorf("seal %s: %w", p.path, err)
		}
	}
	return nil
}

func (l *Log[F]) sealPart(p *part) error {
	l.cfg.Turn.Lock()
	defer l.cfg.Turn.Unlock()
	e := manifest.Entry{From: p.number, To: p.number, Generation: l.manifest.Generation + 1}
	batches, err := l.readAll(p)
	if err != nil {
		return err
	}
	if len(batches) > 0 {
		if e.Summary, err = l.form.Seal(l.base(e), batches); err != nil {
			return err
		}
	}
	err = l.commit(func(m *manifest.Manifest) {
		m.Sealed = p.number
		if e.Rows > 0 {
			m.Segments = append(m.Segments, e)
		}
	}, func() { l.parts = slices.DeleteFunc(l.parts, func(q *part) bool { return q == p }) })
	if err != nil {
		return err
	}
	l.counts.sealed.Add(1)
	l.counts.rows.Add(uint64(e.Rows))
	l.counts.duplicates.Add(uint64(e.Duplicates))
	if lost := p.items - e.Rows - e.Duplicates; lost > 0 { // damaged on the disk since they were acknowledged
		l.counts.lost.Add(uint64(lost))
		l.warn("items that were acknowledged cannot be read any more", "file", p.path, "items", lost)
	}
	return l.dropLogs(p)
}

// readAll reads a log file's batches into the buffer that comes with the turn.
func (l *Log[F]) readAll(p *part) (batches []Batch, err error) {
	l.cfg.Turn.buffer, err = l.wal.Load(p.number, l.cfg.Turn.buffer, func(_ wal.Position, record []byte) error {
		if received, batch, err := split(record); err == nil { // else counted when it was indexed
			batches = append(batches, Batch{Received: received, Raw: batch})
		}
		return nil
	})
	l.cfg.Turn.used = l.cfg.Now()
	return batches, err
}

// commit changes the manifest on disk, and then what readers see.
func (l *Log[F]) commit(change func(*manifest.Manifest), swap func()) error {
	next := l.manifest
	next.Segments = slices.Clone(next.Segments)
	next.Generation++
	change(&next)
	slices.SortFunc(next.Segments, manifest.Older)
	if err := next.Write(l.cfg.FS, l.cfg.Dir); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manifest = next
	have := map[string]*segment[F]{}
	for _, s := range l.segments {
		have[s.Name()] = s
	}
	l.segments = nil
	for _, e := range next.Segments {
		s := have[e.Name()]
		if s == nil {
			s = newSegment(l, e)
		}
		delete(have, e.Name())
		l.segments = append(l.segments, s)
	}
	for _, s := range have {
		l.forget(s)
	}
	if swap != nil {
		swap()
	}
	return nil
}

// forget removes the files of a segment that the manifest does not list any more, or sets them aside. Who reads them reads on.
func (l *Log[F]) forget(s *segment[F]) {
	remove := l.removeFiles
	if s.aside {
		remove = l.quarantineFiles
	}
	if err := errors.Join(s.release(), remove(s.Entry)); err != nil { // the next start sweeps it
		l.warn("a segment that does not count any more cannot be removed", "segment", s.Name(), "error", err)
	}
}

func (l *Log[F]) removeFiles(e manifest.Entry) error {
	var faults []error
	for _, extension := range l.form.Extensions {
		faults = append(faults, removeFile(l.cfg.FS, l.base(e)+extension))
	}
	return errors.Join(faults...)
}

func removeFile(fs wal.FS, path string) error {
	if err := fs.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// dropLogs removes the log files that are sealed, but for the last ones. One that is harmed goes into quarantine: what
// could not be read of it is in no segment.
func (l *Log[F]) dropLogs(p *part) error {
	if p.harmed {
		if err := l.quarantine(p.path); err != nil {
			return err
		}
	}
	if l.manifest.Sealed <= keepLogs {
		return nil
	}
	return l.wal.DropBefore(wal.Position{File: l.manifest.Sealed - keepLogs + 1})
}

// quarantine moves a file where it harms nobody and can be looked at.
func (l *Log[F]) quarantine(path string) error {
	dir := filepath.Join(l.cfg.Dir, "quarantine")
	if err := l.cfg.FS.MkdirAll(dir); err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := l.cfg.FS.Rename(path, to); err != nil && !os.IsNotExist(err) {
		return err
	}
	l.counts.quarantined.Add(1)
	l.warn("a damaged file is set aside", "file", to)
	return nil
}
