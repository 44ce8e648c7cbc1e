package queue

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.opentelemetry.io/collector/component"

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
	// DeadLetters are what the collector will never take.
	DeadLetters DeadLetters `mapstructure:"dead_letters"`

	// Endpoint is the collector's OTLP gRPC HOST:PORT.
	Endpoint string `mapstructure:"endpoint"`
	// TLS asks for a server certificate that the system's roots verify; without it the connection is plain, which is
	// meant for loopback.
	TLS bool `mapstructure:"tls"`
	// Compression is "none" (loopback) or "gzip".
	Compression string `mapstructure:"compression"`
	// RequestBytes is up to where queued batches are joined into one request. A larger batch goes alone.
	RequestBytes int `mapstructure:"request_bytes"`
	// InFlight is how many requests of one signal are under way at a time.
	InFlight int `mapstructure:"in_flight"`
	// Timeout bounds one request; it is tried again.
	Timeout time.Duration `mapstructure:"timeout"`
	// RetryWithin bounds the pause before a request is tried again, unless the collector asks for a longer one.
	RetryWithin time.Duration `mapstructure:"retry_within"`
	// ReconnectWithin bounds the pause between attempts to reach a collector that was away.
	ReconnectWithin time.Duration `mapstructure:"reconnect_within"`
	// Drain is how long a stop waits for requests that are under way. What is not answered then is sent by the next start.
	Drain time.Duration `mapstructure:"drain"`
}

// DeadLetters bounds, for each signal, what is kept of the items that the collector has refused for good.
type DeadLetters struct {
	LimitBytes int64         `mapstructure:"limit_bytes"`
	Age        time.Duration `mapstructure:"age"`
}

func defaultConfig() component.Config {
	return &Config{
		Dir: "data/agent/queue", Durability: wal.Process, LimitBytes: 512 << 20, ReservePercent: 5,
		DeadLetters: DeadLetters{LimitBytes: 64 << 20, Age: 7 * 24 * time.Hour},
		Endpoint:    "127.0.0.1:14317", Compression: "none", RequestBytes: 1 << 20, InFlight: 4,
		Timeout: 10 * time.Second, RetryWithin: 5 * time.Second, ReconnectWithin: 2 * time.Second, Drain: 2 * time.Second,
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
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		faults = append(faults, fmt.Errorf("endpoint: want HOST:PORT: %w", err))
	}
	fault(c.Compression != "none" && c.Compression != "gzip", fmt.Sprintf("compression: %q is neither none nor gzip", c.Compression))
	fault(c.RequestBytes < 1 || c.RequestBytes > maxBatch, "request_bytes: must be between 1 and 64 MiB")
	fault(c.InFlight < 1 || c.InFlight > 64, "in_flight: must be between 1 and 64")
	fault(c.Timeout <= 0, "timeout: must be positive")
	fault(c.RetryWithin <= 0, "retry_within: must be positive")
	fault(c.ReconnectWithin <= 0, "reconnect_within: must be positive")
	fault(c.Drain < 0, "drain: must not be negative")
	return errors.Join(faults...)
}

// fileBytes is the size at which a line's log begins a new file: small enough that what was sent is soon deleted.
func (c *Config) fileBytes() int64 { return min(16<<20, max(64<<10, c.LimitBytes/16)) }
