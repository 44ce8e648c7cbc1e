package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Log is an open log. Its methods may be called from many goroutines. One process opens a folder at a time; the
// owner of the folder sees to that.
type Log struct {
	cfg Config

	// turn is held by whoever writes: it commits what everybody else has put into pending meanwhile.
	turn     chan struct{}
	active   File
	broken   bool // the active file's end is unknown: rotate before the next write
	buf      []byte
	unlooked int64 // bytes since the last look at the disk
	lookedAt time.Time
	looked   error // what that look said

	mu      sync.Mutex
	pending *group
	files   []file // oldest first; the last is active; committed sizes
	total   int64  // their sizes together
	stats   Stats
	closed  bool
	changed chan struct{} // closed by what is next; nil while nobody waits
}

// Stats counts what a log holds and what happened to it since Open.
type Stats struct {
	Files, Bytes    int64
	Records, Groups uint64 // appended
	Syncs           uint64
	Refused         uint64 // records, by ErrFull
	Damaged         uint64 // ranges stepped over
	Torn            int64  // bytes of an unfinished tail that Open cut off
	Oldest, Newest  uint64 // file numbers
}

// Open opens or creates the log in cfg.Dir, cuts off a torn tail and is ready to append.
func Open(cfg Config) (*Log, error) {
	if err := cfg.Validate("wal."); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg.withDefaults(), turn: make(chan struct{}, 1), pending: newGroup()}
	if err := l.makeDir(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	files, err := listFiles(l.cfg.FS, l.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", l.cfg.Dir, err)
	}
	l.files = files
	if err := l.openActive(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", l.cfg.Dir, err)
	}
	for _, f := range l.files {
		l.total += f.size
	}
	return l, nil
}

