package endpoints

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft/internal/sample"
)

// maxServices bounds the services that a table asks control for: names may come from a client's Host header.
const maxServices = 1024

// remembered is how long the experience of an endpoint that left is kept: its last failures are the evidence, and it
// may come back.
const remembered = 5 * time.Minute

// firstAnswer is how long a request may wait for control to say who serves a service that was never asked for.
const firstAnswer = time.Second

// Table is who serves what. Readers never lock.
type Table struct {
	services atomic.Pointer[map[string]*Service]

	mu       sync.Mutex
	static   map[string]bool
	live     map[sample.Key]*known
	wanted   map[string]time.Time // service → when it was first asked for
	refused  uint64               // services beyond maxServices
	changed  chan struct{}        // closed and replaced at every swap
	asks     chan struct{}        // capacity 1: wanted has grown
	epoch    uint64
	sequence uint64
}

// known is an endpoint's experience with what the lane must say about it.
type known struct {
	live             *Live
	address, version string
	gone             time.Time // zero while it is in a snapshot
}

// NewTable holds the static services; wanted are asked of control from the start.
func NewTable(static map[string]StaticService, wanted ...string) *Table {
	t := &Table{
		static: map[string]bool{}, live: map[sample.Key]*known{}, wanted: map[string]time.Time{},
		changed: make(chan struct{}), asks: make(chan struct{}, 1), epoch: uint64(time.Now().UnixNano()),
	}
	t.services.Store(&map[string]*Service{})
	t.SetStatic(static)
	for _, name := range wanted {
		t.Want(name)
	}
	return t
}

// Lookup is the service as it is known now. A service that was never asked for is asked of control from now on.
func (t *Table) Lookup(name string) (*Service, bool) {
	s, ok := (*t.services.Load())[name]
	if !ok {
		t.Want(name)
	}
	return s, ok
}

// Await is Lookup, but a service that was first asked for less than a second ago is waited for.
func (t *Table) Await(ctx context.Context, name string) (*Service, bool) {
	for {
		if s, ok := t.Lookup(name); ok {
			return s, true
		}
		t.mu.Lock()
		changed, since := t.changed, t.wanted[name]
		t.mu.Unlock()
		left := firstAnswer - time.Since(since)
		if left <= 0 {
			return t.Lookup(name)
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, false
		}
		timer.Stop()
	}
}

// Want asks control for a service; names that cannot be services, and those beyond the bound, are not asked for.
func (t *Table) Want(name string) {
	if !ValidName(name) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.wanted[name]; ok || t.static[name] {
		return
	}
	if len(t.wanted) >= maxServices {
		t.refused++
		return
	}
	t.wanted[name] = time.Now()
	select {
	case t.asks <- struct{}{}:
	default: // the subscriber has not looked since the last one
	}
}

// Wanted are the services to ask of control, sorted.
func (t *Table) Wanted() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.wanted))
}

// Refused counts requests for services beyond the bound.
func (t *Table) Refused() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// SetStatic replaces the services that the configuration names. They win over control's of the same name.
func (t *Table) SetStatic(static map[string]StaticService) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[string]*Service{}
	for name, s := range *t.services.Load() {
		if !t.static[name] {
			next[name] = s
		}
	}
	t.static = map[string]bool{}
	for name, s := range static {
		t.static[name] = true
		delete(t.wanted, name)
		next[name] = t.adopt(name, s.endpoints(name))
	}
	t.swap(next)
}

// Update replaces the endpoints of the named services, keeps the others, and swaps once.
func (t *Table) Update(services map[string][]Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(*t.services.Load())
	for name, list := range services {
		if !t.static[name] {
			next[name] = t.adopt(name, list)
		}
	}
	t.swap(next)
}

// adopt gives each endpoint the experience that this proxy has of its instance.
func (t *Table) adopt(name string, list []Endpoint) *Service {
	s := &Service{Name: name, Endpoints: make([]*Endpoint, 0, len(list))}
	for i := range list {
		e := list[i]
		k := t.live[e.Key()]
		if k == nil {
			k = &known{live: &Live{}}
			t.live[e.Key()] = k
		}
		k.address, k.version = e.Address, e.Version
		e.Live = k.live
		s.Endpoints = append(s.Endpoints, &e)
	}
	return s
}

func (t *Table) swap(next map[string]*Service) {
	present := map[*Live]bool{}
	for _, s := range next {
		for _, e := range s.Endpoints {
			present[e.Live] = true
		}
	}
	now := time.Now()
	for key, k := range t.live {
		switch {
		case present[k.live]:
			k.gone = time.Time{}
		case k.gone.IsZero():
			k.gone = now
		case now.Sub(k.gone) > remembered:
			delete(t.live, key)
		}
	}
	t.services.Store(&next)
	close(t.changed)
	t.changed = make(chan struct{})
}

// Report is everything this proxy has counted, for the samples' lane. Endpoints that left stay in it for a while.
func (t *Table) Report(now time.Time) sample.Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sequence++
	r := sample.Report{Epoch: t.epoch, Sequence: t.sequence, Samples: make([]sample.Sample, 0, len(t.live))}
	for key, k := range t.live {
		s := k.live.Counter.Read()
		if s.FirstAttempts.Total() == 0 && s.Retries.Total() == 0 {
			continue
		}
		s.Endpoint, s.Address, s.Version = key, k.address, k.version
		s.LocallyOpen = k.live.Load().Open(now)
		r.Samples = append(r.Samples, s)
	}
	return r
}
