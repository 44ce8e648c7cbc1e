package red

import (
	"hash/maphash"
	"strings"
	"time"

	"weft/collector/correlate/intern"
)

// services is what is known of each service.
type services struct {
	limit  int
	stats  *Stats
	seed   maphash.Seed
	byName map[string]*service
	other  *service // stands for all beyond the limit
	last   *service // the one asked for last: spans come by resource
	swept  int64
}

// service is one service's numbers, label sets and edges.
type service struct {
	name      string
	serves    bool // it answers requests
	proxied   bool
	touched   int64
	sidecar   int64 // when its own sidecar was last heard: the sidecar's server spans count, not the service's
	window    *window
	instances map[string]*instance
	instance  *instance // the one seen last
	calls     map[callKey]*call
	names     map[string]int // label sets of each span name
	edges     map[edgeTo]*edge
	overflows [overflowing]*overflow
}

type instance struct {
	name string
	last int64
}

const (
	maxInstances = 64
	other        = "_other"
	// idleFor is how long a label set that nothing counts in is kept.
	idleFor = 15 * time.Minute
	// sweepEach is how often a full table is looked through for idle ones.
	sweepEach = int64(time.Second)
)

func newService(name string) *service {
	return &service{name: name, instances: map[string]*instance{}, calls: map[callKey]*call{}, names: map[string]int{}, edges: map[edgeTo]*edge{}}
}

func newServices(limit int, stats *Stats) *services {
	return &services{limit: limit, stats: stats, seed: maphash.MakeSeed(), byName: map[string]*service{}, other: newService(other), last: &service{}}
}

// get is the record of the name, which may be a view, or "_other" when there are too many; those idle longest make room.
func (s *services) get(now int64, name string) *service {
	if s.last.name != name || name == "" {
		s.last = s.find(now, name)
	}
	s.last.touched = now
	return s.last
}

func (s *services) find(now int64, view string) *service {
	name := intern.Cut(view)
	if one := s.byName[name]; one != nil {
		return one
	}
	if name == other {
		return s.other
	}
	if len(s.byName) >= s.limit && now-s.swept >= sweepEach {
		s.swept = now
		s.forgetIdle(now)
	}
	if len(s.byName) >= s.limit {
		s.overflowed(now, s.other, ofService, name)
		return s.other
	}
	one := newService(strings.Clone(name))
	s.byName[one.name] = one
	return one
}

// forgetIdle drops services that were not heard for long; their label sets are idle even longer.
func (s *services) forgetIdle(now int64) {
	for name, one := range s.byName {
		if now-one.touched > int64(idleFor) && len(one.calls)+len(one.edges) == 0 {
			delete(s.byName, name)
			s.last = &service{}
		}
	}
}

// all is every record, that of "_other" last.
func (s *services) all() []*service {
	out := make([]*service, 0, len(s.byName)+1)
	for _, one := range s.byName {
		out = append(out, one)
	}
	return append(out, s.other)
}

// heard notes that an instance of the service answered.
func (s *service) heard(now int64, name string, proxied bool) {
	s.serves, s.proxied = true, s.proxied || proxied
	if name == "" {
		return
	}
	if s.instance == nil || s.instance.name != name {
		s.instance = s.instanceOf(now, name)
	}
	if s.instance != nil {
		s.instance.last = now
	}
}

func (s *service) instanceOf(now int64, view string) *instance {
	name := intern.Cut(view)
	one := s.instances[name]
	if one == nil && len(s.instances) >= maxInstances {
		for name, idle := range s.instances {
			if now-idle.last > int64(idleFor) {
				delete(s.instances, name)
			}
		}
	}
	if one == nil && len(s.instances) < maxInstances {
		one = &instance{name: strings.Clone(name)}
		s.instances[one.name] = one // with its own text: an assignment replaces the key too
	}
	return one
}