// makeDir makes the log's folder. With Power each folder on the way that is new is in its parent for good: a file is as
// lost as the folder that holds it.
func (l *Log) makeDir() error {
	var parents []string
	for dir := filepath.Clean(l.cfg.Dir); l.cfg.Durability == Power; dir = filepath.Dir(dir) {
		parents = append(parents, filepath.Dir(dir))
		if _, err := l.cfg.FS.ReadDir(filepath.Dir(dir)); err == nil || filepath.Dir(dir) == dir {
			break
		}
	}
	if err := l.cfg.FS.MkdirAll(l.cfg.Dir); err != nil {
		return err
	}
	for _, dir := range parents {
		if err := l.cfg.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// openActive goes on with the newest file, without its torn tail, or begins the first.
func (l *Log) openActive() error {
	if len(l.files) == 0 {
		f, handle, err := l.create(1)
		if err != nil {
			return err
		}
		l.files, l.active = []file{f}, handle
		return nil
	}
	last := &l.files[len(l.files)-1]
	handle, err := l.cfg.FS.OpenFile(l.path(*last), os.O_RDWR)
	if err != nil {
		return err
	}
	end, err := l.findEnd(handle, *last)
	if err == nil && end < last.size {
		l.stats.Torn = last.size - end
		err = handle.Truncate(end)
	}
	if err == nil && l.cfg.Durability == Power {
		// What the last process only wrote may be acknowledged again from here on (a re-sent batch is known as stored).
		err = handle.Sync()
	}
	if err != nil {
		handle.Close()
		return err
	}
	last.size = end
	l.active = handle
	return nil
}

func (l *Log) findEnd(handle File, f file) (int64, error) {
	s := l.scan(handle, f, 0)
	s.damaged = func(int64, int64) {} // Replay reports it
	for {
		if _, _, err := s.next(); err == io.EOF {
			return s.off, nil
		} else if err != nil {
			return 0, err
		}
	}
}

func (l *Log) scan(handle File, f file, from int64) *scanner {
	return &scanner{
		src: handle, salt: f.salt, max: l.cfg.MaxRecord, off: from, end: f.size,
		damaged: func(offset, length int64) { l.noteDamage(Damage{l.path(f), offset, length}) },
	}
}

func (l *Log) noteDamage(d Damage) {
	l.mu.Lock()
	l.stats.Damaged++
	l.mu.Unlock()
	if l.cfg.OnDamage != nil {
		l.cfg.OnDamage(d)
	}
}

// Read returns the record at p, in memory of its own; ErrGone when its file was dropped or its bytes do not check.
func (l *Log) Read(p Position) ([]byte, error) {
	f, handle, release, err := l.open(p.File)
	if err != nil {
		return nil, err
	}
	defer release()
	return readRecord(handle, f, p, l.cfg.MaxRecord)
}

// ReadMany calls fn with the record at each offset of one file, opening the file once. The record is valid during the
// call. Records that are gone are left out and counted.
func (l *Log) ReadMany(number uint64, offsets []int64, fn func(Position, []byte) error) (gone int, err error) {
	f, handle, release, err := l.open(number)
	if errors.Is(err, ErrGone) {
		return len(offsets), nil
	} else if err != nil {
		return 0, err
	}
	defer release()
	for _, off := range offsets {
		p := Position{number, off}
		record, err := readRecord(handle, f, p, l.cfg.MaxRecord)
		if errors.Is(err, ErrGone) {
			gone++
			continue
		}
		if err == nil {
			err = fn(p, record)
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

func readRecord(handle File, f file, p Position, maxLen int) ([]byte, error) {
	// Most records are small: one read brings the header and all of those.
	first := make([]byte, min(4096, max(0, f.size-p.Offset)))
	if len(first) < headerLen || p.Offset < 0 {
		return nil, fmt.Errorf("%w: %s is beyond the end of its file", ErrGone, p)
	}
	if _, err := handle.ReadAt(first, p.Offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read record %s: %w", p, err)
	}
	length, sum, ok := header(first[:headerLen], f.salt)
	if !ok || length > maxLen || p.Offset+headerLen+int64(length) > f.size {
		return nil, fmt.Errorf("%w: %s has no valid header", ErrGone, p)
	}
	record := first[headerLen:]
	if length <= len(record) {
		record = record[:length:length]
	} else {
		whole := make([]byte, length)
		n := copy(whole, record)
		if _, err := handle.ReadAt(whole[n:], p.Offset+headerLen+int64(n)); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read record %s: %w", p, err)
		}
		record = whole
	}
	if checksum(f.salt, record) != sum {
		return nil, fmt.Errorf("%w: %s is damaged", ErrGone, p)
	}
	return record, nil
}

// open gives read access to a file. The returned file's size is what was committed at this moment.
func (l *Log) open(number uint64) (file, File, func(), error) {
	l.mu.Lock()
	f, ok := l.find(number)
	l.mu.Unlock()
	if !ok {
		return f, nil, nil, fmt.Errorf("%w: file %x", ErrGone, number)
	}
	handle, err := l.cfg.FS.OpenFile(l.path(f), os.O_RDONLY)
	if os.IsNotExist(err) {
		return f, nil, nil, fmt.Errorf("%w: file %x", ErrGone, number)
	} else if err != nil {
		return f, nil, nil, err
	}
	return f, handle, func() { handle.Close() }, nil
}

// find needs mu.
func (l *Log) find(number uint64) (file, bool) {
	for i := len(l.files) - 1; i >= 0; i-- {
		if l.files[i].number == number {
			return l.files[i], true
		}
	}
	return file{}, false
}

// Replay calls fn with every readable record from the given position on, oldest first, up to what was appended when
// Replay began. The record is valid during the call. fn returns ErrStop to end early.
func (l *Log) Replay(from Position, fn func(Position, []byte) error) error {
	l.mu.Lock()
	files := append([]file(nil), l.files...)
	l.mu.Unlock()
	for _, f := range files {
		if f.number < from.File {
			continue
		}
		start := int64(0)
		if f.number == from.File {
			start = from.Offset
		}
		err := l.replayFile(f, start, fn)
		if errors.Is(err, ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) replayFile(f file, start int64, fn func(Position, []byte) error) error {
	handle, err := l.cfg.FS.OpenFile(l.path(f), os.O_RDONLY)
	if os.IsNotExist(err) {
		return nil // dropped meanwhile
	} else if err != nil {
		return err
	}
	defer handle.Close()
	s := l.scan(handle, f, start)
	for {
		off, record, err := s.next()
		if err == io.EOF {
			if s.off < f.size {
				s.damaged(s.off, f.size-s.off)
			}
			return nil
		} else if err != nil {
			return fmt.Errorf("replay %s: %w", l.path(f), err)
		}
		if err := fn(Position{f.number, off}, record); err != nil {
			return err
		}
	}
}

// DropBefore removes the files that hold only records before p. The active file stays.
func (l *Log) DropBefore(p Position) error {
	l.mu.Lock()
	var drop []file
	for len(l.files) > 1 && l.files[0].number < p.File {
		drop = append(drop, l.files[0])
		l.total -= l.files[0].size
		l.files = l.files[1:]
	}
	l.mu.Unlock()
	var faults []error
	for _, f := range drop {
		if err := l.cfg.FS.Remove(l.path(f)); err != nil && !os.IsNotExist(err) {
			faults = append(faults, err)
		}
	}
	if len(drop) > 0 && l.cfg.Durability == Power { // else a power cut brings them back
		faults = append(faults, l.cfg.FS.SyncDir(l.cfg.Dir))
	}
	return errors.Join(faults...)
}

// FileInfo describes one file of the log.
type FileInfo struct {
	Number uint64
	Path   string
	Size   int64
	Active bool
}

// Files lists the log's files, oldest first.
func (l *Log) Files() []FileInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]FileInfo, len(l.files))
	for i, f := range l.files {
		out[i] = FileInfo{f.number, l.path(f), f.size, i == len(l.files)-1}
	}
	return out
}

// End is the position that the next record will have, or a position before it in the file just closed.
func (l *Log) End() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.files[len(l.files)-1]
	return Position{last.number, last.size}
}

// Stats is a snapshot.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Bytes = l.total
	s.Files, s.Oldest, s.Newest = int64(len(l.files)), l.files[0].number, l.files[len(l.files)-1].number
	return s
}

// Close waits for a write under way and closes the active file. Every record whose Append returned nil is in it.
func (l *Log) Close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.mu.Lock()
	again := l.closed
	l.wake()
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	l.commit() // appenders that had joined before
	return l.active.Close()
}
