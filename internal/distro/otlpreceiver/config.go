package otlpreceiver

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"

	"weft/internal/otlp"
)

const (
	mib         = 1 << 20
	largest     = 64 * mib // of a message, decompressed
	defaultGRPC = "localhost:4317"
	defaultHTTP = "localhost:4318"
)

// Config is receivers.otlp in the YAML.
type Config struct {
	// Protocols that the receiver listens for; at least one.
	Protocols Protocols `mapstructure:"protocols"`
	// InFlightBytes bounds the messages that are being read or handled, decompressed, over all connections. Beyond it
	// senders are asked to come again. A signal that has a pipeline takes about four times as much while it is decoded.
	InFlightBytes int64 `mapstructure:"in_flight_bytes"`

	shared sharing
}

// Protocols are OTLP's transports, with the Collector's own settings for servers.
type Protocols struct {
	GRPC configoptional.Optional[configgrpc.ServerConfig] `mapstructure:"grpc"`
	HTTP configoptional.Optional[HTTPConfig]              `mapstructure:"http"`
}

// HTTPConfig is the Collector's own, and a path for each signal.
type HTTPConfig struct {
	confighttp.ServerConfig `mapstructure:",squash"`

	TracesURLPath  string `mapstructure:"traces_url_path,omitempty"`
	LogsURLPath    string `mapstructure:"logs_url_path,omitempty"`
	MetricsURLPath string `mapstructure:"metrics_url_path,omitempty"`
}

func (c *HTTPConfig) path(signal otlp.Signal) string {
	path := map[otlp.Signal]string{otlp.SignalTraces: c.TracesURLPath, otlp.SignalLogs: c.LogsURLPath, otlp.SignalMetrics: c.MetricsURLPath}[signal]
	return "/" + strings.TrimPrefix(path, "/")
}

// DefaultConfig listens where every SDK sends to.
func DefaultConfig() *Config {
	grpc := configgrpc.NewDefaultServerConfig()
	grpc.NetAddr.Endpoint = defaultGRPC
	grpc.ReadBufferSize = mib / 2 // the kernel is asked a few times for a batch, not a hundred times
	grpc.MaxRecvMsgSizeMiB = largest / mib

	http := confighttp.NewDefaultServerConfig()
	http.NetAddr.Endpoint = defaultHTTP
	http.TLS = configoptional.None[tlsConfig]()
	http.WriteTimeout = 0 // a log may take its time to acknowledge
	http.IdleTimeout = 0  // a sender with a minute between its batches would meet the end of its connection
	http.MaxRequestBodySize = largest
	// Those whose memory is bounded while they run; snappy and lz4 as the Collector has them are not among them.
	http.CompressionAlgorithms = []string{"", "gzip", "zstd", "zlib", "deflate"}

	return &Config{
		Protocols: Protocols{
			GRPC: configoptional.Default(grpc),
			HTTP: configoptional.Default(HTTPConfig{
				ServerConfig: http, TracesURLPath: "/v1/traces", LogsURLPath: "/v1/logs", MetricsURLPath: "/v1/metrics",
			}),
		},
		InFlightBytes: 256 * mib,
	}
}

// Validate names every fault by its key.
func (c *Config) Validate() error {
	var errs []error
	if !c.Protocols.GRPC.HasValue() && !c.Protocols.HTTP.HasValue() {
		errs = append(errs, errors.New("protocols: name grpc, http or both"))
	}
	if most := c.largest(); c.InFlightBytes < most {
		errs = append(errs, fmt.Errorf("in_flight_bytes: %d has no room for one message, of up to %d bytes", c.InFlightBytes, most))
	}
	return errors.Join(errs...)
}

// largest is the largest message that either protocol takes.
func (c *Config) largest() int64 {
	var most int64
	if c.Protocols.GRPC.HasValue() {
		most = int64(grpcLimit(c.Protocols.GRPC.Get()))
	}
	if c.Protocols.HTTP.HasValue() {
		most = max(most, httpLimit(c.Protocols.HTTP.Get()))
	}
	return most
}

func grpcLimit(c *configgrpc.ServerConfig) int {
	if c.MaxRecvMsgSizeMiB <= 0 {
		return 4 * mib // grpc's own default
	}
	return c.MaxRecvMsgSizeMiB * mib
}

func httpLimit(c *HTTPConfig) int64 {
	if c.MaxRequestBodySize <= 0 {
		return 20 * mib // confighttp's own default
	}
	return c.MaxRequestBodySize
}

// sharing makes the signals of one configuration share one server. It is kept in the configuration itself: kept by its
// address elsewhere, a dry run's server would be found by the real start.
type sharing struct {
	mu  sync.Mutex
	now *otlpReceiver
}

// join is the server that a pipeline of this signal belongs to. One that has the signal already, or has been started,
// was made for other pipelines: those of a dry run or of an earlier start.
func (s *sharing) join(signal otlp.Signal, create func() *otlpReceiver) *otlpReceiver {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.pipelines[signal] != nil || s.now.begun() {
		s.now = create()
	}
	return s.now
}

var _ component.Config = (*Config)(nil)
