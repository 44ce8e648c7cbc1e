// Package uplink exports OTLP to a collector and keeps every item until the collector has it.
//
// The stock OTLP exporter drops an item on any code that it takes for permanent, and after a long outage gRPC's own
// back-off keeps it away for up to two minutes more. Here only InvalidArgument is final, and the collector is tried
// again every few seconds.
package uplink

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
)

// Config is exporters.uplink in the YAML.
type Config struct {
	// Endpoint is the collector's OTLP gRPC HOST:PORT.
	Endpoint string `mapstructure:"endpoint"`
	// TLS asks for a server certificate that the system's roots verify; without it the connection is plain, which is
	// meant for loopback.
	TLS bool `mapstructure:"tls"`
	// Compression is "none" (loopback) or "gzip".
	Compression string `mapstructure:"compression"`
	// ReconnectWithin bounds the pause between attempts to reach a collector that was away.
	ReconnectWithin time.Duration `mapstructure:"reconnect_within"`

	Timeout exporterhelper.TimeoutConfig                             `mapstructure:",squash"`
	Retry   configretry.BackOffConfig                                `mapstructure:"retry_on_failure"`
	Queue   configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
}

func defaultConfig() component.Config {
	retry := configretry.NewDefaultBackOffConfig()
	retry.InitialInterval = time.Second
	retry.MaxInterval = 5 * time.Second
	retry.MaxElapsedTime = 0 // for ever: only the queue's size bounds an outage
	return &Config{
		Compression: "none", ReconnectWithin: 2 * time.Second, Retry: retry,
		Timeout: exporterhelper.TimeoutConfig{Timeout: 10 * time.Second},
		Queue:   configoptional.Some(exporterhelper.NewDefaultQueueConfig()),
	}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		faults = append(faults, fmt.Errorf("endpoint: want HOST:PORT: %w", err))
	}
	if c.Compression != "none" && c.Compression != "gzip" {
		faults = append(faults, fmt.Errorf("compression: %q is neither none nor gzip", c.Compression))
	}
	if c.ReconnectWithin <= 0 {
		faults = append(faults, errors.New("reconnect_within: must be positive"))
	}
	return errors.Join(faults...)
}
