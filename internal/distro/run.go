package distro

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/service"
	"go.uber.org/zap"

	"weft/internal/config"
)

// drain bounds how long a stop waits for what is in flight.
const drain = 20 * time.Second

// run starts the pipelines and keeps them until ctx ends or one of them fails for good.
func (d *distribution) run(ctx context.Context, files []string) error {
	documents, err := d.read(files)
	if err != nil {
		return err
	}
	running, err := d.start(ctx, documents)
	if err != nil {
		return err
	}
	changed, stopWatching := watch(ctx, files)
	defer stopWatching()
	for {
		select {
		case <-ctx.Done():
			d.process.Log.Info("stopping")
			return running.stop()
		case err := <-running.failed:
			return errors.Join(fmt.Errorf("a component failed: %w", err), running.stop())
		case <-changed:
			next, err := d.reload(ctx, running, files)
			if err != nil {
				return err
			}
			running = next
		}
	}
}

// watch signals a SIGHUP or a changed file, several at once as one.
func watch(ctx context.Context, files []string) (<-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if len(files) == 0 {
		files = []string{""} // SIGHUP alone
	}
	done := make(chan struct{}, len(files))
	for _, file := range files {
		go func() {
			_ = config.Watch(ctx, file, signal)
			done <- struct{}{}
		}()
	}
	return changed, func() {
		cancel()
		for range files {
			<-done
		}
	}
}

// pipelines is one started configuration.
type pipelines struct {
	service   *service.Service
	failed    chan error // a component that cannot go on
	documents []document // what it was started from
}

func (d *distribution) start(ctx context.Context, documents []document) (*pipelines, error) {
	cfg, err := d.load(ctx, documents)
	if err != nil {
		return nil, err
	}
	// Room, so that components that fail while nobody listens do not hang in their report.
	p := &pipelines{failed: make(chan error, 64), documents: documents}
	set := d.serviceSettings(cfg)
	set.AsyncErrorChannel = p.failed
	if p.service, err = service.New(ctx, set, cfg.Service); err != nil {
		return nil, explain(err, documents)
	}
	if err = p.service.Start(ctx); err != nil {
		// The reason to stop is the start's; what a half-started pipeline says while it stops only hides it.
		_ = p.stop()
		return nil, explain(err, documents)
	}
	return p, nil
}

func (p *pipelines) stop() error {
	// Not the caller's context: that has ended when the process is asked to stop, and a drain needs time.
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return p.service.Shutdown(ctx)
}

// reload replaces running by what the files say now. A configuration that is bad leaves running as it is; one that
// validates but cannot start (a port is taken) brings the old one back. An error means that nothing runs any more.
func (d *distribution) reload(ctx context.Context, running *pipelines, files []string) (*pipelines, error) {
	documents, err := d.read(files)
	if err == nil && slices.EqualFunc(documents, running.documents, document.equal) {
		d.process.Log.Info("configuration unchanged, nothing to reload")
		return running, nil
	}
	if err == nil {
		_, err = d.load(ctx, documents)
	}
	if err != nil {
		d.process.Log.Error("configuration rejected, the old one goes on", zap.Error(err))
		return running, nil
	}
	if err := running.stop(); err != nil {
		d.process.Log.Warn("old pipelines did not stop cleanly", zap.Error(err))
	}
	next, err := d.start(ctx, documents)
	if err == nil {
		d.process.Log.Info("configuration reloaded")
		return next, nil
	}
	d.process.Log.Error("configuration cannot start, going back to the old one", zap.Error(err))
	return d.start(ctx, running.documents)
}

func (a document) equal(b document) bool { return a.name == b.name && slices.Equal(a.text, b.text) }
