package alerts

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
)

// Severities of a condition.
const (
	SeverityCritical = "critical" // something is refused or lost now
	SeverityWarning  = "warning"  // it will be, unless somebody acts
)

const (
	labelSubject         model.LabelName = "subject"
	annotationResolution model.LabelName = "resolution"
)

// Condition is what a part of Weft says of itself, where a person has to act: a disk that is nearly full, a store that
// refuses. Who watches it reports it when it changes, and once after a start if it fires: an alert of an earlier process
// that nobody reports within Config.Absent ends.
type Condition struct {
	Name    string // the alertname, e.g. "DiskNearlyFull"
	Subject string // what it is about, e.g. "collector data /var/lib/weft". Name and Subject together are the alert.
	Service string // notifications are grouped by it; "weft" when empty
	// Severity is SeverityCritical or SeverityWarning. Like Service it stays as the first report of an incident had it.
	Severity    string
	Summary     string // one line
	Description string // how it is, what Weft does about it, and what a person should do. At the end: how it is now.
	Firing      bool
}

// subject identifies a condition.
type subject struct{ name, subject string }

func (s subject) String() string { return s.name + " " + s.subject }

// Inbox takes conditions up before there are Alerts to report them to. Of each it keeps the newest report only.
type Inbox struct {
	mu      sync.Mutex
	pending map[subject]Condition
	changed chan struct{}
	dropped atomic.Uint64 // without a name or subject, or beyond maxOpen
}

// NewInbox is empty. It serves one Alerts.
func NewInbox() *Inbox {
	return &Inbox{pending: map[subject]Condition{}, changed: make(chan struct{}, 1)}
}

// Condition hands in a report and never blocks.
func (in *Inbox) Condition(_ context.Context, c Condition) {
	key := subject{text(c.Name), text(c.Subject)}
	in.mu.Lock()
	_, known := in.pending[key]
	if key.name == "" || key.subject == "" || !known && len(in.pending) >= maxOpen {
		in.dropped.Add(1)
	} else {
		in.pending[key] = c
	}
	in.mu.Unlock()
	select {
	case in.changed <- struct{}{}:
	default:
	}
}

func (in *Inbox) take() map[subject]Condition {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := in.pending
	in.pending = map[subject]Condition{}
	return out
}

// Condition hands in a report. It never blocks: only the newest of a name and subject is kept until Run takes it up.
func (a *Alerts) Condition(ctx context.Context, c Condition) { a.deps.Conditions.Condition(ctx, c) }

// conditions are the open alerts that conditions made; Run's loop owns them.
type conditions struct {
	open map[subject]*alert.Alert
	// inherited are those of an earlier process that nobody has reported in this one.
	inherited map[subject]bool
	since     time.Time // when they were inherited
}

func newConditions() conditions {
	return conditions{open: map[subject]*alert.Alert{}, inherited: map[subject]bool{}}
}

// remember takes over an alert of an earlier process.
func (c *conditions) remember(al *alert.Alert, now time.Time) {
	key := subject{al.Name(), string(al.Labels[labelSubject])}
	c.open[key], c.inherited[key], c.since = al, true, now
}

// takeUpConditions works off the reports that wait.
func (a *Alerts) takeUpConditions(ctx context.Context, p *pipeline) {
	var alerts []*alert.Alert
	for key, c := range a.deps.Conditions.take() {
		if al := a.believe(key, c, time.Now()); al != nil {
			alerts = append(alerts, al)
		}
	}
	a.put(ctx, p, alerts)
}

// believe is the alert that a report makes, or nil when nothing changes.
func (a *Alerts) believe(key subject, c Condition, now time.Time) *alert.Alert {
	delete(a.conditions.inherited, key)
	open := a.conditions.open[key]
	switch {
	case !c.Firing && open == nil:
		return nil
	case !c.Firing:
		return a.endCondition(key, c.Description, now)
	case open == nil && a.tooMany():
		a.notOpened.Add(1)
		return nil
	}
	al := c.alert(key, open, a.links, now)
	if open != nil && al.Annotations.Equal(open.Annotations) {
		return nil
	}
	if open == nil {
		a.deps.Log.Warn("alert opened", "alert", key.String(), "severity", string(al.Labels[labelSeverity]), "reason", c.Summary)
	}
	a.conditions.open[key] = al
	return al
}

func (a *Alerts) endCondition(key subject, how string, now time.Time) *alert.Alert {
	al := again(a.conditions.open[key], now)
	al.EndsAt = now
	if how = text(how); how == "" {
		how = "It is over."
	}
	al.Annotations[annotationResolution] = model.LabelValue(how)
	delete(a.conditions.open, key)
	a.deps.Log.Info("alert resolved", "alert", key.String(), "after", al.EndsAt.Sub(al.StartsAt), "how", how)
	return al
}

// endUnreported ends what an earlier process left open and nobody speaks of any more, so that no alert fires for ever.
func (a *Alerts) endUnreported(ctx context.Context, p *pipeline, now time.Time) {
	if len(a.conditions.inherited) == 0 || now.Sub(a.conditions.since) <= a.cfg.Absent {
		return
	}
	how := fmt.Sprintf("Nobody has reported it for %s since a restart: it is not watched any more.", a.cfg.Absent)
	var alerts []*alert.Alert
	for key := range maps.Keys(a.conditions.inherited) {
		alerts = append(alerts, a.endCondition(key, how, now))
	}
	clear(a.conditions.inherited)
	a.put(ctx, p, alerts)
}

// alert is the condition as an alert, given the one open before (nil = none), whose labels it keeps.
func (c Condition) alert(key subject, open *alert.Alert, links string, now time.Time) *alert.Alert {
	a := &alert.Alert{UpdatedAt: now, Alert: model.Alert{
		StartsAt: now, GeneratorURL: links + "/alerts",
		Labels: model.LabelSet{
			model.AlertNameLabel: model.LabelValue(key.name), labelSubject: model.LabelValue(key.subject),
			labelService: value(c.service()), labelSeverity: value(c.severity()),
		},
		Annotations: model.LabelSet{
			annotationSummary: value(c.summary(key)), annotationDescription: value(c.Description),
			annotationConsole: model.LabelValue(links + "/alerts"), annotationRunbook: runbookURL(links, key.name),
		},
	}}
	if open != nil {
		a.StartsAt, a.Labels = open.StartsAt, open.Labels
	}
	return a
}

func (c Condition) service() string {
	if text(c.Service) == "" {
		return "weft"
	}
	return c.Service
}

func (c Condition) severity() string {
	if c.Severity == SeverityCritical {
		return SeverityCritical
	}
	return SeverityWarning
}

func (c Condition) summary(key subject) string {
	if text(c.Summary) == "" {
		return key.String()
	}
	return c.Summary
}
