package alerts

import (
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
	Endpoint    string            `json:"endpoint"` // its instance, e.g. "payment-2"; empty for a condition
	Subject     string            `json:"subject"`  // what a condition is about; empty for an endpoint
	Severity    string            `json:"severity"`
	State       string            `json:"state"` // firing, silenced, resolved
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      *time.Time        `json:"ends_at"` // null while it fires
	Annotations map[string]string `json:"annotations"`
	RequestIDs  []string          `json:"request_ids"`
	Fingerprint string            `json:"fingerprint"`
}

// Active are the alerts that fire, newest first.
func (a *Alerts) Active() []Alert {
	return a.views(func(al *alert.Alert) bool { return al.EndsAt.IsZero() })
}

// Resolved are the latest alerts that ended, newest first.
func (a *Alerts) Resolved() []Alert {
	return a.views(func(al *alert.Alert) bool { return !al.EndsAt.IsZero() })
}

func (a *Alerts) views(wanted func(*alert.Alert) bool) []Alert {
	out := []Alert{}
	for _, k := range a.ledger.Alerts() {
		if wanted(k.Alert) {
			out = append(out, a.view(k.Alert))
		}
	}
	return out
}

func (a *Alerts) view(al *alert.Alert) Alert {
	out := Alert{
		AlertName: al.Name(), Service: string(al.Labels[labelService]), Endpoint: string(al.Labels[labelEndpoint]),
		Subject: string(al.Labels[labelSubject]), Severity: string(al.Labels[labelSeverity]), State: "firing", StartsAt: al.StartsAt,
		Annotations: make(map[string]string, len(al.Annotations)), RequestIDs: strings.Fields(string(al.Annotations[annotationRequestIDs])),
		Fingerprint: al.Fingerprint().String(),
	}
	for k, v := range al.Annotations {
		out.Annotations[string(k)] = string(v)
	}
	switch {
	case !al.EndsAt.IsZero():
		ends := al.EndsAt
		out.State, out.EndsAt = "resolved", &ends
	case a.silenced(al.Labels):
		out.State = "silenced"
	}
	return out
}

func (a *Alerts) silenced(labels model.LabelSet) bool {
	_, silenced := a.marker.Silenced(labels.Fingerprint())
	return silenced
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
