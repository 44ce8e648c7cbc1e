package wal

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// group is what several appenders have put together for one write. Their bytes are not copied until then: each of
// them waits for the outcome.
type group struct {
	records [][][]byte
	bytes   int64 // as frames
	done    chan struct{}
	// The outcome, set before done is closed.
	at  []Position
	err error
}

func newGroup() *group { return &group{done: make(chan struct{})} }

const (
	writeSize = 1 << 20         // bytes of frames that go into one write(2)
	keepSize  = 4 << 20         // a larger buffer is not kept for the next group
	lookEvery = 4 << 20         // bytes between two looks at the free space,
	lookAfter = time.Second     // or the time
	lookAgain = time.Second / 4 // after a look that found too little
)

// Append adds one record, whose bytes are those of the parts joined, and returns when it is as durable as configured.
// ctx counts until the record is on its way: after that the outcome is awaited, so an error means "not stored".
func (l *Log) Append(ctx context.Context, record ...[]byte) (Position, error) {
	if err := ctx.Err(); err != nil {
		return Position{}, err
	}
	g, i, err := l.join(record)
	if err != nil {
		return Position{}, err
	}
	select {
	case <-g.done:
	case l.turn <- struct{}{}:
		l.mu.Lock()
		first := l.pending == g // else somebody wrote it for us
		l.mu.Unlock()
		if first {
			l.commit()
		}
		<-l.turn
		<-g.done
	}
	if g.err != nil {
		return Position{}, g.err
	}
	return g.at[i], nil
}

func (l *Log) join(record [][]byte) (*group, int, error) {
	length := 0
	for _, part := range record {
		length += len(part)
	}
	if length > l.cfg.MaxRecord {
		return nil, 0, fmt.Errorf("%w: %d bytes, the limit of %s is %d", ErrTooLarge, length, l.cfg.Dir, l.cfg.MaxRecord)
	}
	framed := int64(headerLen + length)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, 0, fmt.Errorf("%w: %s", ErrClosed, l.cfg.Dir)
	}
	if l.cfg.MaxBytes > 0 && l.total+l.pending.bytes+framed > l.cfg.MaxBytes {
		l.stats.Refused++
		return nil, 0, fmt.Errorf("%w: %s holds its limit of %d bytes", ErrFull, l.cfg.Dir, l.cfg.MaxBytes)
	}
	g := l.pending
	g.records = append(g.records, record)
	g.bytes += framed
	return g, len(g.records) - 1, nil
}

// commit writes the pending group and tells its appenders. The caller holds the turn.
func (l *Log) commit() {
	l.mu.Lock()
	g := l.pending
	l.pending = newGroup()
	l.mu.Unlock()
	if len(g.records) > 0 {
		g.err = l.write(g)
		l.mu.Lock()
		switch {
		case g.err == nil:
			l.stats.Groups++
			l.stats.Records += uint64(len(g.records))
		case errors.Is(g.err, ErrFull):
			l.stats.Refused += uint64(len(g.records))
		}
		l.mu.Unlock()
	}
	close(g.done)
}

// write puts a group into the active file, all of it or nothing.
func (l *Log) write(g *group) error {
	if err := l.lookAtDisk(g.bytes); err != nil {
		return err
	}
	current := l.last()
	if l.broken || current.size > 0 && current.size+g.bytes > l.cfg.FileBytes {
		if err := l.rotate(); err != nil {
			return full(fmt.Errorf("rotate log %s: %w", l.cfg.Dir, err))
		}
		current = l.last()
	}
	end, err := l.writeFrames(g, current)
	if err == nil && l.cfg.Durability == Power {
		err = l.active.Sync()
		l.mu.Lock()
		l.stats.Syncs++
		l.mu.Unlock()
	}
	if err != nil {
		l.undo(current)
		return full(fmt.Errorf("append to %s: %w", l.path(current), err))
	}
	if l.cfg.OnAppend != nil {
		for i, parts := range g.records {
			l.cfg.OnAppend(g.at[i], parts)
		}
	}
	l.mu.Lock()
	l.files[len(l.files)-1].size = end
	l.total += end - current.size
	l.wake()
	l.mu.Unlock()
	return nil
}

func (l *Log) writeFrames(g *group, f file) (end int64, err error) {
	g.at = make([]Position, len(g.records))
	buf, written := l.buf[:0], f.size
	for i, parts := range g.records {
		g.at[i] = Position{f.number, written + int64(len(buf))}
		buf = appendFrame(buf, f.salt, parts)
		if len(buf) < writeSize && i < len(g.records)-1 {
			continue
		}
		if _, err := l.active.WriteAt(buf, written); err != nil {
			return 0, err
		}
		written += int64(len(buf))
		buf = buf[:0]
	}
	if l.buf = buf; cap(buf) > keepSize {
		l.buf = nil
	}
	return written, nil
}

// undo takes a failed group's bytes back. After a failed sync the kernel may have dropped pages it calls clean, so
// this file is not written again: what was acknowledged in it was synced before.
func (l *Log) undo(f file) {
	l.broken = true
	if l.active.Truncate(f.size) == nil && l.cfg.Durability == Process {
		l.broken = false
	}
}

// rotate makes a new active file. The old one stays as it is, up to its last whole record.
func (l *Log) rotate() error {
	f, handle, err := l.create(l.last().number + 1)
	if err != nil {
		return err
	}
	old := l.active
	l.active, l.broken = handle, false
	l.mu.Lock()
	l.files = append(l.files, f)
	l.wake()
	l.mu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Rotate closes the active file, unless it is empty, and begins the next.
func (l *Log) Rotate() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return fmt.Errorf("%w: %s", ErrClosed, l.cfg.Dir)
	}
	if l.last().size == 0 {
		return nil
	}
	if err := l.rotate(); err != nil {
		return full(fmt.Errorf("rotate log %s: %w", l.cfg.Dir, err))
	}
	return nil
}

func (l *Log) last() file {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files[len(l.files)-1]
}

func (l *Log) lookAtDisk(bytes int64) error {
	l.unlooked += bytes
	due := lookAfter
	if l.looked != nil {
		due = lookAgain
	}
	if l.unlooked < lookEvery && time.Since(l.lookedAt) < due || l.looked != nil && time.Since(l.lookedAt) < due {
		return l.looked
	}
	l.unlooked, l.lookedAt = 0, time.Now()
	l.looked = CheckReserve(l.cfg.FS, l.cfg.Dir, l.cfg.Reserve)
	return l.looked
}

// full makes the system's "no space" answers an ErrFull.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
