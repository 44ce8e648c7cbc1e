package distro

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/component"
	servicetelemetry "go.opentelemetry.io/collector/service/telemetry"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// telemetry is what the distribution says about itself: JSON lines on stderr, and metrics that the ops port serves.
// It is a prometheus.Collector of the pipelines that run now; a reload brings new instruments under the same names.
type telemetry struct {
	log     *zap.Logger
	level   zap.AtomicLevel
	current atomic.Pointer[prometheus.Collector]
}

// telemetryConfig is service.telemetry in the YAML.
type telemetryConfig struct {
	Logs logsConfig `mapstructure:"logs"`
}

type logsConfig struct {
	Level zapcore.Level `mapstructure:"level"` // debug, info, warn or error
}

func newTelemetry(name string, out io.Writer) *telemetry {
	t := &telemetry{level: zap.NewAtomicLevel()}
	// The same keys as log/slog's JSON handler, so all of Weft's logs read alike.
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "msg", NameKey: "logger",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.CapitalLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder, LineEnding: zapcore.DefaultLineEnding,
	})
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), t.level)
	// A collector that is down must not fill the disk with one line per attempt.
	core = zapcore.NewSamplerWithOptions(core, 10*time.Second, 20, 200)
	t.log = zap.New(core).With(zap.String("role", name))
	return t
}

func (t *telemetry) factory() servicetelemetry.Factory {
	return servicetelemetry.NewFactory(
		func() component.Config { return &telemetryConfig{Logs: logsConfig{Level: zapcore.InfoLevel}} },
		servicetelemetry.WithCreateLogger(t.createLogger),
		servicetelemetry.WithCreateMeterProvider(t.createMeterProvider),
	)
}

func (t *telemetry) createLogger(_ context.Context, _ servicetelemetry.LoggerSettings, cfg component.Config) (*zap.Logger, component.ShutdownFunc, error) {
	t.level.SetLevel(cfg.(*telemetryConfig).Logs.Level)
	return t.log, nil, nil
}

func (t *telemetry) createMeterProvider(context.Context, servicetelemetry.MeterSettings, component.Config) (servicetelemetry.MeterProvider, error) {
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(capture{t}), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithoutTargetInfo(), otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return nil, err
	}
	return metric.NewMeterProvider(metric.WithReader(reader), metric.WithView(quiet()...)), nil
}

// quiet drops what the RPC instrumentation of every connection would add: a series per method and peer.
func quiet() []metric.View {
	drop := metric.Stream{Aggregation: metric.AggregationDrop{}}
	scope := func(name string) metric.View {
		return func(i metric.Instrument) (metric.Stream, bool) { return drop, i.Scope.Name == name }
	}
	return []metric.View{
		scope("go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"),
		scope("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"),
	}
}

// Describe describes nothing, which makes this an unchecked collector: its metrics change with the configuration.
func (t *telemetry) Describe(chan<- *prometheus.Desc) {}

// Collect hands on the metrics of the pipelines that run now.
func (t *telemetry) Collect(out chan<- prometheus.Metric) {
	if current := t.current.Load(); current != nil {
		(*current).Collect(out)
	}
}

// capture takes the collector that OpenTelemetry's exporter wants to register, in place of the one before.
type capture struct{ *telemetry }

func (c capture) Register(collector prometheus.Collector) error {
	c.current.Store(&collector)
	return nil
}
func (c capture) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		_ = c.Register(collector)
	}
}
func (c capture) Unregister(prometheus.Collector) bool { return c.current.Swap(nil) != nil }
