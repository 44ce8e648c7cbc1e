package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weft/alerts/notify"
	"weft/internal/sample"
)

// reconcileInterval is how often the alerts are compared with the verdicts that stand.
const reconcileInterval = 5 * time.Second

// maxOpen bounds the alerts that fire at once; endpoints come from identities, so only a mesh of that size reaches it.
const maxOpen = 5000

// Deps are what alerts need from outside.
type Deps struct {
	Log *slog.Logger
	// Journal keeps the ledger, and Replayed is what it held, oldest record first. Alerts own and close it.
	Journal  notify.Journal
	Replayed [][]byte
	// Verdicts are the verdicts that stand now. With nil, only changes are known.
	Verdicts func() []sample.Verdict
	// Conditions is where conditions are reported; nil is one of Alerts' own.
	Conditions *Inbox
}

// Alerts opens an alert for an endpoint judged bad or a condition that fires, ends it when that is over, and has both
// sent.
type Alerts struct {
	cfg  Config
	deps Deps

	ledger     *notify.Ledger
	outbox     *notify.Outbox
	sender     *notify.Sender
	webhook    *notify.Webhook
	silences   *silence.Silences
	silencer   *silence.Silencer
	silenceLog *silenceLog
	marker     *types.MemMarker
	internals  *prometheus.Registry // Alertmanager's own metrics
	links      string
	notOpened  atomic.Uint64
	started    time.Time
	running    atomic.Pointer[pipeline] // nil until Run has put back what was kept

	mu      sync.Mutex
	pending map[sample.Key]sample.Verdict // newest change not taken up yet, so bounded by the number of endpoints
	changed chan struct{}

	// Owned by Run's loop.
	open       map[sample.Key]*alert.Alert
	versions   map[sample.Key]uint64
	seen       map[sample.Key]time.Time // when an open alert's endpoint last had a verdict
	conditions conditions
}

// New replays the ledger. Nothing runs before Run, but changes handed in meanwhile are kept.
func New(cfg Config, deps Deps) (*Alerts, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	links, err := url.Parse(cfg.ConsoleURL)
	if err != nil {
		return nil, err
	}
	if deps.Conditions == nil {
		deps.Conditions = NewInbox()
	}
	a := &Alerts{
		cfg: cfg, deps: deps, links: strings.TrimRight(cfg.ConsoleURL, "/"), internals: prometheus.NewRegistry(),
		pending: map[sample.Key]sample.Verdict{}, changed: make(chan struct{}, 1),
		open: map[sample.Key]*alert.Alert{}, versions: map[sample.Key]uint64{}, seen: map[sample.Key]time.Time{},
		conditions: newConditions(), started: time.Now(),
	}
	a.marker = types.NewMarker(a.internals)
	if a.ledger, err = notify.NewLedger(deps.Journal, deps.Replayed, deps.Log); err != nil {
		return nil, err
	}
	if a.outbox, err = notify.NewOutbox(a.ledger, 2*cfg.RepeatInterval, a.internals); err != nil {
		return nil, err
	}
	if a.webhook, err = notify.NewWebhook(cfg.Webhook, links); err != nil {
		return nil, err
	}
	a.sender = notify.NewSender(a.ledger, a.webhook, deps.Log)
	if a.silences, err = newSilences(a); err != nil {
		return nil, err
	}
	a.silencer = silence.NewSilencer(a.silences, a.marker, deps.Log)
	a.silenceLog, err = restoreSilences(a.silences, a.ledger)
	return a, err
}

// Verdict hands in a change. It never blocks: only the newest change of an endpoint is kept until Run takes it up.
func (a *Alerts) Verdict(_ context.Context, v sample.Verdict) {
	a.mu.Lock()
	if before, ok := a.pending[v.Endpoint]; !ok || before.Version <= v.Version {
		a.pending[v.Endpoint] = v
	}
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then closes the ledger.
func (a *Alerts) Run(ctx context.Context) error {
	defer a.ledger.Close()
	defer a.webhook.Close()
	p, err := newPipeline(ctx, a)
	if err != nil {
		return err
	}
	kept := a.ledger.Alerts()
	if err := p.restore(ctx, kept); err != nil {
		return fmt.Errorf("restore alerts: %w", err)
	}
	a.remember(kept, time.Now())
	a.running.Store(p)
	defer a.running.Store(nil)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.run(ctx) })
	if a.cfg.Webhook.URL != "" {
		group.Go(func() error { return a.sender.Run(ctx) })
	}
	group.Go(func() error { return a.loop(ctx, p) })
	return group.Wait()
}

