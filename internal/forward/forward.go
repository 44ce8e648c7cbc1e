// Package forward carries requests: it picks an endpoint, makes the attempt, classes what came of it, retries what may
// be retried, and reports every attempt.
//
// It works under httputil.ReverseProxy, which owns the HTTP of both sides: HTTP/1.1 and HTTP/2, streaming, trailers and
// upgrades (WebSocket) pass as they came.
package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/balance"
	"weft/internal/config"
	"weft/internal/endpoints"
	"weft/internal/semconv"
)

// Config is how a proxy forwards; it may be replaced while requests run.
type Config struct {
	Retry   Retry
	Balance balance.Config
}

// Retry says how often a request is tried again elsewhere, and how much of the traffic that may be.
type Retry struct {
	Attempts      int `yaml:"attempts"`       // further attempts per request, 0 to 3
	BudgetPercent int `yaml:"budget_percent"` // retries per request of a service, in the long run
}

// DefaultRetry is one retry, for at most a fifth of the requests.
func DefaultRetry() Retry { return Retry{Attempts: 1, BudgetPercent: 20} }

// Validate reports what is wrong with the retries under the YAML key.
func (r Retry) Validate(key string) []error {
	var faults []error
	if r.Attempts < 0 || r.Attempts > maxRetries {
		faults = append(faults, config.Faultf(key+".attempts", "is %d, want 0 to %d", r.Attempts, maxRetries))
	}
	if r.BudgetPercent < 0 || r.BudgetPercent > 100 {
		faults = append(faults, config.Faultf(key+".budget_percent", "is %d, want 0 to 100", r.BudgetPercent))
	}
	return faults
}

const maxRetries = 3

// DefaultConfig is the forwarding of every proxy.
func DefaultConfig() Config { return Config{Retry: DefaultRetry(), Balance: balance.DefaultConfig()} }

// Route is where a request goes and how long it may take.
type Route struct {
	Name            string
	Service         string
	Pattern         string        // the path template, for telemetry; may be empty
	ConnectTimeout  time.Duration // TCP and TLS together
	ResponseTimeout time.Duration // from the end of the request to the response's header
	// Rewrite changes the outgoing request last; nil leaves path, host and X-Forwarded headers as they came.
	Rewrite func(*httputil.ProxyRequest)
	// Local marks a sidecar's way to its own application: the attempt has no span of its own, it is what a witness
	// counts, and what Weft answers in the application's place says so to the calling proxy.
	Local bool
}

// Deps are what a Forwarder works with. Only Table is required.
type Deps struct {
	Table    *endpoints.Table
	Recorder Recorder
	TLS      func(*endpoints.Endpoint) *tls.Config // for endpoints with TLS: verifies that exactly this instance answers
	// Failed hears of a call that failed in the end, before the caller can see the failure.
	Failed func(*Call)
	// Abandoned says whether the application itself gave up on the call, rather than that its own client left. Only a
	// sidecar can know; without it a client that leaves speaks against nobody.
	Abandoned func(*Call) bool
	// Cause names the endpoint ("service/instance") whose failure made the local application answer 5xx; empty for none.
	Cause func(*Call) string
}

// Recorder hears of each attempt once, after it ended. It must not keep the attempt.
type Recorder interface{ Record(*Attempt) }

// Forwarder carries requests to the endpoints of a table. It keeps their connections.
type Forwarder struct {
	deps    Deps
	config  atomic.Pointer[Config]
	pool    pool
	buffers buffers
	budgets sync.Map // service name → *budget
}

// New starts nothing; Run must run while requests do.
func New(cfg Config, deps Deps) *Forwarder {
	if deps.Recorder == nil {
		deps.Recorder = nobody{}
	}
	f := &Forwarder{deps: deps, pool: pool{tls: deps.TLS, byKey: map[poolKey]*connections{}}}
	f.config.Store(&cfg)
	return f
}

type nobody struct{}

func (nobody) Record(*Attempt) {}

// Reconfigure applies cfg to the attempts that begin from now on; connections and experience stay.
func (f *Forwarder) Reconfigure(cfg Config) { f.config.Store(&cfg) }

// Run closes connections to endpoints that are no longer used, and all idle ones when ctx ends.
func (f *Forwarder) Run(ctx context.Context) error {
	tick := time.NewTicker(poolSweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			f.pool.closeAll()
			return nil
		case now := <-tick.C:
			f.pool.sweep(now)
		}
	}
}

// Handler forwards what it is given along the route. Put the request's Call into its context first (WithCall).
//
// Like every reverse proxy it panics with http.ErrAbortHandler when a response breaks off after its header was sent:
// middleware must let that through.
func (f *Forwarder) Handler(route Route) http.Handler {
	return &httputil.ReverseProxy{
		Transport:    &carrier{forwarder: f, route: &route},
		Rewrite:      func(pr *httputil.ProxyRequest) { prepare(pr, &route) },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { answer(w, r, &route, err) },
		BufferPool:   &f.buffers,
		ErrorLog:     slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug), // failures are recorded as attempts
	}
}

// prepare makes the outgoing request the incoming one, but for headers that only proxies may set.
func prepare(pr *httputil.ProxyRequest, route *Route) {
	pr.Out.URL.Scheme, pr.Out.URL.Host = "http", route.Service // the transport of the picked endpoint ignores both
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := pr.In.Header[name]; ok {
			pr.Out.Header[name] = v
		}
	}
	stripWeft(pr.Out.Header)
	if route.Rewrite != nil {
		route.Rewrite(pr)
	}
}

// stripWeft removes Weft's own headers, which count only between proxies.
func stripWeft(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, semconv.HeaderPrefix) {
			delete(h, name)
		}
	}
}

func (f *Forwarder) budget(service string) *budget {
	if b, ok := f.budgets.Load(service); ok {
		return b.(*budget)
	}
	b, _ := f.budgets.LoadOrStore(service, newBudget())
	return b.(*budget)
}

func (f *Forwarder) pick(cfg *Config, route *Route, service *endpoints.Service, tried []*endpoints.Endpoint) (balance.Pick, error) {
	pick, err := cfg.Balance.Pick(time.Now(), service.Endpoints, tried, rand.Uint64)
	if err != nil {
		return pick, fmt.Errorf("service %s: %w", route.Service, err)
	}
	return pick, nil
}

// buffers lends what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[32 << 10]byte); ok {
		return p[:]
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }
