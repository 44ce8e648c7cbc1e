package correlate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"weft/collector/correlate"
	"weft/collector/store"
	"weft/collector/store/segment"
)

// Keeper holds the correlator of one process: a reload changes pipelines, not what is known of requests.
type Keeper struct {
	mu         sync.Mutex
	cfg        correlate.Config
	correlator *correlate.Correlator
	named      complaints // used by the extension that runs; there is one at a time
}

// NewKeeper makes no correlator yet.
func NewKeeper() *Keeper { return &Keeper{named: complaints{}} }

// get is the correlator for cfg, and whether it is new and therefore empty.
func (k *Keeper) get(cfg correlate.Config) (c *correlate.Correlator, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.correlator == nil || k.cfg != cfg {
		k.cfg, k.correlator, fresh = cfg, correlate.New(cfg), true
	}
	return k.correlator, fresh
}

// forget makes the next get start anew.
func (k *Keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.correlator = nil
}

// Extension is the correlator as one configuration's pipelines see it.
type Extension struct {
	keeper     *Keeper
	cfg        *Config
	set        extension.Settings
	correlator *correlate.Correlator
	metrics    *store.Set
	counters   metric.Registration
	stop       context.CancelFunc
	home       sync.WaitGroup
}

// Correlator is what the exporter feeds and the query extension asks; nil before Start.
func (e *Extension) Correlator() *correlate.Correlator { return e.correlator }

// Dependencies makes the stores open first.
func (e *Extension) Dependencies() []component.ID {
	return []component.ID{component.MustNewID("store")}
}

// Start fills a new correlator from the stores, before any receiver is open, and begins to flush.
func (e *Extension) Start(ctx context.Context, host component.Host) error {
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(interface{ Stores() *store.Set }); ok {
			e.metrics = owner.Stores()
		}
	}
	if e.metrics == nil {
		return errors.New("extension correlate: no extension owns stores; add \"store\" to service.extensions")
	}
	var fresh bool
	if e.correlator, fresh = e.keeper.get(e.cfg.Limits); fresh {
		if err := e.replay(ctx); err != nil {
			e.keeper.forget()
			return fmt.Errorf("extension correlate: replay: %w", err)
		}
	}
	if err := e.measure(); err != nil {
		return err
	}
	ctx, e.stop = context.WithCancel(context.Background())
	e.home.Go(func() { e.flush(ctx) })
	return nil
}

// replay counts no metric: those of the time before the restart are in the metric store already.
func (e *Extension) replay(ctx context.Context) error {
	began := time.Now()
	past := segment.Past{Since: began.Add(-e.cfg.Replay), Bytes: e.cfg.ReplayBytes}
	var r reader
	var spans, logs, unreadable int
	err := e.metrics.Traces.Log.Replay(ctx, past, func(received time.Time, batch []byte) error {
		taken, err := r.readSpans(batch)
		if spans += len(taken); err != nil {
			unreadable++
		}
		e.correlator.Replay(received, taken, nil)
		return nil
	})
	if err == nil {
		err = e.metrics.Logs.Log.Replay(ctx, past, func(received time.Time, batch []byte) error {
			taken, err := r.readLogs(batch)
			if logs += len(taken); err != nil {
				unreadable++
			}
			e.correlator.Replay(received, nil, taken)
			return nil
		})
	}
	if unreadable > 0 { // a reader of one request will find them too; the collector starts nevertheless
		e.set.Logger.Warn("batches in the stores could not be read to their end", zap.Int("batches", unreadable))
	}
	e.set.Logger.Info("correlator filled from the stores", zap.Int("spans", spans), zap.Int("logs", logs), zap.Duration("took", time.Since(began)))
	return err
}

// flush writes the correlator's metrics until ctx ends, and a last time then.
func (e *Extension) flush(ctx context.Context) {
	tick := time.NewTicker(e.cfg.FlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			e.write(last)
			return
		case now := <-tick.C:
			e.write(ctx)
			e.complain(now)
		}
	}
}

// write may fail when the disk is nearly full. Nothing is lost by that: values are cumulative, the next write has all.
func (e *Extension) write(ctx context.Context) {
	if err := e.metrics.Metrics.Write(ctx, convert(e.correlator.Flush(time.Now()))); err != nil {
		e.set.Logger.Warn("RED metrics not written, the next flush makes up for it", zap.Error(err))
	}
}

// Shutdown flushes a last time, while the stores are still open.
func (e *Extension) Shutdown(context.Context) error {
	if e.stop == nil {
		return nil
	}
	e.stop()
	e.home.Wait()
	return e.counters.Unregister()
}
