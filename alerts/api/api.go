package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	apiv2 "github.com/prometheus/alertmanager/api/v2"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
)

const (
	// patience bounds one request; maxBody what it sends.
	patience = 10 * time.Second
	maxBody  = 4 << 20
	// endsAfter is how far from now the end of an alert is given that has none yet: Alertmanager's resolve_timeout.
	endsAfter = 5 * time.Minute
)

// Groups lists the groups of alerts that the filters let through: dispatch.Dispatcher's method.
type Groups func(context.Context, func(*dispatch.Route) bool, func(*types.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error)

// Deps are what the API answers from.
type Deps struct {
	Log      *slog.Logger
	Metrics  prometheus.Registerer // Alertmanager's own names; not those of another instance
	Alerts   provider.Alerts       // read only
	Groups   Groups
	Marker   *types.MemMarker
	Mark     func(context.Context, model.LabelSet) // brings what Marker says of an alert up to date
	Silences *silence.Silences
	Config   *config.Config
	Started  time.Time
	// Durable runs a change of silences. An error says that the change was undone, since it would not have survived a
	// restart.
	Durable func(change func()) error
	// Post takes alerts of others. It answers a Refusal for what can never be taken, any other error for what may be
	// tried again.
	Post func(context.Context, []*types.Alert) error
}

// api is the handler.
type api struct {
	deps  Deps
	v2    http.Handler
	slots chan struct{} // reads under way
}

// New answers /api/v2/… and /-/{healthy,ready}.
func New(deps Deps) (http.Handler, error) {
	likeAlertmanager()
	inner, err := apiv2.NewAPI(view{deps.Alerts, deps.Post}, deps.Groups.withEnds, deps.Marker.Status, deps.Marker.Muted,
		deps.Silences, nil, deps.Log, deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("Alertmanager's API: %w", err)
	}
	inner.Update(deps.Config, deps.Mark)
	a := &api{deps: deps, v2: inner.Handler, slots: make(chan struct{}, max(runtime.GOMAXPROCS(0), 8))}
	mux := http.NewServeMux()
	mux.Handle("/api/v2/", http.HandlerFunc(a.read))
	mux.HandleFunc("GET /api/v2/status", a.status)
	mux.HandleFunc("POST /api/v2/silences", a.write)
	mux.HandleFunc("DELETE /api/v2/silence/{id}", a.write)
	mux.HandleFunc("POST /api/v2/alerts", a.post)
	mux.HandleFunc("GET /-/healthy", fine)
	mux.HandleFunc("GET /-/ready", fine)
	return bounded(mux), nil
}

// once guards what Alertmanager keeps in package variables.
var once sync.Once

// likeAlertmanager parses matchers as Alertmanager does by default: UTF-8 names, and the classic syntax beside it.
func likeAlertmanager() {
	once.Do(func() { compat.InitFromFlags(promslog.NewNopLogger(), featurecontrol.NoopFlags{}) })
}

// bounded keeps a request from lasting or sending without end. The Origin has been judged before; without it the
// handlers below say nothing of other sites.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		r = r.WithContext(ctx)
		r.Header.Del("Origin")
		if strings.HasPrefix(r.URL.Path, "/api/v1/") {
			say(w, http.StatusGone, "Alertmanager's API v1 is no more; there is v2")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// read answers what changes nothing; as in Alertmanager only so many at once.
func (a *api) read(w http.ResponseWriter, r *http.Request) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
		a.v2.ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		say(w, http.StatusServiceUnavailable, fmt.Sprintf("%d requests are being answered, which is as many as may be at once; try again", cap(a.slots)))
	}
}

func fine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("OK"))
}
