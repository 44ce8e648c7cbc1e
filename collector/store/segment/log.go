package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"weft/collector/store/key"
	"weft/collector/store/segment/manifest"
	"weft/internal/wal"
)

// Log is the durable log of one signal with its segments.
type Log[F File] struct {
	cfg  Config
	form Form[F]
	wal  *wal.Log

	// barrier is held shared from before a record is written until it is in the index. Sealing passes through it
	// once, and then knows that the index of a closed file is whole.
	barrier sync.RWMutex
	full    chan struct{} // a file was closed: there is something to seal

	making sync.Mutex // held by whoever changes the segments: Maintain, Erase

	mu       sync.RWMutex
	parts    []*part       // log files that are not sealed, oldest first; the last is written
	segments []*segment[F] // oldest first
	manifest manifest.Manifest

	counts counts
}

// counts is what happened since Open.
type counts struct {
	// The ledger: items + recovered = rows + duplicates + lost + what is not sealed.
	items, recovered, rows, duplicates, lost atomic.Uint64

	sealed, merged, dropped        atomic.Uint64 // log files; segments
	damaged, failures, quarantined atomic.Uint64
	droppedRows, keptRows          atomic.Uint64
}

// part is one log file with its index in memory.
type part struct {
	number uint64
	path   string
	index  *key.Table

	mu          sync.Mutex
	first, last int64 // receipt of its batches
	records     int64
	items       int64
	harmed      bool // holds bytes that could not be read
}

func (p *part) add(received int64, items int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.records == 0 {
		p.first = received
	}
	p.records++
	p.items += int64(items)
	p.first, p.last = min(p.first, received), max(p.last, received)
}

func (p *part) times() (first, last, records int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first, p.last, p.records
}

const stampLen = 8

func split(record []byte) (received int64, batch []byte, err error) {
	if len(record) < stampLen {
		return 0, nil, fmt.Errorf("record of %d bytes", len(record))
	}
	return int64(binary.LittleEndian.Uint64(record)), record[stampLen:], nil
}

// Append stores a batch of so many items durably; when it returns nil they are found by their keys at once. The slice
// of keys may be reordered.
func (l *Log[F]) Append(ctx context.Context, batch []byte, keys []key.Key, items int) error {
	if n := l.unsealed(); n > maxUnsealed {
		return fmt.Errorf("%w: %s: %d files wait to be sealed", wal.ErrFull, l.cfg.Dir, n)
	}
	received := l.cfg.Now().UnixNano()
	var stamp [stampLen]byte
	binary.LittleEndian.PutUint64(stamp[:], uint64(received))
	entries, err := l.append(ctx, [2][]byte{stamp[:], batch}, compact(keys), items)
	if err != nil {
		return err
	}
	l.counts.items.Add(uint64(items))
	if entries >= maxEntries && l.wal.Rotate() != nil {
		l.counts.failures.Add(1) // the batch is stored; the next one tries again
	}
	return nil
}

func (l *Log[F]) append(ctx context.Context, record [2][]byte, keys []key.Key, items int) (entries int, err error) {
	l.barrier.RLock()
	defer l.barrier.RUnlock()
	at, err := l.wal.Append(ctx, record[0], record[1])
	if err != nil {
		return 0, err
	}
	p := l.partOf(at.File)
	p.index.Add(keys, uint32(at.Offset))
	p.add(int64(binary.LittleEndian.Uint64(record[0])), items)
	return p.index.Len(), nil
}

func compact(keys []key.Key) []key.Key {
	slices.Sort(keys)
	return slices.Compact(keys)
}

// partOf finds the part of a file, or begins it.
func (l *Log[F]) partOf(number uint64) *part {
	l.mu.RLock()
	p := findPart(l.parts, number)
	l.mu.RUnlock()
	if p != nil {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := findPart(l.parts, number); p != nil {
		return p
	}
	for _, f := range l.wal.Files() {
		if f.Number == number {
			p = &part{number: number, path: f.Path, index: key.NewTable()}
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

func findPart(parts []*part, number uint64) *part {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].number == number {
			return parts[i]
		}
	}
	return nil
}

// unsealed counts the log files that are not sealed.
func (l *Log[F]) unsealed() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.parts)
}

// Close ends writing. What is not sealed is indexed again at the next Open.
func (l *Log[F]) Close() error {
	err := l.wal.Close()
	l.mu.Lock()
	segments := l.segments
	l.segments = nil
	l.mu.Unlock()
	for _, s := range segments {
		err = errors.Join(err, s.release())
	}
	return err
}

func (l *Log[F]) warn(what string, args ...any) { slog.Error("store: "+what, args...) }
