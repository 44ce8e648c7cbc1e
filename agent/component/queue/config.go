package queue

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"

	"weft/agent/component/queue/deadletter"
	"weft/agent/component/queue/export"
	"weft/internal/wal"
)

// Config is extensions.queue in the YAML.
type Config struct {
	// Dir is the queue's folder, with one below it for each signal.
	Dir string `mapstructure:"dir"`
	// Durability says what an acknowledged item survives: a crash of the "process" or a loss of "power".
	Durability wal.Durability `mapstructure:"durability"`
	// LimitBytes on disk for each signal, beyond which senders are pushed back.
	LimitBytes int64 `mapstructure:"limit_bytes"`
	// ReservePercent of the disk stays free; beyond it senders are pushed back.
	ReservePercent int `mapstructure:"reserve_percent"`
	// DeadLetters bounds, for each signal, what is kept of the items that the collector has refused for good.
	DeadLetters deadletter.Config `mapstructure:"dead_letters"`
	// Collector is where everything goes.
	Collector export.Config `mapstructure:",squash"`
	// RequestBytes is up to where queued batches are joined into one request. A larger batch goes alone.
	RequestBytes int `mapstructure:"request_bytes"`
	// InFlight is how many requests of one signal are under way at a time.
	InFlight int `mapstructure:"in_flight"`
	// RetryWithin bounds the pause before a request is tried again, unless the collector asks for a longer one.
	RetryWithin time.Duration `mapstructure:"retry_within"`
	// Drain is how long a stop waits for requests that are under way. What is not answered then is sent by the next start.
	Drain time.Duration `mapstructure:"drain"`
}

func defaultConfig() component.Config {
	return &Config{
		Dir: "data/agent/queue", Durability: wal.Process, LimitBytes: 512 << 20, ReservePercent: 5,
		DeadLetters:  deadletter.Config{LimitBytes: 64 << 20, Age: 7 * 24 * time.Hour},
		Collector:    export.Config{Endpoint: "127.0.0.1:14317", Compression: "none", Timeout: 10 * time.Second, ReconnectWithin: 2 * time.Second},
		RequestBytes: 1 << 20, InFlight: 4, RetryWithin: 5 * time.Second, Drain: 2 * time.Second,
	}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.Dir == "", "dir: is required")
	fault(c.Durability != wal.Process && c.Durability != wal.Power, `durability: must be "process" or "power"`)
	fault(c.LimitBytes <= 0, "limit_bytes: must be positive")
	fault(c.ReservePercent < 0 || c.ReservePercent > 90, "reserve_percent: must be between 0 and 90")
	fault(c.DeadLetters.LimitBytes <= 0, "dead_letters.limit_bytes: must be positive")
	fault(c.DeadLetters.Age <= 0, "dead_letters.age: must be positive")
	if _, _, err := net.SplitHostPort(c.Collector.Endpoint); err != nil {
		faults = append(faults, fmt.Errorf("endpoint: want HOST:PORT: %w", err))
	}
	fault(c.Collector.Compression != "none" && c.Collector.Compression != "gzip", fmt.Sprintf("compression: %q is neither none nor gzip", c.Collector.Compression))
	fault(c.RequestBytes < 1 || c.RequestBytes > export.MaxBatch, "request_bytes: must be between 1 and 64 MiB")
	fault(c.InFlight < 1 || c.InFlight > 64, "in_flight: must be between 1 and 64")
	fault(c.Collector.Timeout <= 0, "timeout: must be positive")
	fault(c.RetryWithin <= 0, "retry_within: must be positive")
	fault(c.Collector.ReconnectWithin <= 0, "reconnect_within: must be positive")
	fault(c.Drain < 0, "drain: must not be negative")
	return errors.Join(faults...)
}

// fileBytes is the size at which a line's log begins a new file: small enough that what was sent is soon deleted.
func (c *Config) fileBytes() int64 { return min(16<<20, max(64<<10, c.LimitBytes/16)) }
