// Package queue keeps what the agent has acknowledged on disk until the collector has it.
//
// Each signal has a line: a log of batches as they came (internal/wal), a cursor that says up to where they were sent,
// and a sender. A batch is acknowledged when it is in the log. The sender reads on from the cursor, joins batches into
// requests, and tries each of them until the collector takes it, for ever; only what the collector calls invalid goes
// to the dead letters. The cursor moves when a request and all before it are answered, so whatever happens in between is
// sent again, and never lost; the collector notices what it has already.
package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weft/agent/component/queue/export"
	"weft/internal/otlp"
	"weft/internal/wal"
)

// Signals are those that have a line.
var Signals = []otlp.Signal{otlp.SignalTraces, otlp.SignalLogs, otlp.SignalMetrics}

// Deps is what the queue needs of the world.
type Deps struct {
	FS  wal.FS
	Now func() time.Time
	Log *zap.Logger
}

// Queue is the lines of all signals.
type Queue struct {
	cfg    Config
	client *export.Client
	lines  map[otlp.Signal]*line
	lock   *os.File
}

// Open opens or creates the queue. One process at a time may: a second one is told so.
func Open(cfg Config, deps Deps) (q *Queue, err error) {
	q = &Queue{cfg: cfg, lines: map[otlp.Signal]*line{}}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open queue: %w", errors.Join(err, q.Close()))
		}
	}()
	if q.lock, err = lockFolder(cfg.Dir); err != nil {
		return q, err
	}
	for _, signal := range Signals {
		line, err := openLine(signal, cfg, deps)
		if err != nil {
			return q, err
		}
		q.lines[signal] = line
	}
	q.client, err = export.Dial(cfg.Collector)
	return q, err
}

// Run sends until ctx ends; what is under way then gets a moment to be answered.
func (q *Queue) Run(ctx context.Context) {
	var senders sync.WaitGroup
	for _, line := range q.lines {
		senders.Go(func() { line.run(ctx, q.client) })
		senders.Go(func() {
			for wait(ctx, nil, time.Minute) {
				if err := line.dead.Expire(); err != nil {
					line.deps.Log.Warn("dead letters: not deleted", zap.Error(err))
				}
			}
		})
	}
	senders.Wait()
}

// Close closes the files; Run has returned.
func (q *Queue) Close() error {
	var faults []error
	for _, line := range q.lines {
		faults = append(faults, line.close())
	}
	if q.client != nil {
		faults = append(faults, q.client.Close())
	}
	if q.lock != nil {
		faults = append(faults, q.lock.Close())
	}
	return errors.Join(faults...)
}

// Takes says whether there is a line for the signal.
func (q *Queue) Takes(signal otlp.Signal) bool { return q.lines[signal] != nil }

// Take keeps a batch, an OTLP Export request, and returns when that is as durable as configured. Items that nobody could
// keep are left out and named. An error is a gRPC status: InvalidArgument for a batch that cannot be read, and
// Unavailable with RetryInfo when there is no room.
func (q *Queue) Take(ctx context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error) {
	kept, items, rejected, err := otlp.Admit(signal, batch)
	if err != nil {
		return otlp.Rejected{}, status.Error(codes.InvalidArgument, err.Error())
	}
	if items == 0 {
		return rejected, nil
	}
	return rejected, q.lines[signal].take(ctx, kept, items)
}

// Snapshot is a signal's line at this moment.
func (q *Queue) Snapshot(signal otlp.Signal) Snapshot { return q.lines[signal].snapshot() }

// lockFolder makes the folder this process' own. The kernel lets go of it when the process ends, however it ends.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("in use by another process")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), file.Close())
	}
	return file, nil
}
