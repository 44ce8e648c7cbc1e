package alerts

import (
	"errors"
	"net/url"
	"time"

	"weft/alerts/notify"
	"weft/internal/config"
)

// Config is the whole of alerting. Keys in faults are those of the alert extension.
type Config struct {
	Webhook notify.WebhookConfig
	// Data is the folder of the ledger.
	Data string
	// ConsoleURL is the base of the links in notifications, e.g. http://127.0.0.1:7070.
	ConsoleURL string
	// GroupWait is how long the first page of an incident waits for the service's other endpoints.
	GroupWait time.Duration
	// GroupInterval is the least time between two notifications on one service.
	GroupInterval time.Duration
	// RepeatInterval is after how long a page that still holds is sent again.
	RepeatInterval time.Duration
	// Settle is how long after a start the engine's standing verdicts are not taken as proof of recovery: it has to
	// relearn first. A change to healthy counts at once.
	Settle time.Duration
	// Absent is after how long an alert ends whose endpoint has no verdict any more.
	Absent time.Duration
}

// DefaultConfig pages about a second after the verdict.
func DefaultConfig() Config {
	return Config{
		Webhook: notify.WebhookConfig{Timeout: 10 * time.Second}, ConsoleURL: "http://127.0.0.1:7070",
		GroupWait: time.Second, GroupInterval: 5 * time.Second, RepeatInterval: 4 * time.Hour,
		Settle: 90 * time.Second, Absent: 5 * time.Minute,
	}
}

// Validate names every key that cannot work.
func (c Config) Validate() error {
	faults := []error{c.Webhook.Validate("webhook")}
	if c.Data == "" {
		faults = append(faults, config.Faultf("data", "must name a folder"))
	}
	if u, err := url.Parse(c.ConsoleURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		faults = append(faults, config.Faultf("console_url", "want http://HOST… or https://HOST…, not %q", c.ConsoleURL))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"group_wait", c.GroupWait}, {"group_interval", c.GroupInterval}, {"repeat_interval", c.RepeatInterval},
		{"settle", c.Settle}, {"absent", c.Absent},
	} {
		if d.value <= 0 {
			faults = append(faults, config.Faultf(d.key, "must be above 0, not %s", d.value))
		}
	}
	if c.RepeatInterval > 0 && c.RepeatInterval < c.GroupInterval {
		faults = append(faults, config.Faultf("repeat_interval", "%s is shorter than group_interval %s", c.RepeatInterval, c.GroupInterval))
	}
	return errors.Join(faults...)
}
