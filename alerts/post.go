package alerts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"weft/alerts/api"
	"weft/alerts/notify"
)

// Bounds on the alerts of others.
const (
	maxPosted      = 5000 // that fire at once
	maxPostedNames = 64   // labels, and annotations, of one
	maxPostedText  = 4096 // bytes of one label or annotation
)

// API is Alertmanager's HTTP API under prefix, such as "/alertmanager". While Run does not run it answers 503.
func (a *Alerts) API(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := a.running.Load()
		if p == nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "alerting is starting or stopping", http.StatusServiceUnavailable)
			return
		}
		handler, err := p.api()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.StripPrefix(prefix, handler).ServeHTTP(w, r)
	})
}

// newAPI is made by the first request: it takes the API's description apart, which a start need not wait for.
func (a *Alerts) newAPI(p *pipeline) (http.Handler, error) {
	cfg, err := a.cfg.alertmanager()
	if err != nil {
		return nil, fmt.Errorf("configuration as Alertmanager's: %w", err)
	}
	return api.New(api.Deps{
		Log: a.deps.Log, Metrics: a.internals, Alerts: p.store, Groups: p.dispatcher.Groups, Marker: a.marker, Silences: a.silences,
		Config: cfg, Started: a.started, Durable: a.silenceLog.durable,
		Mark: func(ctx context.Context, labels model.LabelSet) {
			p.inhibitor.Mutes(ctx, labels)
			a.silencer.Mutes(ctx, labels)
		},
		Post: func(ctx context.Context, alerts []*alert.Alert) error { return a.post(ctx, p, alerts) },
	})
}

// post takes alerts of others into the ledger and the pipeline. One that is not durable pages all the same, and the
// error makes its sender send it again.
func (a *Alerts) post(ctx context.Context, p *pipeline, alerts []*alert.Alert) error {
	for _, al := range alerts {
		if err := acceptable(al); err != nil {
			return api.Refusal(fmt.Sprintf("%s: %s", text(al.Name()), err))
		}
	}
	if len(alerts) == 0 {
		return nil
	}
	err := a.ledger.Post(maxPosted, alerts)
	switch {
	case errors.Is(err, notify.ErrOurs):
		return api.Refusal(err.Error())
	case errors.Is(err, notify.ErrMany):
		return err
	case err != nil:
		a.deps.Log.Error("alerts of others are not durable", "alerts", len(alerts), "error", err)
	}
	return errors.Join(err, p.store.Put(ctx, alerts...))
}

func acceptable(al *alert.Alert) error {
	if al.Name() == AlertName {
		return errors.New("only Weft's own health engine opens alerts of this name")
	}
	for _, set := range []struct {
		what  string
		names model.LabelSet
	}{{"labels", al.Labels}, {"annotations", al.Annotations}} {
		if len(set.names) > maxPostedNames {
			return fmt.Errorf("%d %s, at most %d", len(set.names), set.what, maxPostedNames)
		}
		for name, value := range set.names {
			if len(name) > maxPostedText || len(value) > maxPostedText || !utf8.ValidString(string(value)) {
				return fmt.Errorf("%s: %q has %d bytes, at most %d of UTF-8", set.what, text(string(name)), len(value), maxPostedText)
			}
		}
	}
	return nil
}

// alertmanager is how Alertmanager would have to be configured to do the same; the webhook's URL is not shown.
func (c Config) alertmanager() (*config.Config, error) {
	type settings = map[string]any
	receiver := settings{"name": receiverName}
	if c.Webhook.URL != "" {
		receiver["webhook_configs"] = []settings{{"url": "<secret>", "send_resolved": true, "timeout": c.Webhook.Timeout.String()}}
	}
	raw, err := yaml.Marshal(settings{
		"route": settings{
			"receiver": receiverName, "group_by": []string{string(labelService)}, "group_wait": model.Duration(c.GroupWait).String(),
			"group_interval": model.Duration(c.GroupInterval).String(), "repeat_interval": model.Duration(c.RepeatInterval).String(),
		},
		"receivers": []settings{receiver},
	})
	if err != nil {
		return nil, err
	}
	return config.Load(string(raw))
}
