package wal

import (
	"fmt"
	"io"
	"os"
)

// Tail reads a log from a position on, through the end of its files and into what is appended later. It keeps its file
// open between records. It is for one goroutine.
type Tail struct {
	log    *Log
	at     Position // of the record to come
	handle File     // of at.File; nil when it is to be opened
	scan   *scanner
}

// Tail begins to read at from, which is where a record begins or the zero Position.
func (l *Log) Tail(from Position) *Tail { return &Tail{log: l, at: from} }

// Position is where the next record will be, or a position before it.
func (t *Tail) Position() Position { return t.at }

// Next returns the next readable record; io.EOF when everything that was appended so far has been read. The record is
// valid until the next call.
func (t *Tail) Next() (Position, []byte, error) {
	for {
		f, active, err := t.log.from(t.at.File)
		if err != nil {
			return Position{}, nil, err
		}
		if f.number != t.at.File {
			t.leave(f.number)
		}
		if err := t.enter(f); os.IsNotExist(err) { // dropped since we asked
			t.leave(f.number + 1)
			continue
		} else if err != nil {
			return Position{}, nil, fmt.Errorf("read on at %s: %w", t.at, err)
		}
		off, record, err := t.scan.next()
		switch {
		case err == nil:
			t.at.Offset = t.scan.off
			return Position{f.number, off}, record, nil
		case err != io.EOF:
			return Position{}, nil, fmt.Errorf("read on at %s: %w", t.at, err)
		case active:
			return Position{}, nil, io.EOF
		}
		if t.scan.off < f.size {
			t.scan.damaged(t.scan.off, f.size-t.scan.off)
		}
		t.leave(f.number + 1)
	}
}

// enter makes the scanner see the file as far as it is committed.
func (t *Tail) enter(f file) error {
	if t.handle == nil {
		handle, err := t.log.cfg.FS.OpenFile(t.log.path(f), os.O_RDONLY)
		if err != nil {
			return err
		}
		t.handle, t.scan = handle, t.log.scan(handle, f, t.at.Offset)
	}
	t.scan.end = f.size
	if cap(t.scan.buf) > keepSize { // one huge record
		t.scan.buf, t.scan.window = nil, nil
	}
	return nil
}

// leave goes to the beginning of another file.
func (t *Tail) leave(number uint64) {
	t.Close()
	t.at = Position{File: number}
}

// Close lets go of the open file. The next call of Next opens it again.
func (t *Tail) Close() {
	if t.handle != nil {
		t.handle.Close()
	}
	t.handle, t.scan = nil, nil
}

// from is the oldest file of this number or a later one, and whether it is the active one.
func (l *Log) from(number uint64) (f file, active bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return f, false, fmt.Errorf("%w: %s", ErrClosed, l.cfg.Dir)
	}
	for i, f := range l.files {
		if f.number >= number || i == len(l.files)-1 {
			return f, i == len(l.files)-1, nil
		}
	}
	return f, false, fmt.Errorf("%w: %s has no file", ErrGone, l.cfg.Dir)
}

// Changed is closed by the next append, new file or Close. Whoever follows the log asks for it before Next says io.EOF, and
// then waits.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
		if l.closed {
			close(l.changed)
		}
	}
	return l.changed
}

// wake needs mu.
func (l *Log) wake() {
	if l.changed != nil && !l.closed {
		close(l.changed)
		l.changed = nil
	}
}
