package healthextension

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"weft/internal/identity"
)

// Keeper holds the judge of one process. Pipelines come and go with each reload; windows, verdicts and the lane's
// streams live on, unless the extension's own configuration changed.
type Keeper struct {
	source func(*Config) *identity.Source
	mu     sync.Mutex
	cfg    *Config
	now    *running
}

// running is a judge at work, with its lane if there is a mesh.
type running struct {
	judge *judge
	lane  *lane
	stop  context.CancelFunc
	home  sync.WaitGroup
}

// NewKeeper opens nothing yet.
func NewKeeper() *Keeper {
	return &Keeper{source: func(c *Config) *identity.Source { return identity.NewSource(c.Identity, c.id()) }}
}

// Factory makes the extension "health".
func (k *Keeper) Factory() extension.Factory {
	return extension.NewFactory(component.MustNewType("health"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{keeper: k, cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// Close ends judging; no pipeline may run any more.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.close()
	return nil
}

func (k *Keeper) close() {
	if k.now != nil {
		k.now.stop()
		k.now.home.Wait()
		k.now, k.cfg = nil, nil
	}
}

// open starts the judge that cfg describes, unless it is at work.
func (k *Keeper) open(cfg *Config, log *zap.Logger) (*running, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now != nil && reflect.DeepEqual(k.cfg, cfg) {
		return k.now, nil
	}
	k.close()
	j, err := newJudge(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	r := &running{judge: j}
	if cfg.Identity.Enabled() {
		if r.lane, err = openLane(cfg.Lane, k.source(cfg), j); err != nil {
			return nil, fmt.Errorf("health: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.home.Go(func() { j.run(ctx) })
	if r.lane != nil {
		r.home.Go(func() { r.lane.run(ctx) })
		log.Info("health lane open", zap.String("address", r.lane.addr()), zap.Uint64("term", j.ledger.term))
	} else {
		log.Info("no identity configured, the health lane stays closed")
	}
	k.cfg, k.now = cfg, r
	return r, nil
}
