package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/wal"
)

// Keys calls add with every key under which a stored batch is to be found.
type Keys func(batch []byte, add func(Key)) error

// Log is the durable log of one signal.
type Log struct {
	cfg  Config
	keys Keys // for replay
	wal  *wal.Log

	// barrier is held shared from before a record is written until it is in the index. Sealing passes through it
	// once, and then knows that the index of a closed file is whole.
	barrier sync.RWMutex
	full    chan struct{} // a file was closed: there is something to seal

	mu    sync.RWMutex
	parts []*part // oldest first

	dropped, damaged, unsealable atomic.Uint64
}

// part is one log file with its index.
type part struct {
	number uint64
	path   string // of the log file

	mu      sync.Mutex
	summary summary
	index   index
}

// index finds the batches that may hold a key, newest first. It is a memIndex, then an indexFile.
type index interface {
	lookup(Key) ([]uint32, error)
}

const stampLen = 8

// Open opens or creates the log in cfg.Dir. Indexes that are missing or damaged are made from the log files.
func Open(cfg Config, keys Keys) (*Log, error) {
	cfg = cfg.withDefaults()
	l := &Log{cfg: cfg, keys: keys, full: make(chan struct{}, 1)}
	var err error
	l.wal, err = wal.Open(wal.Config{
		Dir: cfg.Dir, FileBytes: cfg.FileBytes, MaxRecord: cfg.MaxRecord + stampLen, Reserve: cfg.Reserve,
		Durability: cfg.Durability, FS: cfg.FS,
		OnDamage: func(d wal.Damage) {
			slog.Error("store: damaged range stepped over", "file", d.File, "offset", d.Offset, "bytes", d.Length)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open segments in %s: %w", cfg.Dir, err), l.Close())
	}
	return l, nil
}

func (l *Log) load() error {
	known := map[string]bool{}
	for _, f := range l.wal.Files() {
		p := &part{number: f.Number, path: f.Path}
		known[p.indexPath()] = true
		l.parts = append(l.parts, p)
		if !f.Active {
			x, err := openIndex(l.cfg.FS, p.indexPath())
			if err == nil && x.size == f.Size {
				p.index, p.summary = x, x.summary
				continue
			} else if err == nil {
				x.f.Close()
			} else if !os.IsNotExist(err) && !errors.Is(err, errDamaged) {
				return err
			}
		}
		if err := l.rebuild(p, f.Size); err != nil {
			return err
		}
		if !f.Active {
			// One at a time, so that many lost indexes do not fill the memory. When it cannot be written now, Run tries on.
			if err := l.sealPart(p); err != nil {
				l.unsealable.Add(1)
			}
		}
	}
	return l.sweep(known)
}

// sweep removes what a crash left: unfinished indexes, and indexes whose log file is gone.
func (l *Log) sweep(known map[string]bool) error {
	entries, err := l.cfg.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := l.cfg.Dir + string(os.PathSeparator) + e.Name()
		if strings.HasSuffix(path, indexSuffix+".tmp") || strings.HasSuffix(path, indexSuffix) && !known[path] {
			if err := l.cfg.FS.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

const indexSuffix = ".idx"

func (p *part) indexPath() string { return strings.TrimSuffix(p.path, ".log") + indexSuffix }

// rebuild makes a part's index from its log file. A batch that cannot be read any more keeps its place and is counted.
func (l *Log) rebuild(p *part, size int64) error {
	mem, sum := newMemIndex(), summary{size: size}
	var keys []Key
	err := l.wal.Replay(wal.Position{File: p.number}, func(at wal.Position, record []byte) error {
		if at.File != p.number {
			return wal.ErrStop
		}
		received, batch, err := split(record)
		if err == nil {
			keys = keys[:0]
			err = l.keys(batch, func(k Key) { keys = append(keys, k) })
		}
		if err != nil {
			l.damaged.Add(1)
			return nil
		}
		mem.add(compact(keys), uint32(at.Offset))
		sum.add(received)
		return nil
	})
	if err != nil {
		return err
	}
	p.set(mem, sum)
	return nil
}

func split(record []byte) (received int64, batch []byte, err error) {
	if len(record) < stampLen {
		return 0, nil, fmt.Errorf("record of %d bytes", len(record))
	}
	return int64(binary.LittleEndian.Uint64(record)), record[stampLen:], nil
}

func compact(keys []Key) []Key {
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (p *part) set(x index, s summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index, p.summary = x, s
}

func (p *part) get() (index, summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index, p.summary
}

// Append stores a batch durably; when it returns nil the batch is found by its keys at once. The slice of keys may be
// reordered.
func (l *Log) Append(ctx context.Context, batch []byte, keys []Key) error {
	if n := l.unsealed(); n > maxUnsealed {
		return fmt.Errorf("%w: %s: the indexes of %d files wait to be written", wal.ErrFull, l.cfg.Dir, n)
	}
	received := l.cfg.Now().UnixNano()
	var stamp [stampLen]byte
	binary.LittleEndian.PutUint64(stamp[:], uint64(received))
	entries, err := l.append(ctx, stamp[:], batch, compact(keys))
	if err != nil {
		return err
	}
	if entries >= maxEntries && l.wal.Rotate() != nil {
		l.unsealable.Add(1) // the batch is stored; the next one tries again
	}
	return nil
}

func (l *Log) append(ctx context.Context, stamp, batch []byte, keys []Key) (entries int, err error) {
	l.barrier.RLock()
	defer l.barrier.RUnlock()
	at, err := l.wal.Append(ctx, stamp, batch)
	if err != nil {
		return 0, err
	}
	p := l.partOf(at.File)
	p.mu.Lock()
	defer p.mu.Unlock()
	mem := p.index.(*memIndex) // a part is sealed only when nobody holds the barrier
	mem.add(keys, uint32(at.Offset))
	p.summary.add(int64(binary.LittleEndian.Uint64(stamp)))
	return mem.len(), nil
}

// partOf finds the part of a file, or begins it.
func (l *Log) partOf(number uint64) *part {
	l.mu.RLock()
	p := find(l.parts, number)
	l.mu.RUnlock()
	if p != nil {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := find(l.parts, number); p != nil {
		return p
	}
	for _, f := range l.wal.Files() {
		if f.Number == number {
			p = &part{number: number, path: f.Path, index: newMemIndex()}
		}
	}
	l.parts = append(l.parts, p)
	slices.SortFunc(l.parts, func(a, b *part) int { return int(int64(a.number) - int64(b.number)) })
	select {
	case l.full <- struct{}{}:
	default:
	}
	return p
}

func find(parts []*part, number uint64) *part {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].number == number {
			return parts[i]
		}
	}
	return nil
}

// snapshot is the parts as they are now, oldest first.
func (l *Log) snapshot() []*part {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.parts)
}

// unsealed counts the files whose index is in memory, among the newest.
func (l *Log) unsealed() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.parts[max(0, len(l.parts)-2*maxUnsealed):] {
		if x, _ := p.get(); isMem(x) {
			n++
		}
	}
	return n
}

func isMem(x index) bool {
	_, ok := x.(*memIndex)
	return ok
}

// ErrStop ends Each or Replay early, without an error.
var ErrStop = wal.ErrStop

// Each calls fn with every batch that may hold key, newest first. The batch is valid during the call.
func (l *Log) Each(ctx context.Context, key Key, fn func(received time.Time, batch []byte) error) error {
	parts := l.snapshot()
	for i := len(parts) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		offsets, err := l.lookup(parts[i], key)
		if err != nil {
			return err
		}
		if len(offsets) == 0 {
			continue
		}
		gone, err := l.wal.ReadMany(parts[i].number, offsets, func(_ wal.Position, record []byte) error {
			received, batch, err := split(record)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			return fn(time.Unix(0, received), batch)
		})
		if gone > 0 && slices.Contains(l.snapshot(), parts[i]) { // else retention was faster
			l.damaged.Add(uint64(gone))
		}
		if errors.Is(err, ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// lookup asks a part's index, and makes a new one when it is damaged.
func (l *Log) lookup(p *part, key Key) ([]int64, error) {
	x, _ := p.get()
	offsets, err := x.lookup(key)
	switch {
	case errors.Is(err, os.ErrClosed):
		return nil, nil // dropped, or sealed anew, while we looked
	case errors.Is(err, errDamaged):
		if err := l.reindex(p, x); err != nil {
			return nil, err
		}
		return l.lookup(p, key)
	case err != nil:
		return nil, err
	}
	out := make([]int64, len(offsets))
	for i, off := range offsets {
		out[i] = int64(off)
	}
	return out, nil
}

// reindex replaces a damaged index by one in memory, which Run then seals.
func (l *Log) reindex(p *part, bad index) error {
	l.damaged.Add(1)
	old, sum := p.get()
	if old != bad {
		return nil // somebody else did
	}
	if err := l.rebuild(p, sum.size); err != nil {
		return err
	}
	if f, ok := bad.(*indexFile); ok {
		f.f.Close()
	}
	return nil
}

// Replay calls fn with every batch received since the given time, oldest file first. The batch is valid during the
// call.
func (l *Log) Replay(ctx context.Context, since time.Time, fn func(received time.Time, batch []byte) error) error {
	for _, p := range l.snapshot() {
		if _, s := p.get(); s.records == 0 || s.lastTime().Before(since) {
			continue
		}
		ended := false
		err := l.wal.Replay(wal.Position{File: p.number}, func(at wal.Position, record []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if at.File != p.number {
				return ErrStop
			}
			received, batch, err := split(record)
			if err != nil || time.Unix(0, received).Before(since) {
				return nil
			}
			err = fn(time.Unix(0, received), batch)
			ended = errors.Is(err, ErrStop)
			return err
		})
		if err != nil || ended {
			return err
		}
	}
	return nil
}

// Close ends writing. What is not sealed is indexed again at the next Open.
func (l *Log) Close() error {
	err := l.wal.Close()
	for _, p := range l.snapshot() {
		if x, _ := p.get(); x != nil {
			if f, ok := x.(*indexFile); ok {
				err = errors.Join(err, f.f.Close())
			}
		}
	}
	return err
}
