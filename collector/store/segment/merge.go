package segment

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"weft/collector/store/segment/manifest"
)

const (
	fanOut    = 8        // neighbours of one size that become one
	smallest  = 16 << 20 // bytes; all segments below this are of one size
	largest   = 2 << 30  // bytes; a segment is not merged beyond this
	mergeSpan = 16       // a merged segment covers at most one part in so many of the age that is kept
)

// merge makes one segment of neighbours of about the same size, so that a look-up asks few of them: with eight to one,
// each item is written again once for each factor of eight in size.
func (l *Log[F]) merge(ctx context.Context) error {
	for ctx.Err() == nil {
		run := l.mergeable()
		if len(run) == 0 {
			return nil
		}
		if err := l.mergeRun(ctx, run); err != nil {
			return fmt.Errorf("merge %d segments from %s on: %w", len(run), run[0].Name(), err)
		}
	}
	return nil
}

// size is the class of a segment's size, a factor of eight each.
func size(e manifest.Entry) int { return bits.Len64(uint64(e.Bytes)/smallest) / 3 }

// mergeable is the oldest run of fanOut neighbours of one size that may become one.
func (l *Log[F]) mergeable() []manifest.Entry {
	var run []manifest.Entry
	var bytes int64
	for _, e := range l.manifest.Segments {
		if e.Tail {
			continue
		}
		if len(run) > 0 && (size(run[0]) != size(e) || bytes+e.Bytes > largest || l.tooLong(run[0], e)) {
			run, bytes = run[:0], 0
		}
		run, bytes = append(run, e), bytes+e.Bytes
		if len(run) == fanOut {
			return run
		}
	}
	return nil
}

// tooLong says that a segment from a to b would keep what is old because of what is young.
func (l *Log[F]) tooLong(a, b manifest.Entry) bool {
	age := l.cfg.Retention.Age
	return age > 0 && time.Duration(b.LastReceived-a.FirstReceived) > age/mergeSpan
}

func (l *Log[F]) mergeRun(ctx context.Context, run []manifest.Entry) error {
	l.cfg.Turn.Lock()
	defer l.cfg.Turn.Unlock()
	view := l.View()
	defer view.Release()
	files, err := view.files(run)
	if err != nil {
		return err
	}
	e := manifest.Entry{From: run[0].From, To: run[len(run)-1].To, Generation: l.manifest.Generation + 1}
	if e.Summary, err = l.form.Join(ctx, l.base(e), files); err != nil {
		return err
	}
	if err := l.replace(run, e); err != nil {
		return err
	}
	l.counts.merged.Add(uint64(len(run)))
	return nil
}

// files opens the segments of these entries.
func (v *View[F]) files(entries []manifest.Entry) ([]F, error) {
	var files []F
	for _, e := range entries {
		at := slices.IndexFunc(v.segments, func(s *segment[F]) bool { return s.Name() == e.Name() })
		if at < 0 {
			return nil, fmt.Errorf("segment %s is not open", e.Name())
		}
		file, err := v.segments[at].get()
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// replace commits that the segment e stands for the old ones; without rows it stands for nothing.
func (l *Log[F]) replace(old []manifest.Entry, e manifest.Entry) error {
	return l.commit(func(m *manifest.Manifest) {
		m.Segments = slices.DeleteFunc(m.Segments, func(have manifest.Entry) bool {
			return slices.ContainsFunc(old, func(o manifest.Entry) bool { return o.Name() == have.Name() })
		})
		if e.Rows > 0 {
			m.Segments = append(m.Segments, e)
		}
	}, nil)
}

// mend repairs segments that could not be opened, and sets aside those that cannot be repaired.
func (l *Log[F]) mend(ctx context.Context) error {
	view := l.View()
	defer view.Release()
	for _, s := range view.segments {
		s.mu.Lock()
		bad := s.bad
		s.mu.Unlock()
		if !bad {
			continue
		}
		if l.form.Repair(ctx, l.base(s.Entry)) == nil {
			if _, err := s.get(); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.setAside(ctx, s.Entry); err != nil {
			return err
		}
	}
	return nil
}

// setAside moves a segment that is damaged into quarantine; what can still be read of it goes on in a new one.
func (l *Log[F]) setAside(ctx context.Context, e manifest.Entry) error {
	rest := l.salvage(ctx, e)
	l.counts.damaged.Add(uint64(e.Rows - rest.Rows))
	if rest.Rows > 0 { // the manifest first: a crash must not leave neither
		l.mu.Lock()
		for _, s := range l.segments {
			s.aside = s.aside || s.Name() == e.Name()
		}
		l.mu.Unlock()
		return l.replace([]manifest.Entry{e}, rest)
	}
	if err := l.quarantineFiles(e); err != nil {
		return err
	}
	return l.replace([]manifest.Entry{e}, manifest.Entry{})
}

// salvage makes a segment of what can be read of e; without rows there is none.
func (l *Log[F]) salvage(ctx context.Context, e manifest.Entry) manifest.Entry {
	file, err := l.form.Open(l.base(e))
	if err != nil {
		return manifest.Entry{}
	}
	rest := e
	rest.Generation = l.manifest.Generation + 1
	rest.Summary, err = l.form.Salvage(ctx, l.base(rest), file)
	if err := errors.Join(err, file.Close()); err != nil {
		l.warn("nothing of a damaged segment can be kept", "segment", e.Name(), "error", err)
		return manifest.Entry{}
	}
	return rest
}

// quarantineFiles moves all files of a segment into quarantine.
func (l *Log[F]) quarantineFiles(e manifest.Entry) error {
	var faults []error
	for _, extension := range l.form.Extensions {
		faults = append(faults, l.quarantine(l.base(e)+extension))
	}
	return errors.Join(faults...)
}
