package control

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/internal/sample"
)

// endpoint is where an instance is.
type endpoint struct {
	Key      sample.Key `json:"key"`
	Address  string     `json:"address"`
	Protocol string     `json:"protocol"`
	Version  string     `json:"version,omitempty"`
	Zone     string     `json:"zone,omitempty"`
	Static   bool       `json:"-"` // from the configuration: plain, without a lease
}

// lease keeps one endpoint as long as its sidecar's stream lives, and a little longer.
type lease struct {
	endpoint endpoint
	stream   uint64    // the stream that holds it; 0 while none does
	until    time.Time // when it ends unless something is heard
}

// registry is who is where. Every method takes the time; nothing happens by itself.
type registry struct {
	changed chan struct{} // holds at most one signal

	mu     sync.Mutex
	ttl    time.Duration
	static []endpoint
	leases map[sample.Key]*lease
	looked time.Time // of the last expire
}

func newRegistry(ttl time.Duration) *registry {
	return &registry{ttl: ttl, leases: map[sample.Key]*lease{}, changed: make(chan struct{}, 1)}
}

// configure takes up the static services and the lease time.
func (r *registry) configure(cfg *Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ttl = cfg.LeaseTTL
	r.static = r.static[:0:0]
	for _, name := range sortedKeys(cfg.Services) {
		service := cfg.Services[name]
		protocol := service.Protocol
		if protocol == "" {
			protocol = "http"
		}
		for _, e := range service.Endpoints {
			key := sample.Key{Service: name, Instance: e.Instance}
			r.static = append(r.static, endpoint{key, e.Address, protocol, e.Version, e.Zone, true})
			delete(r.leases, key)
		}
	}
	r.signal()
}

// restore takes up endpoints of an earlier process without a stream; each has grace to come back.
func (r *registry) restore(now time.Time, endpoints []endpoint, grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range endpoints {
		if r.leases[e.Key] == nil && !r.isStatic(e.Key) {
			r.leases[e.Key] = &lease{endpoint: e, until: now.Add(grace)}
		}
	}
	r.signal()
}

// hold gives the endpoint to a stream, taking it from any earlier one: the newest verified process of an instance wins,
// and an older one does not take it back while the newer lives.
func (r *registry) hold(now time.Time, stream uint64, e endpoint) error {
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
		r.signal()
	}
	r.leases[e.Key] = &lease{endpoint: e, stream: stream, until: now.Add(r.silence())}
	return nil
}

// beat prolongs; it is false when the stream does not hold this endpoint (any more).
func (r *registry) beat(now time.Time, stream uint64, e endpoint) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[e.Key]
	if l == nil || l.stream != stream || l.endpoint.Address != e.Address {
		return false
	}
	if l.endpoint != e {
		l.endpoint = e
		r.signal()
	}
	l.until = now.Add(r.silence())
	return true
}

// release ends a stream's hold: at once when the sidecar said goodbye, else after the grace for a reconnect.
func (r *registry) release(now time.Time, stream uint64, key sample.Key, goodbye bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.leases[key]
	if l == nil || l.stream != stream {
		return
	}
	l.stream, l.until = 0, now.Add(r.ttl/2)
	if goodbye {
		delete(r.leases, key)
	}
	r.signal()
}

// silence is how long an open stream may say nothing: a broken one is noticed by itself, so this is only for a peer
// that hangs, whose requests the verdicts and local breakers judge faster anyway.
func (r *registry) silence() time.Duration { return 2 * r.ttl }

// expire drops what ended. When control itself did not run for a while, heartbeats are still in its sockets: leases get
// that time back.
func (r *registry) expire(now time.Time) []endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	if paused := now.Sub(r.looked); !r.looked.IsZero() && paused > r.ttl/2 {
		for _, l := range r.leases {
			l.until = l.until.Add(paused)
		}
	}
	r.looked = now
	var gone []endpoint
	for key, l := range r.leases {
		if now.After(l.until) {
			delete(r.leases, key)
			gone = append(gone, l.endpoint)
		}
	}
	if gone != nil {
		r.signal()
	}
	return gone
}

// endpoints are all of them, sorted by service and instance.
func (r *registry) endpoints() []endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.static)
	for _, l := range r.leases {
		out = append(out, l.endpoint)
	}
	slices.SortFunc(out, func(a, b endpoint) int { return compareKeys(a.Key, b.Key) })
	return out
}

// holders are the proxies with a live registration stream.
func (r *registry) holders() []string {
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

func (r *registry) leaseTTL() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ttl
}

func (r *registry) isStatic(key sample.Key) bool {
	return slices.ContainsFunc(r.static, func(e endpoint) bool { return e.Key == key })
}

func (r *registry) signal() { notify(r.changed) }

// notify leaves one signal in a channel of size one.
func notify(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// bells are those who want to know of a change; each holds at most one signal.
type bells []chan struct{}

func (b bells) ring() {
	for _, c := range b {
		notify(c)
	}
}

func compareKeys(a, b sample.Key) int {
	if c := strings.Compare(a.Service, b.Service); c != 0 {
		return c
	}
	return strings.Compare(a.Instance, b.Instance)
}
