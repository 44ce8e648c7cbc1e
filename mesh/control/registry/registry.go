// Package registry says who is where: endpoints, each leased by the stream of its sidecar.
//
//	registry.go  leases as data; every method takes the time
//	lease.go     the Registry service, which keeps them alive
package registry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/internal/sample"
	"weft/mesh/control/bell"
)

// Endpoint is where an instance is.
type Endpoint struct {
	Key      sample.Key `json:"key"`
	Address  string     `json:"address"`
	Protocol string     `json:"protocol"`
	Version  string     `json:"version,omitempty"`
	Zone     string     `json:"zone,omitempty"`
	Static   bool       `json:"-"` // from the configuration: plain, without a lease
}

// lease keeps one endpoint as long as its sidecar's stream lives, and a little longer.
type lease struct {
	endpoint Endpoint
	stream   uint64    // the stream that holds it; 0 while none does
	until    time.Time // when it ends unless something is heard
}

// Registry is who is where. Every method takes the time; nothing happens by itself.
type Registry struct {
	Changed bell.Bell // rung at every change

	mu     sync.Mutex
	ttl    time.Duration
	static []Endpoint
	leases map[sample.Key]*lease
	looked time.Time // of the last Expire
}

// New makes an empty registry; ttl is the lease time.
func New(ttl time.Duration) *Registry {
	return &Registry{ttl: ttl, leases: map[sample.Key]*lease{}, Changed: bell.New()}
}

// Configure takes up the lease time and the endpoints that are there without a lease.
func (r *Registry) Configure(ttl time.Duration, static []Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ttl, r.static = ttl, static
	for _, e := range static {
		delete(r.leases, e.Key)
	}
	r.Changed.Ring()
}

// Restore takes up endpoints of an earlier process without a stream; each has grace to come back.
func (r *Registry) Restore(now time.Time, endpoints []Endpoint, grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range endpoints {
		if r.leases[e.Key] == nil && !r.isStatic(e.Key) {
			r.leases[e.Key] = &lease{endpoint: e, until: now.Add(grace)}
		}
	}
	r.Changed.Ring()
}

// hold gives the endpoint to a stream, taking it from any earlier one: the newest verified process of an instance wins,
// and an older one does not take it back while the newer lives.
func (r *Registry) hold(now time.Time, stream uint64, e Endpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isStatic(e.Key) {
		return fmt.Errorf("%s is a static endpoint in control's configuration", e.Key)
	}
	old := r.leases[e.Key]
	if old != nil && old.stream > stream {
		return fmt.Errorf("another process is registered as %s, at %s", e.Key, old.endpoint.Address)
	}
	if old == nil || old.endpoint != e || old.stream == 0 {
		r.Changed.Ring()
	}
	r.leases[e.Key] = &lease{endpoint: e, stream: stream, until: now.Add(r.silence())}
	return nil
}

// beat prolongs; it is false when the stream does not hold this endpoint (any more).
func (r *Registry) beat(now time.Time, stream uint64, e Endpoint) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[e.Key]
	if l == nil || l.stream != stream || l.endpoint.Address != e.Address {
		return false
	}
	if l.endpoint != e {
		l.endpoint = e
		r.Changed.Ring()
	}
	l.until = now.Add(r.silence())
	return true
}

// release ends a stream's hold: at once when the sidecar said goodbye, else after the grace for a reconnect.
func (r *Registry) release(now time.Time, stream uint64, key sample.Key, goodbye bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[key]
	if l == nil || l.stream != stream {
		return
	}
	l.stream, l.until = 0, now.Add(r.grace())
	if goodbye {
		delete(r.leases, key)
	}
	r.Changed.Ring()
}

// grace is for a sidecar that comes back at once: its connection was too old, or control has restarted.
func (r *Registry) grace() time.Duration { return r.ttl * 3 / 4 }

// silence is how long an open stream may say nothing: a broken one is noticed by itself, so this is only for a peer
// that hangs, whose requests the verdicts and local breakers judge faster anyway.
func (r *Registry) silence() time.Duration { return 2 * r.ttl }

// Expire drops what ended. When control itself did not run for a while, heartbeats are still in its sockets: leases get
// that time back.
func (r *Registry) Expire(now time.Time) []Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	if paused := now.Sub(r.looked); !r.looked.IsZero() && paused > r.ttl/2 {
		for _, l := range r.leases {
			l.until = l.until.Add(paused)
		}
	}
	r.looked = now
	var gone []Endpoint
	for key, l := range r.leases {
		if now.After(l.until) {
			delete(r.leases, key)
			gone = append(gone, l.endpoint)
		}
	}
	if gone != nil {
		r.Changed.Ring()
	}
	return gone
}

// Endpoints are all of them, sorted by service and instance.
func (r *Registry) Endpoints() []Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.static)
	for _, l := range r.leases {
		out = append(out, l.endpoint)
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return Compare(a.Key, b.Key) })
	return out
}

// Holders are the proxies with a live registration stream.
func (r *Registry) Holders() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for key, l := range r.leases {
		if l.stream != 0 {
			out = append(out, key.String())
		}
	}
	return out
}

func (r *Registry) leaseTTL() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ttl
}

func (r *Registry) isStatic(key sample.Key) bool {
	return slices.ContainsFunc(r.static, func(e Endpoint) bool { return e.Key == key })
}

// Compare orders by service, then instance.
func Compare(a, b sample.Key) int {
	if c := strings.Compare(a.Service, b.Service); c != 0 {
		return c
	}
	return strings.Compare(a.Instance, b.Instance)
}
