package alertextension

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/collector/component"

	"weft/alerts"
)

// lookInterval is how often the watcher looks.
const lookInterval = 10 * time.Second

// watcher reports the conditions that no part reports of itself: it looks, now and then, at the disk and at who
// refuses.
type watcher struct {
	log    *slog.Logger
	every  time.Duration
	free   func(dir string) (free, total uint64, err error)
	disk   *disk
	stores []*store
	report func(alerts.Condition)
	fault  string // the last error that was logged
}

// newWatcher finds what to watch among the extensions.
func newWatcher(e *Alert, host component.Host, log *slog.Logger) *watcher {
	w := &watcher{log: log, every: e.every, free: e.free, report: e.Condition}
	dir, reserve := e.cfg.Data, defaultReserve
	for id, other := range host.GetExtensions() {
		if r, ok := other.(reserved); ok {
			dir, reserve = r.DiskReserve()
		}
		if r, ok := other.(refusing); ok {
			w.stores = append(w.stores, &store{name: id.String(), asked: r})
		}
	}
	slices.SortFunc(w.stores, func(a, b *store) int { return cmp.Compare(a.name, b.name) })
	w.disk = newDisk(e.cfg.Disk, dir, reserve)
	return w
}

// run looks at once, and then again and again until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *watcher) look() {
	free, total, err := w.free(w.disk.path)
	if err != nil {
		if err.Error() != w.fault { // a missing folder says the same every time
			w.log.Warn("free space is not known, so no alert would tell of a full disk", "path", w.disk.path, "error", err)
			w.fault = err.Error()
		}
	} else {
		w.fault = ""
		if c, changed := w.disk.look(free, total); changed {
			w.report(c)
		}
	}
	for _, s := range w.stores {
		if c, changed := s.look(); changed {
			w.report(c)
		}
	}
}
