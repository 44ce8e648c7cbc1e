package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"

	"weft/internal/config"
)

// WebhookConfig says where notifications go. Without a URL none are sent.
type WebhookConfig struct {
	URL     string
	Secret  string        // signs every call when set
	Timeout time.Duration // for one call
}

// Validate reports a URL that is not absolute HTTP.
func (c WebhookConfig) Validate(key string) error {
	var faults []error
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			// The URL may hold a token, so it is not repeated here.
			faults = append(faults, config.Faultf(key+".url", "want http://HOST… or https://HOST…"))
		}
	}
	if c.Timeout <= 0 {
		faults = append(faults, config.Faultf(key+".timeout", "must be above 0, not %s", c.Timeout))
	}
	return errors.Join(faults...)
}

// Rejection is an answer that did not accept the notification, or none at all (Status 0).
type Rejection struct {
	Status     int
	RetryAfter time.Duration // how long the receiver asked to wait; 0 = it did not say
	Detail     string
}

func (r *Rejection) Error() string {
	if r.Status == 0 {
		return r.Detail
	}
	if r.Detail == "" {
		return fmt.Sprintf("receiver answered %d", r.Status)
	}
	return fmt.Sprintf("receiver answered %d: %s", r.Status, r.Detail)
}

// Temporary reports whether the same call may be accepted later.
func (r *Rejection) Temporary() bool {
	return r.Status == 0 || r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
}

// Webhook posts Alertmanager's version 4 body.
type Webhook struct {
	cfg      WebhookConfig
	client   *http.Client
	template *template.Template
	now      func() time.Time
}

// NewWebhook makes the client; externalURL is where a person opens the console.
func NewWebhook(cfg WebhookConfig, externalURL *url.URL) (*Webhook, error) {
	tmpl, err := template.New()
	if err != nil {
		return nil, err
	}
	tmpl.ExternalURL = externalURL
	client := &http.Client{
		Timeout:   cfg.Timeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second},
		// Following a redirect would turn the POST into a GET and call a page sent that nobody got.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Webhook{cfg: cfg, client: client, template: tmpl, now: time.Now}, nil
}

// Close drops idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// body is the version 4 body, field by field; the template package's Data has one more field, which is not part of it.
type body struct {
	Version           string          `json:"version"`
	GroupKey          string          `json:"groupKey"`
	TruncatedAlerts   uint64          `json:"truncatedAlerts"`
	Status            string          `json:"status"`
	Receiver          string          `json:"receiver"`
	GroupLabels       template.KV     `json:"groupLabels"`
	CommonLabels      template.KV     `json:"commonLabels"`
	CommonAnnotations template.KV     `json:"commonAnnotations"`
	ExternalURL       string          `json:"externalURL"`
	Alerts            template.Alerts `json:"alerts"`
}

// maxAlertsInBody bounds one call; the rest are counted in truncatedAlerts, as Alertmanager does.
const maxAlertsInBody = 100

func (w *Webhook) render(ctx context.Context, alerts []*alert.Alert) ([]byte, error) {
	groupKey, ok := notify.GroupKey(ctx)
	if !ok {
		return nil, errors.New("notification without its group key")
	}
	receiver, _ := notify.ReceiverName(ctx)
	groupLabels, _ := notify.GroupLabels(ctx)
	reason, _ := notify.NotificationReason(ctx)
	truncated := max(0, len(alerts)-maxAlertsInBody)
	data := w.template.Data(receiver, groupLabels, reason.String(), alerts[:len(alerts)-truncated]...)
	return json.Marshal(body{
		Version: "4", GroupKey: groupKey, TruncatedAlerts: uint64(truncated), Status: data.Status, Receiver: data.Receiver,
		GroupLabels: data.GroupLabels, CommonLabels: data.CommonLabels, CommonAnnotations: data.CommonAnnotations,
		ExternalURL: data.ExternalURL, Alerts: data.Alerts,
	})
}

// Notify makes one call. The error is a *Rejection when the receiver, or the way to it, is the reason.
func (w *Webhook) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	raw, err := w.render(ctx, alerts)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(raw))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weft")
	req.Header.Set(HeaderIdempotencyKey, IdempotencyKey(ctx))
	if w.cfg.Secret != "" {
		req.Header.Set(HeaderSignature, Sign(w.cfg.Secret, raw, w.now()))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return true, &Rejection{Detail: reachError(err)}
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	r := &Rejection{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), w.now()), Detail: printable(string(said), 200)}
	return r.Temporary(), r
}

// reachError leaves the URL out: it may hold a token, and the text is shown to every reader of the console.
func reachError(err error) string {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return printable(err.Error(), 200)
}

// retryAfter reads seconds or a date; nonsense and the past are 0, a day is the most.
func retryAfter(header string, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(longest/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, min(at.Sub(now), longest))
	}
	return 0
}

// printable keeps text that came from outside to one line without control characters, at most n runes.
func printable(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool {
		return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0)
	}), " ")
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n]) + "…"
	}
	return s
}
