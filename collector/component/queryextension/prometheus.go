package queryextension

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"runtime"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/notifications"
	webapi "github.com/prometheus/prometheus/web/api/v1"
)

// Metrics is what Prometheus' own API reads.
type Metrics interface {
	storage.SampleAndChunkQueryable
	storage.ExemplarQueryable
}

// Bounds of one PromQL query: a sample is 16 bytes, so the largest query takes some 160 MiB.
const (
	maxSamples   = 10_000_000
	queryTimeout = 30 * time.Second
	lookback     = 5 * time.Minute
)

// prometheusAPI is Prometheus' own web API over our metric store, read only; prefix is where it is mounted.
func prometheusAPI(prefix string, metrics Metrics, log *slog.Logger) http.Handler {
	promql := promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
		NoStepSubqueryIntervalFn: func(int64) int64 { return (15 * time.Second).Milliseconds() },
	})
	api := webapi.NewAPI(
		promql, metrics, nil, nil, metrics,
		func(context.Context) webapi.ScrapePoolsRetriever { return nothing{} },
		func(context.Context) webapi.TargetRetriever { return nothing{} },
		func(context.Context) webapi.AlertmanagerRetriever { return nothing{} },
		func() config.Config { return config.DefaultConfig },
		nil, // flags
		webapi.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f }, // ready: the stores are open before this port is
		unsupported{}, "", false, // the TSDB's administration, its folder, admin endpoints
		false, 0, // metadata search
		log,
		func(context.Context) webapi.RulesRetriever { return nothing{} },
		5_000_000, 4, 1<<20, // remote read: samples, concurrent requests, bytes a frame
		false, regexp.MustCompile(`^$`), // agent mode; origins that may read across sites
		runtimeInfo(time.Now()), &webapi.PrometheusVersion{Version: "3.12.0", GoVersion: runtime.Version()},
		func() []notifications.Notification { return nil },
		func() (<-chan notifications.Notification, func(), bool) { return nil, nil, false },
		prometheus.NewRegistry(), nil, nil,
		false, nil, false, false, false, false, // no writes: OTLP is the one way in
		lookback, false, false, nil, nil, webapi.OpenAPIOptions{}, nil,
	)
	router := route.New()
	api.Register(router.WithPrefix(prefix))
	return router
}

func runtimeInfo(started time.Time) func() (webapi.RuntimeInfo, error) {
	return func() (webapi.RuntimeInfo, error) {
		host, _ := os.Hostname()
		return webapi.RuntimeInfo{StartTime: started, Hostname: host, ServerTime: time.Now(), ReloadConfigSuccess: true,
			LastConfigTime: started, GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0)}, nil
	}
}

// nothing answers for the parts of Prometheus that Weft has not: it scrapes no targets, and its alerts have their own API.
type nothing struct{}

func (nothing) ScrapePools() []string                       { return []string{} }
func (nothing) TargetsActive() map[string][]*scrape.Target  { return nil }
func (nothing) TargetsDropped() map[string][]*scrape.Target { return nil }
func (nothing) TargetsDroppedCounts() map[string]int        { return nil }
func (nothing) ScrapePoolConfig(string) (*config.ScrapeConfig, error) {
	return nil, errors.New("nothing is scraped here")
}
func (nothing) Alertmanagers() []*url.URL            { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL     { return nil }
func (nothing) RuleGroups() []*rules.Group           { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule { return nil }

var errUnsupported = errors.New("not served by Weft")

// unsupported answers for the TSDB's administration, which is the store's own business.
type unsupported struct{}

func (unsupported) CleanTombstones() error { return errUnsupported }
func (unsupported) Delete(context.Context, int64, int64, ...*labels.Matcher) error {
	return errUnsupported
}
func (unsupported) Snapshot(string, bool) error            { return errUnsupported }
func (unsupported) Stats(string, int) (*tsdb.Stats, error) { return nil, errUnsupported }
func (unsupported) BlockMetas() ([]tsdb.BlockMeta, error)  { return nil, errUnsupported }
func (unsupported) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, errUnsupported
}
