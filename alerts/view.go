package alerts

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"

	"weft/alerts/notify"
)

// Alert is an alert as the query API and the console show it.
type Alert struct {
	AlertName   string            `json:"alertname"`
	Service     string            `json:"service"`
	Endpoint    string            `json:"endpoint"` // its instance, e.g. "payment-2"; empty for all but an endpoint's
	Subject     string            `json:"subject"`  // what a condition is about; empty for all others
	Severity    string            `json:"severity"`
	State       string            `json:"state"` // firing, silenced, resolved
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      *time.Time        `json:"ends_at"` // null while it fires
	Labels      map[string]string `json:"labels"`  // what a silence matches
	Annotations map[string]string `json:"annotations"`
	RequestIDs  []string          `json:"request_ids"`
	Fingerprint string            `json:"fingerprint"`
}

// Active are the alerts that fire, newest first.
func (a *Alerts) Active() []Alert {
	return a.views(func(al *alert.Alert) bool { return !al.Resolved() })
}

// Resolved are the latest alerts that ended, newest first.
func (a *Alerts) Resolved() []Alert { return a.views((*alert.Alert).Resolved) }

func (a *Alerts) views(wanted func(*alert.Alert) bool) []Alert {
	out := []Alert{}
	for _, k := range a.ledger.Alerts() {
		if wanted(k.Alert) {
			out = append(out, a.view(k))
		}
	}
	return out
}

func (a *Alerts) view(k notify.Kept) Alert {
	al := k.Alert
	out := Alert{
		AlertName: al.Name(), Service: string(al.Labels[labelService]), Severity: string(al.Labels[labelSeverity]), State: "firing",
		StartsAt: al.StartsAt, Labels: plain(al.Labels), Annotations: plain(al.Annotations),
		RequestIDs: requestIDs(strings.Fields(string(al.Annotations[annotationRequestIDs]))), Fingerprint: al.Fingerprint().String(),
	}
	if !k.Posted { // others mean something else by these labels
		out.Endpoint, out.Subject = string(al.Labels[labelEndpoint]), string(al.Labels[labelSubject])
	}
	switch {
	case al.Resolved():
		ends := al.EndsAt
		out.State, out.EndsAt = "resolved", &ends
	case a.silencer.Mutes(context.Background(), al.Labels):
		out.State = "silenced"
	}
	return out
}

func plain(labels model.LabelSet) map[string]string {
	out := make(map[string]string, len(labels))
	for name, value := range labels {
		out[string(name)] = string(value)
	}
	return out
}

// Outbox is what is due, what failed and what was given up.
type Outbox struct {
	notify.Stats
	Webhook  string            `json:"webhook"` // scheme and host only: the rest may hold a token; empty = none configured
	Retrying []notify.Retrying `json:"retrying"`
	// NotOpened counts alerts dropped because too many were open at once, or because a condition had no name or subject.
	NotOpened uint64 `json:"not_opened"`
}

// Outbox reads the outbox.
func (a *Alerts) Outbox() Outbox {
	out := Outbox{Stats: a.ledger.Stats(), Retrying: a.sender.Retrying(), NotOpened: a.notOpened.Load() + a.deps.Conditions.dropped.Load()}
	if u, err := url.Parse(a.cfg.Webhook.URL); err == nil && u.Host != "" {
		out.Webhook = u.Scheme + "://" + u.Host
	}
	return out
}
