package queue

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"weft/internal/otlp"
	"weft/internal/wal"
)

// Keeper holds the queue of one process. Pipelines come and go with each reload; the queue is opened by the first and
// closed by Close, so that nothing is sent twice because a file was read again.
type Keeper struct {
	log *zap.Logger

	mu    sync.Mutex
	cfg   Config
	queue *Queue
	stop  func() error
}

// NewKeeper opens nothing yet.
func NewKeeper(log *zap.Logger) *Keeper { return &Keeper{log: log} }

// Factory makes the extension "queue".
func (k *Keeper) Factory() extension.Factory {
	return extension.NewFactory(component.MustNewType("queue"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{keeper: k, cfg: *cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// Close stops sending and closes the queue; no pipeline may run any more.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.close()
}

func (k *Keeper) close() error {
	if k.stop == nil {
		return nil
	}
	stop := k.stop
	k.stop, k.queue = nil, nil
	return stop()
}

// open opens the queue that cfg describes and begins to send, unless it does already.
func (k *Keeper) open(cfg Config) (*Queue, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queue != nil && k.cfg == cfg {
		return k.queue, nil
	}
	if err := k.close(); err != nil {
		k.log.Warn("queue of the old configuration did not close cleanly", zap.Error(err))
	}
	queue, err := Open(cfg, Deps{FS: wal.OS{}, Now: time.Now, Log: k.log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var home sync.WaitGroup
	home.Go(func() { queue.Run(ctx) })
	k.cfg, k.queue = cfg, queue
	k.stop = func() error {
		cancel()
		home.Wait()
		return queue.Close()
	}
	return queue, nil
}

// Extension is the queue as one configuration's pipelines see it.
type Extension struct {
	keeper *Keeper
	cfg    Config
	set    extension.Settings
	queue  *Queue
	stats  metric.Registration
}

// Start opens the queue or takes over the one that is open.
func (e *Extension) Start(context.Context, component.Host) (err error) {
	if e.queue, err = e.keeper.open(e.cfg); err != nil {
		return err
	}
	e.set.Logger.Info("queue open", zap.String("dir", e.cfg.Dir), zap.String("collector", e.cfg.Collector.Endpoint))
	e.stats, err = measure(e.set.MeterProvider, e.queue)
	return err
}

// Shutdown leaves the queue open: the process owns it.
func (e *Extension) Shutdown(context.Context) error {
	if e.stats == nil {
		return nil
	}
	return e.stats.Unregister()
}

// Takes says whether batches of the signal are taken as bytes.
func (e *Extension) Takes(signal otlp.Signal) bool { return e.queue.Takes(signal) }

// Take keeps a batch until the collector has it; see Queue.Take.
func (e *Extension) Take(ctx context.Context, signal otlp.Signal, batch []byte) (otlp.Rejected, error) {
	return e.queue.Take(ctx, signal, batch)
}
