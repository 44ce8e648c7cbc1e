package queryextension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"weft/alerts"
	"weft/collector/correlate"
	"weft/collector/query"
	"weft/collector/store"
	"weft/console"
	"weft/internal/sample"
)

// NewFactory makes the extension "query".
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType("query"), defaultConfig,
		func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
			return &Extension{cfg: cfg.(*Config), set: set}, nil
		}, component.StabilityLevelStable)
}

// Extension is the HTTP port.
type Extension struct {
	cfg    *Config
	set    extension.Settings
	server *http.Server
	done   chan struct{}
}

// Dependencies makes those whom this port asks start first. Health and alerts are asked when they are there.
func (e *Extension) Dependencies() []component.ID {
	return []component.ID{component.MustNewID("store"), component.MustNewID("correlate")}
}

// Start opens the port. Everything it answers from has started.
func (e *Extension) Start(_ context.Context, host component.Host) error {
	deps, err := e.find(host)
	if err != nil {
		return fmt.Errorf("extension query: %w", err)
	}
	listener, err := net.Listen("tcp", e.cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("extension query: %w", err)
	}
	e.server = &http.Server{
		Handler: query.New(deps), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: zap.NewStdLog(e.set.Logger),
	}
	e.done = make(chan struct{})
	go func() {
		defer close(e.done)
		if err := e.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("query port: %w", err)))
		}
	}()
	e.set.Logger.Info("query port open", zap.String("address", listener.Addr().String()))
	return nil
}

// find collects what the port answers from among the other extensions.
func (e *Extension) find(host component.Host) (query.Deps, error) {
	deps := query.Deps{Console: console.Handler(), Hosts: e.cfg.Hosts, APIs: map[string]http.Handler{}}
	log := slog.Default().With("component", e.set.ID.String())
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(interface{ Stores() *store.Set }); ok {
			set := owner.Stores()
			deps.Spans, deps.Logs, deps.History = set.Traces, set.Logs, set.Traces
			deps.Ledger = func() query.Ledger { return ledger(set) }
			// Made by the first query: it renders its OpenAPI document first, which takes as long as all the rest of a start.
			api := sync.OnceValue(func() http.Handler { return prometheusAPI("/prometheus/api/v1", set.Metrics.Storage(), log) })
			deps.APIs["/prometheus/"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api().ServeHTTP(w, r) })
		}
		if owner, ok := ext.(interface{ Correlator() *correlate.Correlator }); ok {
			deps.Exchanges, deps.RED = owner.Correlator(), owner.Correlator()
		}
		if judge, ok := ext.(query.Verdicts); ok {
			deps.Verdicts = judge
		}
		if owner, ok := ext.(alertOwner); ok {
			deps.Alerts, deps.APIs["/alertmanager/"] = alertView{owner}, owner.API("/alertmanager")
		}
	}
	var faults []error
	if deps.Spans == nil {
		faults = append(faults, errors.New(`no extension owns stores; add "store" to service.extensions`))
	}
	if deps.Exchanges == nil {
		faults = append(faults, errors.New(`no extension keeps exchanges; add "correlate" to service.extensions`))
	}
	return deps, errors.Join(faults...)
}

// Shutdown lets answers under way finish, for a while.
func (e *Extension) Shutdown(ctx context.Context) error {
	if e.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Drain)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.server.Close() // a reader that never ends does not hold up a stop
	}
	<-e.done
	return err
}

// alertOwner is the alert extension; Alerts is nil before it has started.
type alertOwner interface {
	Alerts() *alerts.Alerts
	API(prefix string) http.Handler
}

// alertView shows alerts as the API does.
type alertView struct{ owner alertOwner }

// Alerts is firing first, then resolved, each newest first.
func (v alertView) Alerts() []query.Alert {
	all := v.owner.Alerts()
	if all == nil {
		return nil
	}
	var out []query.Alert
	for _, a := range append(all.Active(), all.Resolved()...) {
		out = append(out, query.Alert{
			Fingerprint: a.Fingerprint, Name: a.AlertName, Status: a.State, Severity: a.Severity, Endpoint: endpointOf(a), Subject: a.Subject,
			Summary: a.Annotations["summary"], Annotations: a.Annotations, RequestIDs: a.RequestIDs, Labels: a.Labels,
			StartsAt: a.StartsAt, EndsAt: a.EndsAt,
		})
	}
	return out
}

// Outbox is what is due, sent and given up.
func (v alertView) Outbox() any {
	if all := v.owner.Alerts(); all != nil {
		return all.Outbox()
	}
	return nil
}

func endpointOf(a alerts.Alert) string {
	if a.Endpoint == "" {
		return ""
	}
	return sample.Key{Service: a.Service, Instance: a.Endpoint}.String()
}
