package alertextension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"weft/alerts"
	"weft/alerts/notify"
	"weft/internal/sample"
	"weft/internal/wal"
)

// health is the part of the health extension that alerting needs. Subscribe's function is called for every change and
// must not block.
type health interface {
	Subscribe(func(sample.Verdict))
	Verdicts() []sample.Verdict
}

// Alert is the extension.
type Alert struct {
	cfg        *Config
	set        extension.Settings
	conditions *alerts.Inbox
	every      time.Duration // between two looks of the watcher
	free       func(dir string) (free, total uint64, err error)
	alerts     atomic.Pointer[alerts.Alerts]
	stop       context.CancelFunc
	done       chan error
	gauges     metric.Registration
}

func newAlert(set extension.Settings, cfg *Config) *Alert {
	return &Alert{cfg: cfg, set: set, conditions: alerts.NewInbox(), every: lookInterval, free: wal.OS{}.Free}
}

// Alerts is what the query extension reads. It is nil before Start.
func (e *Alert) Alerts() *alerts.Alerts { return e.alerts.Load() }

// API is Alertmanager's HTTP API for paths that begin with prefix ("/alertmanager"). Outside Start and Shutdown it
// answers 503.
func (e *Alert) API(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running := e.alerts.Load()
		if running == nil {
			http.Error(w, "alerting has not started", http.StatusServiceUnavailable)
			return
		}
		running.API(prefix).ServeHTTP(w, r)
	})
}

// Condition takes a report from another extension, which finds this one among the host's. It never blocks, and what is
// reported before Start is taken up by it.
func (e *Alert) Condition(c alerts.Condition) { e.conditions.Condition(context.Background(), c) }

// Start opens the ledger and listens for verdicts. The order of extensions does not matter: the health extension is
// there before any starts, and its first verdict comes later.
func (e *Alert) Start(_ context.Context, host component.Host) error {
	log := slog.Default().With("component", e.set.ID.String())
	var judge health
	for _, other := range host.GetExtensions() {
		if h, ok := other.(health); ok {
			judge = h
		}
	}
	if judge == nil {
		return errors.New("alert extension: no extension judges health; add one to service.extensions")
	}
	journal, replayed, err := notify.OpenJournal(e.cfg.Data, log)
	if err != nil {
		return fmt.Errorf("alert extension: data: %w", err)
	}
	running, err := alerts.New(e.cfg.alerts(), alerts.Deps{
		Log: log, Journal: journal, Replayed: replayed, Verdicts: judge.Verdicts, Conditions: e.conditions,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("alert extension: %w", err), journal.Close())
	}
	e.alerts.Store(running)
	if err := e.measure(); err != nil {
		return errors.Join(err, journal.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop, e.done = stop, make(chan error, 1)
	watch := newWatcher(e, host, log)
	go func() {
		var group errgroup.Group
		group.Go(func() error { return running.Run(ctx) })
		group.Go(func() error { return watch.run(ctx) })
		e.done <- group.Wait()
	}()
	judge.Subscribe(func(v sample.Verdict) { running.Verdict(ctx, v) })
	return nil
}

// Shutdown ends alerting; what is still due is in the ledger.
func (e *Alert) Shutdown(ctx context.Context) error {
	if e.stop == nil {
		return nil
	}
	e.stop()
	_ = e.gauges.Unregister()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("alert extension: still stopping: %w", ctx.Err())
	}
}

// measure registers alerting's metrics with the collector's own.
func (e *Alert) measure() error {
	meter := e.set.MeterProvider.Meter("weft/alerts")
	var faults []error
	gauge := func(name, help string) metric.Int64Observable {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(help))
		faults = append(faults, err)
		return g
	}
	counter := func(name, help string) metric.Int64Observable {
		c, err := meter.Int64ObservableCounter(name, metric.WithDescription(help))
		faults = append(faults, err)
		return c
	}
	active := gauge("weft_alerts_active", "Alerts that fire.")
	queued := gauge("weft_alerts_outbox_queued", "Notifications not sent yet.")
	sent := counter("weft_alerts_outbox_sent", "Notifications accepted by the receiver.")
	dead := counter("weft_alerts_outbox_dead_letters", "Notifications refused for good.")
	undurable := counter("weft_alerts_ledger_failures", "Ledger writes that are not durable.")
	notOpened := counter("weft_alerts_not_opened", "Alerts not opened because too many were open.")
	var err error
	e.gauges, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all := e.Alerts()
		box := all.Outbox()
		for instrument, value := range map[metric.Int64Observable]int64{
			active: int64(len(all.Active())), queued: int64(box.Queued), sent: int64(box.Sent),
			dead: int64(box.Refused), undurable: int64(box.NotDurable), notOpened: int64(box.NotOpened),
		} {
			o.ObserveInt64(instrument, value)
		}
		return nil
	}, active, queued, sent, dead, undurable, notOpened)
	return errors.Join(append(faults, err)...)
}
