// Package storeextension owns the collector's stores, and keeps them open across reloads.
package storeextension

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"weft/collector/store"
)

// Keeper holds the stores of one process. Pipelines come and go with each reload; the stores are opened by the first
// and closed by Close, so no index is built twice and no lock on disk is let go.
type Keeper struct {
	mu   sync.Mutex
	cfg  store.Config
	set  *store.Set
	stop func() error
}

// NewKeeper opens nothing yet.
func NewKeeper() *Keeper { return &Keeper{} }

// Factory makes the extension "store".
func (k *Keeper) Factory() extension.Factory {
	return extension.NewFactory(component.MustNewType("store"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{keeper: k, cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// Close closes the stores; no pipeline may run any more.
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
	k.stop, k.set = nil, nil
	return stop()
}

// open opens the stores that cfg describes, unless they are open. failed is told when their background work ends
// although nobody asked for it.
func (k *Keeper) open(cfg store.Config, failed func(error)) (*store.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set != nil && k.cfg == cfg {
		return k.set, nil
	}
	if err := k.close(); err != nil {
		return nil, fmt.Errorf("close the stores of the old configuration: %w", err)
	}
	set, err := store.Open(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := set.Run(ctx)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		done <- err
	}()
	k.cfg, k.set = cfg, set
	k.stop = func() error {
		cancel()
		err := <-done
		return errors.Join(err, set.Close())
	}
	return set, nil
}

// Extension is the stores as one configuration's pipelines see them.
type Extension struct {
	keeper *Keeper
	cfg    *Config
	set    extension.Settings
	stores *store.Set
	stats  metric.Registration
	stop   context.CancelFunc
	home   sync.WaitGroup
}

// Stores is the open stores; nil before Start.
func (e *Extension) Stores() *store.Set { return e.stores }

// Start opens the stores or takes over those that are open.
func (e *Extension) Start(_ context.Context, host component.Host) (err error) {
	e.stores, err = e.keeper.open(store.Config(*e.cfg), func(err error) {
		componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("stores stopped: %w", err)))
	})
	if err != nil {
		return fmt.Errorf("open stores: %w", err)
	}
	e.set.Logger.Info("stores open", zap.String("dir", e.cfg.Dir))
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	named := newEvidence(e.stores.Pins, e.set.Logger)
	named.listen(host)
	e.home.Go(func() { named.run(ctx) })
	return e.measure()
}

// Shutdown leaves the stores open: the process owns them.
func (e *Extension) Shutdown(context.Context) error {
	if e.stop == nil {
		return nil
	}
	e.stop()
	e.home.Wait()
	if e.stats == nil {
		return nil
	}
	return e.stats.Unregister()
}
