package queue

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/agent/component/queue/deadletter"
	"weft/agent/component/queue/export"
	"weft/internal/otlp"
	"weft/internal/wal"
)

// line is the queue of one signal: a log, a cursor in it, and the accounts of both.
type line struct {
	signal otlp.Signal
	cfg    Config
	deps   Deps
	log    *wal.Log
	cursor cursor
	dead   *deadletter.Letters

	mu    sync.Mutex
	books books
	sent  wal.Position // everything before is sent or given up
	ahead []*mark      // in the order of the log, from sent on: under way, or done out of turn

	moved chan struct{} // says that sent has moved
	home  chan struct{} // says that a parcel has come home
}

// openLine opens or creates a signal's queue and counts what is in it.
func openLine(signal otlp.Signal, cfg Config, deps Deps) (l *line, err error) {
	dir := filepath.Join(cfg.Dir, string(signal))
	l = &line{
		signal: signal, cfg: cfg, deps: deps, cursor: cursor{deps.FS, dir}, books: newBooks(),
		moved: make(chan struct{}, 1), home: make(chan struct{}, 1),
	}
	l.log, err = wal.Open(wal.Config{
		Dir: dir, FileBytes: cfg.fileBytes(), MaxRecord: headerMax + export.MaxBatch, MaxBytes: cfg.LimitBytes,
		Reserve: cfg.ReservePercent, Durability: cfg.Durability, FS: deps.FS, OnAppend: l.arrive, OnDamage: l.damage,
	})
	if err != nil {
		return nil, err
	}
	if l.dead, err = deadletter.Open(filepath.Join(dir, "dead"), cfg.DeadLetters, cfg.Durability, deadletter.Deps(deps)); err != nil {
		return nil, errors.Join(err, l.log.Close())
	}
	if err := l.recount(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *line) recount() (err error) {
	if l.sent, err = l.cursor.load(l.log); err != nil {
		return err
	}
	err = l.log.Replay(l.sent, func(at wal.Position, raw []byte) error {
		r, _ := parseRecord(raw) // what cannot be read counts as no item
		l.books.arrive(at, amount{int64(r.items), int64(len(raw))})
		return nil
	})
	l.books.recovered = l.books.queued.items
	l.books.damaged = 0 // the sender will come upon it, and count it, again
	return err
}

func (l *line) close() error { return errors.Join(l.log.Close(), l.dead.Close()) }

// arrive is told of every record by the log, at the moment that it is stored.
func (l *line) arrive(at wal.Position, parts [][]byte) {
	r, _ := parseRecord(parts[0])
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books.accepted += int64(r.items)
	l.books.arrive(at, amount{int64(r.items), int64(size)})
}

func (l *line) damage(d wal.Damage) {
	l.mu.Lock()
	l.books.damaged++
	l.mu.Unlock()
	l.deps.Log.Error("queue: damaged range stepped over", zap.String("file", d.File), zap.Int64("offset", d.Offset), zap.Int64("bytes", d.Length))
}

// take keeps a batch, all of it or nothing.
func (l *line) take(ctx context.Context, batch []byte, items int) error {
	if most := l.cfg.LimitBytes - overhead; int64(len(batch)) > most {
		return status.Errorf(codes.InvalidArgument, "a batch of %d bytes; the queue takes up to %d", len(batch), most)
	}
	_, err := l.log.Append(ctx, recordHeader(l.deps.Now(), items), batch)
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case errors.Is(err, wal.ErrTooLarge):
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return later(err)
}

// later is a refusal that says when to come again.
func later(err error) error {
	refusal, detailErr := status.New(codes.Unavailable, "queue: "+err.Error()).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if detailErr != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return refusal.Err()
}

// settle makes on disk what has been sent: the cursor first, then the files that nobody needs. That the cursor cannot
// be written, for want of space, must not keep files from being deleted: those are what makes space.
func (l *line) settle() {
	l.mu.Lock()
	sent, end := l.sent, l.log.End()
	l.mu.Unlock()
	if err := l.cursor.save(l.log, sent); err != nil {
		l.deps.Log.Warn("queue: cursor not written, a restart would send again", zap.Error(err))
	}
	stats := l.log.Stats()
	if sent == end && (end.Offset > l.cfg.fileBytes()/2 || stats.Bytes > l.cfg.LimitBytes/2) {
		l.rotate() // all is sent: the sender goes on to a new file, and this one can be deleted
	}
	if err := l.log.DropBefore(sent); err != nil {
		l.deps.Log.Warn("queue: sent files not deleted", zap.Error(err))
	}
}

func (l *line) rotate() {
	if err := l.log.Rotate(); err != nil && !errors.Is(err, wal.ErrClosed) {
		l.deps.Log.Warn("queue: no new file", zap.Error(err))
	}
}

// Snapshot is the line at one moment.
type Snapshot struct {
	Ledger
	QueuedBytes, DiskBytes, LimitBytes int64
	OldestAge, Lag                     time.Duration
	Damaged                            int64 // ranges of the log that could not be read
	DeadLetters                        deadletter.Stats
}

func (l *line) snapshot() Snapshot {
	disk, dead, now := l.log.Stats().Bytes, l.dead.Stats(), l.deps.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.books
	s := Snapshot{
		Ledger:      Ledger{b.accepted, b.recovered, b.sent, map[string]int64{}, b.queued.items},
		QueuedBytes: b.queued.bytes, DiskBytes: disk, LimitBytes: l.cfg.LimitBytes, Lag: b.lag, Damaged: b.damaged, DeadLetters: dead,
	}
	for _, reason := range dropReasons {
		s.Dropped[reason] = b.dropped[reason]
	}
	if len(l.ahead) > 0 {
		s.OldestAge = max(0, now.Sub(l.ahead[0].received))
	}
	return s
}
