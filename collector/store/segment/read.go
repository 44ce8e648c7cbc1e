package segment

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"weft/collector/store/key"
	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// ErrStop ends Each, EachSegment or Replay early, without an error.
var ErrStop = wal.ErrStop

// MaxItems bounds one answer.
const MaxItems = 100_000

// segment is a sealed segment that is listed in the manifest. Readers hold it; it is closed when the last one lets go.
type segment[F File] struct {
	manifest.Entry
	open func() (F, error)

	mu     sync.Mutex
	file   F
	opened bool
	bad    bool // could not be opened: Maintain mends it or sets it aside
	aside  bool // it is damaged: its files go into quarantine; under the log's lock
	held   int
}

func newSegment[F File](l *Log[F], e manifest.Entry) *segment[F] {
	return &segment[F]{Entry: e, held: 1, open: func() (F, error) { return l.form.Open(l.base(e)) }}
}

// hold keeps the segment's file open until release.
func (s *segment[F]) hold() {
	s.mu.Lock()
	s.held++
	s.mu.Unlock()
}

// get opens the file when nobody has. The caller holds the segment.
func (s *segment[F]) get() (F, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		file, err := s.open()
		if s.bad = err != nil; s.bad {
			return file, err
		}
		s.file, s.opened = file, true
	}
	return s.file, nil
}

func (s *segment[F]) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held--; s.held > 0 || !s.opened {
		return nil
	}
	s.opened = false
	return s.file.Close()
}

// View is what the log holds at one moment. Whatever is sealed, merged or dropped meanwhile stays readable until Release.
type View[F File] struct {
	log      *Log[F]
	parts    []*part
	segments []*segment[F]
}

// View is the present.
func (l *Log[F]) View() *View[F] {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v := &View[F]{log: l, parts: append([]*part(nil), l.parts...), segments: append([]*segment[F](nil), l.segments...)}
	for _, s := range v.segments {
		s.hold()
	}
	return v
}

// Release lets go.
func (v *View[F]) Release() {
	for _, s := range v.segments {
		if err := s.release(); err != nil {
			v.log.warn("a segment cannot be closed", "segment", s.Name(), "error", err)
		}
	}
	v.segments = nil
}

// EachBatch calls fn with every batch that is not sealed and may hold k, newest first. The batch is
// valid during the call.
func (v *View[F]) EachBatch(ctx context.Context, k key.Key, fn func(received time.Time, batch []byte) error) error {
	for i := len(v.parts) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		offsets := v.parts[i].index.Lookup(k)
		if len(offsets) == 0 {
			continue
		}
		gone, err := v.log.wal.ReadMany(v.parts[i].number, offsets, func(_ wal.Position, record []byte) error {
			received, batch, err := split(record)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			return fn(time.Unix(0, received), batch)
		})
		v.log.counts.damaged.Add(uint64(gone))
		if errors.Is(err, ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// EachSegment calls fn with every segment that pick wants, newest first. One that cannot be opened is counted and passed
// over, so that the others still answer; Maintain sees to it.
func (v *View[F]) EachSegment(ctx context.Context, pick func(*manifest.Summary) bool, fn func(F) error) error {
	for i := len(v.segments) - 1; i >= 0; i-- {
		s := v.segments[i]
		if pick != nil && !pick(&s.Summary) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := s.get()
		if err != nil {
			v.log.counts.damaged.Add(1)
			v.log.warn("a segment cannot be opened", "segment", s.Name(), "error", err)
			continue
		}
		if err = fn(file); errors.Is(err, ErrStop) {
			return nil
		} else if errors.Is(err, os.ErrClosed) {
			continue // the log is being closed
		} else if err != nil {
			return err
		}
	}
	return nil
}

// EachUnsealed calls fn with every batch that is not sealed, oldest first. The batch is valid during the call.
func (v *View[F]) EachUnsealed(ctx context.Context, fn func(received time.Time, batch []byte) error) error {
	for _, p := range v.parts {
		ended := false
		err := v.log.replayFile(ctx, p.number, func(received time.Time, batch []byte) error {
			err := fn(received, batch)
			ended = errors.Is(err, ErrStop)
			return err
		})
		if err != nil || ended {
			return err
		}
	}
	return nil
}

func (l *Log[F]) replayFile(ctx context.Context, number uint64, fn func(time.Time, []byte) error) error {
	return l.wal.Replay(wal.Position{File: number}, func(at wal.Position, record []byte) error {
		if at.File != number {
			return ErrStop
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		received, batch, err := split(record)
		if err != nil {
			return nil // counted when it was indexed
		}
		return fn(time.Unix(0, received), batch)
	})
}

// Past is how far back Replay goes: as far as both bounds let it.
type Past struct {
	Since time.Time // receipt
	Bytes int64     // of log files, the newest; one is read whole or not at all. 0 = no bound
}

// Replay calls fn with the batches of the past that are still in the log, oldest first: those that are not sealed, and the
// last ones that are. The batch is valid during the call.
func (l *Log[F]) Replay(ctx context.Context, past Past, fn func(received time.Time, batch []byte) error) error {
	old := l.before(past)
	for _, f := range l.wal.Files() {
		if old[f.Number] {
			continue
		}
		ended := false
		err := l.replayFile(ctx, f.Number, func(received time.Time, batch []byte) error {
			if received.Before(past.Since) {
				return nil
			}
			err := fn(received, batch)
			ended = errors.Is(err, ErrStop)
			return err
		})
		if err != nil || ended {
			return err
		}
	}
	return nil
}

// before names the log files with nothing of the past.
func (l *Log[F]) before(past Past) map[uint64]bool {
	old, left := map[uint64]bool{}, past.Bytes
	for _, f := range slices.Backward(l.wal.Files()) {
		if left -= f.Size; past.Bytes > 0 && left < 0 {
			old[f.Number] = true
		}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.parts {
		if _, last, records := p.times(); records == 0 || time.Unix(0, last).Before(past.Since) {
			old[p.number] = true
		}
	}
	return old
}
