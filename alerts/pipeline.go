package alerts

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	am "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"

	"weft/alerts/notify"
)

// receiverName is the one receiver: the webhook, or nobody.
const receiverName = "on-call"

// collectInterval is how often Alertmanager's stores drop what is over.
const collectInterval = 15 * time.Minute

// pipeline is Alertmanager, assembled outside its binary.
type pipeline struct {
	store      *mem.Alerts
	dispatcher *dispatch.Dispatcher
	inhibitor  *inhibit.Inhibitor
	outbox     *notify.Outbox
	silences   *silence.Silences
	stages     *gate // notifications in the pipeline now
	api        func() (http.Handler, error)
}

// newPipeline assembles it. metrics is a registry of its own: Alertmanager's names and ours must not meet.
func newPipeline(ctx context.Context, a *Alerts) (*pipeline, error) {
	log := a.deps.Log
	store, err := mem.NewAlerts(ctx, a.marker, collectInterval, 0, a.silencer, log, a.internals, nil)
	if err != nil {
		return nil, err
	}
	p := &pipeline{store: store, outbox: a.outbox, silences: a.silences, stages: &gate{}}
	// No rule inhibits yet: the verdict itself already says whose fault it is.
	p.inhibitor = inhibit.NewInhibitor(store, nil, a.marker, log)
	stage := am.NewPipelineBuilder(a.internals, featurecontrol.NoopFlags{}).New(
		map[string][]am.Integration{receiverName: a.integrations()}, func() time.Duration { return 0 }, p.inhibitor,
		a.silencer, timeinterval.NewIntervener(nil), a.marker, a.outbox.Log(), nil)
	p.dispatcher = dispatch.NewDispatcher(store, a.cfg.route(), counted(p.stages, stage), a.marker, pipelineTimeout,
		30*time.Second, nil, log, dispatch.NewDispatcherMetrics(false, a.internals))
	p.api = sync.OnceValues(func() (http.Handler, error) { return a.newAPI(p) })
	return p, nil
}

// gate counts who is inside, and lets nobody in once it is closed.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Add(1)
	}
	return !g.closed
}

// close waits until everybody has left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// counted lets stop wait for notifications in flight. The dispatcher only cancels them, and one whose timer has just
// fired may come in later still.
func counted(stages *gate, stage am.Stage) am.Stage {
	return am.StageFunc(func(ctx context.Context, l *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
		if !stages.enter() {
			return ctx, nil, context.Canceled
		}
		defer stages.inside.Done()
		return stage.Exec(ctx, l, alerts...)
	})
}

func pipelineTimeout(d time.Duration) time.Duration { return max(d, am.MinTimeout) }

func (c Config) route() *dispatch.Route {
	wait, interval, repeat := model.Duration(c.GroupWait), model.Duration(c.GroupInterval), model.Duration(c.RepeatInterval)
	return dispatch.NewRoute(&config.Route{
		Receiver: receiverName, GroupBy: []model.LabelName{labelService},
		GroupWait: &wait, GroupInterval: &interval, RepeatInterval: &repeat,
	}, nil)
}

// integrations are what the receiver sends through: none without a webhook, and alerts are then only shown.
func (a *Alerts) integrations() []am.Integration {
	if a.cfg.Webhook.URL == "" {
		return nil
	}
	return []am.Integration{am.NewIntegration(a.outbox, a.outbox, notify.Integration, 0, receiverName)}
}

// restore puts back what an earlier process knew: alerts that still fire, and those whose end nobody was told.
func (p *pipeline) restore(ctx context.Context, kept []notify.Kept) error {
	var back []*alert.Alert
	for _, k := range kept {
		if !k.Alert.Resolved() || k.Told {
			back = append(back, k.Alert)
		}
	}
	return p.store.Put(ctx, back...)
}

// run dispatches until ctx ends and every notification in flight is home.
func (p *pipeline) run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(p.inhibitor.Run)
	running.Go(func() { p.dispatcher.Run(time.Now()) })
	collect := time.NewTicker(collectInterval)
	defer collect.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-collect.C:
			_, _ = p.outbox.Log().GC()
			_, _ = p.silences.GC()
		}
	}
	p.dispatcher.WaitForLoading() // Stop before Run has begun would not stop it
	p.dispatcher.Stop()
	p.inhibitor.WaitForLoading()
	p.inhibitor.Stop()
	running.Wait()
	p.stages.close()
	p.store.Close()
	return nil
}
