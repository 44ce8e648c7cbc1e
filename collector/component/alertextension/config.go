package alertextension

import (
	"errors"
	"time"

	"go.opentelemetry.io/collector/config/configopaque"

	"weft/alerts"
	"weft/alerts/notify"
)

// Config is the extension's part of the collector's YAML.
type Config struct {
	Webhook WebhookConfig `mapstructure:"webhook"`
	// Data is the folder of the alert ledger.
	Data string `mapstructure:"data"`
	// ConsoleURL is the base of links in notifications.
	ConsoleURL     string        `mapstructure:"console_url"`
	GroupWait      time.Duration `mapstructure:"group_wait"`
	GroupInterval  time.Duration `mapstructure:"group_interval"`
	RepeatInterval time.Duration `mapstructure:"repeat_interval"`
	Settle         time.Duration `mapstructure:"settle"`
	Absent         time.Duration `mapstructure:"absent"`
	// Disk is the watch over the collector's data.
	Disk DiskConfig `mapstructure:"disk"`
}

// WebhookConfig says where notifications go; with an empty URL alerts are kept and shown, not sent.
type WebhookConfig struct {
	URL string `mapstructure:"url"`
	// Secret signs every call: see notify.HeaderSignature.
	Secret  configopaque.String `mapstructure:"secret"`
	Timeout time.Duration       `mapstructure:"timeout"`
}

// Validate is called by the collector.
func (c *Config) Validate() error { return errors.Join(c.alerts().Validate(), c.Disk.validate()) }

func (c *Config) alerts() alerts.Config {
	return alerts.Config{
		Webhook: notify.WebhookConfig{URL: c.Webhook.URL, Secret: string(c.Webhook.Secret), Timeout: c.Webhook.Timeout},
		Data:    c.Data, ConsoleURL: c.ConsoleURL, GroupWait: c.GroupWait, GroupInterval: c.GroupInterval,
		RepeatInterval: c.RepeatInterval, Settle: c.Settle, Absent: c.Absent,
	}
}

func defaultConfig() *Config {
	d := alerts.DefaultConfig()
	return &Config{
		Webhook: WebhookConfig{Timeout: d.Webhook.Timeout}, Data: "data/collector/alerts", ConsoleURL: d.ConsoleURL,
		GroupWait: d.GroupWait, GroupInterval: d.GroupInterval, RepeatInterval: d.RepeatInterval, Settle: d.Settle, Absent: d.Absent,
	}
}
