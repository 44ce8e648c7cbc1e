package healthextension

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"weft/internal/sample"
)

// Extension is the judge as one configuration's components see it. They find it by host.GetExtensions() through small
// interfaces of their own: Verdicts, History, Subscribe, Readiness.
type Extension struct {
	keeper    *Keeper
	cfg       *Config
	set       extension.Settings
	running   atomic.Pointer[running]
	writer    *writer
	metrics   metric.Registration
	mu        sync.Mutex
	listeners []*listener
}

// Start begins to judge, or takes over the judge that is at work.
func (e *Extension) Start(_ context.Context, host component.Host) error {
	r, err := e.keeper.open(e.cfg, e.set.Logger)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.running.Store(r)
	for _, l := range e.listeners {
		l.join(r.judge)
	}
	e.mu.Unlock()
	if logs := findLogs(host); logs != nil {
		e.writer = r.judge.diary.writeTo(logs, e.set.Logger)
	}
	return e.measure(r)
}

// Shutdown leaves the judge at work: the process owns it. Who subscribed through this extension hears no more, and
// records of changes wait for the next one.
func (e *Extension) Shutdown(context.Context) error {
	r := e.running.Load()
	if r == nil {
		return nil
	}
	e.mu.Lock()
	r.judge.unlisten(e.listeners)
	e.listeners = nil
	e.mu.Unlock()
	if e.writer != nil {
		e.writer.stop()
	}
	if e.metrics == nil {
		return nil
	}
	return e.metrics.Unregister()
}

// Verdicts is the verdict on every endpoint that control knows, by service and instance; none before Start.
func (e *Extension) Verdicts() []sample.Verdict {
	r := e.running.Load()
	if r == nil {
		return nil
	}
	return r.judge.verdicts()
}

// History is the changes of one endpoint's verdict, oldest first, at most 32.
func (e *Extension) History(key sample.Key) []sample.Verdict {
	r := e.running.Load()
	if r == nil {
		return nil
	}
	return r.judge.history(key)
}

// Subscribe calls hear for every verdict that changes, in order, until Shutdown. hear must not block. Components may
// subscribe before this extension has started.
func (e *Extension) Subscribe(hear func(sample.Verdict)) {
	l := &listener{hear}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = append(e.listeners, l)
	if r := e.running.Load(); r != nil {
		l.join(r.judge)
	}
}

// Readiness says why the mesh cannot be served yet.
func (e *Extension) Readiness() error {
	r := e.running.Load()
	if r == nil {
		return errors.New("health has not started")
	}
	if lane := r.lane; lane != nil && lane.source.NotAfter().IsZero() {
		return fmt.Errorf("health lane: no certificate yet: %w", cmp.Or(lane.source.Err(), errors.New("control has not answered")))
	}
	return nil
}

// measure registers the judge's counters with the collector's own metrics.
func (e *Extension) measure(r *running) error {
	meter := e.set.MeterProvider.Meter("weft/health")
	var errs [5]error
	var reports, changes, losses, records metric.Int64ObservableCounter
	var weights metric.Int64ObservableGauge
	reports, errs[0] = meter.Int64ObservableCounter("weft_health_reports", metric.WithDescription("Reports and samples of proxies, by what became of them."))
	changes, errs[1] = meter.Int64ObservableCounter("weft_health_verdict_changes", metric.WithDescription("Changes of verdicts."))
	losses, errs[2] = meter.Int64ObservableCounter("weft_health_ledger_failures", metric.WithDescription("Verdict files not written."))
	records, errs[4] = meter.Int64ObservableCounter("weft_health_verdict_records", metric.WithDescription("Records of changed verdicts for the log store, by what became of them."))
	weights, errs[3] = meter.Int64ObservableGauge("weft_health_endpoint_weight", metric.WithDescription("Each endpoint's weight, 0 to 100, and state."))
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	result := func(name string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String("result", name))
	}
	received, stale, duplicate, refused := result("received"), result("stale"), result("duplicate"), result("refused")
	stored, dropped := result("stored"), result("dropped")
	var err error
	e.metrics, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats, failed := r.judge.stats()
		if lane := r.lane; lane != nil {
			stats.Refused += lane.refused.Load()
		}
		o.ObserveInt64(reports, int64(stats.Reports), received)
		o.ObserveInt64(reports, int64(stats.Stale), stale)
		o.ObserveInt64(reports, int64(stats.Duplicate), duplicate)
		o.ObserveInt64(reports, int64(stats.Refused), refused)
		o.ObserveInt64(changes, int64(stats.Changes))
		o.ObserveInt64(losses, int64(failed))
		o.ObserveInt64(records, int64(r.judge.diary.stored.Load()), stored)
		o.ObserveInt64(records, int64(r.judge.diary.dropped.Load()), dropped)
		for _, v := range r.judge.verdicts() {
			o.ObserveInt64(weights, int64(v.Weight), metric.WithAttributes(attribute.String("service", v.Endpoint.Service),
				attribute.String("endpoint", v.Endpoint.Instance), attribute.String("state", v.State.String())))
		}
		return nil
	}, reports, changes, losses, records, weights)
	return err
}