func (a *Alerts) remember(kept []notify.Kept, now time.Time) {
	for _, k := range kept {
		if k.Posted || !k.Alert.EndsAt.IsZero() {
			continue
		}
		if _, ok := k.Alert.Labels[labelSubject]; ok {
			a.conditions.remember(k.Alert, now)
		} else if k.Alert.Name() == AlertName {
			a.open[keyOf(k.Alert)], a.seen[keyOf(k.Alert)] = k.Alert, now
		}
	}
}

func keyOf(al *alert.Alert) sample.Key {
	return sample.Key{Service: string(al.Labels[labelService]), Instance: string(al.Labels[labelEndpoint])}
}

func (a *Alerts) loop(ctx context.Context, p *pipeline) error {
	reconcile := time.NewTicker(reconcileInterval)
	defer reconcile.Stop()
	settled := time.Now().Add(a.cfg.Settle)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
			a.takeUp(ctx, p)
		case <-a.deps.Conditions.changed:
			a.takeUpConditions(ctx, p)
		case now := <-reconcile.C:
			a.takeUp(ctx, p)
			a.takeUpConditions(ctx, p)
			a.endUnreported(ctx, p, now)
			if a.deps.Verdicts != nil {
				a.reconcile(ctx, p, now.After(settled))
			}
		}
	}
}

// takeUp works off the changes that wait.
func (a *Alerts) takeUp(ctx context.Context, p *pipeline) {
	a.mu.Lock()
	changes := a.pending
	a.pending = map[sample.Key]sample.Verdict{}
	a.mu.Unlock()
	var alerts []*alert.Alert
	for _, v := range changes {
		if al := a.judge(v, time.Now()); al != nil {
			alerts = append(alerts, al)
		}
	}
	a.put(ctx, p, alerts)
}

// reconcile repairs what no change told: an alert of an earlier process whose endpoint has recovered meanwhile, or
// whose endpoint is gone. Until the engine has settled, only bad news is believed.
func (a *Alerts) reconcile(ctx context.Context, p *pipeline, settled bool) {
	now := time.Now()
	var alerts []*alert.Alert
	for _, v := range a.deps.Verdicts() {
		if _, open := a.open[v.Endpoint]; open {
			a.seen[v.Endpoint] = now
		}
		if !settled && !pages(v) {
			continue
		}
		if al := a.judge(v, now); al != nil {
			alerts = append(alerts, al)
		}
	}
	for key, al := range a.open {
		if now.Sub(a.seen[key]) > a.cfg.Absent {
			how := fmt.Sprintf("No verdict on it for %s: it left the mesh, or nothing calls it any more.", a.cfg.Absent)
			alerts = append(alerts, a.close(key, resolve(al, how, now)))
		}
	}
	a.put(ctx, p, alerts)
}

// judge is the alert that a verdict makes, or nil when nothing changes.
func (a *Alerts) judge(v sample.Verdict, now time.Time) *alert.Alert {
	if v.Version < a.versions[v.Endpoint] {
		return nil // overtaken by one that was already taken up
	}
	a.versions[v.Endpoint] = v.Version
	open := a.open[v.Endpoint]
	al := next(open, v, a.links, now)
	switch {
	case al == nil:
		return nil
	case open == nil && a.tooMany():
		a.notOpened.Add(1)
		return nil
	case !al.EndsAt.IsZero():
		return a.close(v.Endpoint, al)
	case open != nil && al.Annotations.Equal(open.Annotations):
		return nil
	}
	if open == nil {
		a.deps.Log.Warn("alert opened", "endpoint", v.Endpoint.String(), "reason", v.Reason, "verdict_version", v.Version)
	}
	a.open[v.Endpoint], a.seen[v.Endpoint] = al, now
	return al
}

func (a *Alerts) tooMany() bool { return len(a.open)+len(a.conditions.open) >= maxOpen }

func (a *Alerts) close(key sample.Key, al *alert.Alert) *alert.Alert {
	delete(a.open, key)
	delete(a.seen, key)
	a.deps.Log.Info("alert resolved", "endpoint", key.String(), "after", al.EndsAt.Sub(al.StartsAt))
	return al
}

// put writes alerts to the ledger before the pipeline sees them. A full disk must not stop a page, so it goes on.
func (a *Alerts) put(ctx context.Context, p *pipeline, alerts []*alert.Alert) {
	if len(alerts) == 0 {
		return
	}
	for _, al := range alerts {
		if err := a.ledger.Keep(al); err != nil {
			a.deps.Log.Error("alert is not durable", "alert", al.Name(), "service", string(al.Labels[labelService]),
				"endpoint", string(al.Labels[labelEndpoint]), "subject", string(al.Labels[labelSubject]), "error", err)
		}
	}
	if err := p.store.Put(ctx, alerts...); err != nil {
		a.deps.Log.Error("alert did not reach the pipeline", "error", err)
	}
}
