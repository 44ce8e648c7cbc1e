package red

import (
	"cmp"
	"slices"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
	"weft/internal/semconv"
)

// graph counts calls between services, each request once per edge whatever proxies stand between (docs/decisions/0031):
// a proxy's attempt names the service it was made at, so it is an edge by itself, and retries are not counted; without
// proxies an edge is a client span and the server span whose parent it is.
type graph struct {
	cfg      Config
	stats    *Stats
	calls    *calls
	services *services
	edges    map[edgeKey]*edge
	pending  map[facts.Key]half
	queue    []expiry // in order of deadline
	flushes  flushes
	// replaying is true while spans are taken in that were counted before.
	replaying bool
	// sidecars holds when a service's own sidecar was last heard: the sidecar's server spans count, not the service's.
	sidecars map[string]time.Time
	// queried holds the databases that a service's own client spans name: TCP connections to them count no more.
	queried map[edgeKey]struct{}
}

type edgeKey struct{ client, server, connection string }

const (
	toDatabase  = "database"
	toQueue     = "messaging_system"
	virtualNode = "virtual_node"
)

type edge struct {
	failed  uint64
	seconds histogram
	labels  []Label
	series  *histogramSeries
	touched time.Time
	written bool
}

// half is a span that waits for the other half of its call, keyed by the client span's ID.
type half struct {
	is       uint8
	held     bool // a server span not counted yet: it may be its sidecar's request seen again
	failed   bool
	service  string
	call     callKey
	seconds  float64
	at       observed
	end      int64
	deadline int64 // Unix nanoseconds
}

const (
	isClient  uint8 = iota + 1
	isServer        // waits for its parent
	isInbound       // a sidecar's server span; its child is the same request again
)

type expiry struct {
	key      facts.Key
	deadline int64
}

// waitFor lets the other half come 30 s late from another agent.
const waitFor = 45 * time.Second

// sidecarFor is how long a service counts as having a sidecar after the last span of it.
const sidecarFor = 5 * time.Minute

func newGraph(cfg Config, m *Meter) *graph {
	return &graph{cfg: cfg, stats: &m.stats, calls: m.calls, services: m.services, edges: map[edgeKey]*edge{}, pending: map[facts.Key]half{},
		sidecars: map[string]time.Time{}, queried: map[edgeKey]struct{}{}}
}

// span counts one new span in calls, services and edges.
func (g *graph) span(now time.Time, s *facts.Span) {
	name := g.calls.texts.Own(s.Service)
	h := half{
		failed: s.Failed, service: name, call: callKey{name, g.calls.texts.Own(s.Name), s.Kind, s.Code}, seconds: float64(s.Duration()) / 1e9, end: s.End,
		at: observed{s.Trace, g.calls.texts.Own(s.RequestID), min(s.End/1e6, now.UnixMilli())},
	}
	switch s.Kind {
	case signal.KindServer:
		g.server(now, s, h)
	case signal.KindClient:
		g.calls.count(now, h.call, h.seconds, h.at)
		g.client(now, s, h)
	case signal.KindProducer:
		g.calls.count(now, h.call, h.seconds, h.at)
		g.calling(now, s, h, toQueue)
	case signal.KindConsumer:
		g.calls.count(now, h.call, h.seconds, h.at)
		g.called(now, parentOrLink(s), h, toQueue)
	default:
		g.calls.count(now, h.call, h.seconds, h.at)
	}
}

func parentOrLink(s *facts.Span) facts.Key {
	if s.Parent.IsZero() && s.Linked {
		return s.Link
	}
	return s.ParentKey()
}

func (g *graph) server(now time.Time, s *facts.Span, h half) {
	g.services.instance(now, s.Service, s.Instance, s.Proxy != facts.NoProxy)
	parent := s.ParentKey()
	switch {
	case s.Inbound():
		g.sidecars[h.service] = now
		g.serve(now, h)
		own := s.Key()
		if child, ok := g.pending[own]; ok && child.is == isServer {
			delete(g.pending, own) // the service's own span of this request came first
			return
		}
		h.is = isInbound
		g.wait(now, own, h)
	case s.Parent.IsZero():
		g.serve(now, h)
		g.edge(now, edgeKey{"user", h.service, virtualNode}, h)
	default:
		if first, ok := g.pending[parent]; ok && first.is == isInbound {
			delete(g.pending, parent)
			return
		}
		h.held = s.Proxy == facts.NoProxy && now.Sub(g.sidecars[s.Service]) < sidecarFor
		if !h.held {
			g.serve(now, h)
		}
		g.called(now, parent, h, "")
	}
}

// serve counts a request that a service answered.
func (g *graph) serve(now time.Time, h half) {
	g.calls.count(now, h.call, h.seconds, h.at)
	g.services.observe(now, h)
}

func (g *graph) client(now time.Time, s *facts.Span, h half) {
	switch {
	case s.Outbound() && s.Called != "":
		// The service's own client span of this call, if it has one, is the same call again.
		delete(g.pending, s.ParentKey())
		if s.Resend > 0 {
			return
		}
		key := edgeKey{client: h.service, server: g.calls.texts.Own(s.Called)}
		if s.Method == "" { // a TCP route's connection
			key.connection = toDatabase
			if _, ok := g.queried[key]; ok {
				return
			}
			g.services.observe(now, h.of(key.server))
		}
		g.edge(now, key, h)
	case s.Proxy != facts.NoProxy:
	case s.Database.System != "":
		key := edgeKey{h.service, g.calls.texts.Own(g.databaseName(s)), toDatabase}
		if len(g.queried) < g.cfg.Edges {
			g.queried[key] = struct{}{}
		}
		g.services.observe(now, h.of(key.server))
		g.edge(now, key, h)
	default:
		g.calling(now, s, h, "")
	}
}

// of is the same measurement as another service's.
func (h half) of(service string) half {
	h.service = service
	return h
}

// databaseName is the node of a database: the service of a TCP route that carries its name, else what the client calls it.
func (g *graph) databaseName(s *facts.Span) string {
	names := [...]string{s.Database.Peer, s.Database.System, s.Database.Name, s.Database.Address}
	for _, name := range names {
		if _, ok := g.edges[edgeKey{s.Service, name, toDatabase}]; ok && name != "" {
			return name
		}
	}
	return cmp.Or(names[0], names[1])
}

// calling pairs a client half with the server half that waits for it, or lets it wait.
func (g *graph) calling(now time.Time, s *facts.Span, h half, connection string) {
	key := s.Key()
	if server, ok := g.pending[key]; ok && server.is == isServer {
		delete(g.pending, key)
		g.pair(now, h, server, connection)
		return
	}
	h.is = isClient
	g.wait(now, key, h)
}

// called pairs a server half with its client half, or lets it wait.
func (g *graph) called(now time.Time, parent facts.Key, h half, connection string) {
	if parent.Span.IsZero() {
		return
	}
	if client, ok := g.pending[parent]; ok && client.is == isClient {
		delete(g.pending, parent)
		g.pair(now, client, h, connection)
		return
	}
	h.is = isServer
	g.wait(now, parent, h)
}

func (g *graph) pair(now time.Time, client, server half, connection string) {
	if server.held {
		g.serve(now, server)
	}
	server.failed = server.failed || client.failed
	g.edge(now, edgeKey{client.service, server.service, connection}, server)
}

func (g *graph) wait(now time.Time, key facts.Key, h half) {
	if _, taken := g.pending[key]; taken {
		return // a second child of one client span: the first waits on
	}
	if len(g.pending) >= g.cfg.Pending || len(g.queue) >= 4*g.cfg.Pending {
		g.stats.PendingDropped++
		if h.held {
			g.serve(now, h)
		}
		return
	}
	h.deadline = now.Add(waitFor).UnixNano()
	g.pending[key] = h
	g.queue = append(g.queue, expiry{key, h.deadline})
}

// expire gives up on halves that waited long enough.
func (g *graph) expire(now time.Time) {
	done := 0
	for done < len(g.queue) && now.UnixNano() >= g.queue[done].deadline {
		key := g.queue[done].key
		if h, ok := g.pending[key]; ok && h.deadline == g.queue[done].deadline {
			delete(g.pending, key)
			if h.held {
				g.serve(now, h)
			}
			if h.is != isInbound {
				g.stats.Unpaired++
			}
		}
		done++
	}
	g.queue = g.queue[done:]
}

func (g *graph) edge(now time.Time, key edgeKey, h half) {
	if key.client == "" || key.server == "" {
		return
	}
	key.client, key.server = label(key.client, longestLabel), label(key.server, longestLabel)
	one := g.edges[key]
	if one == nil {
		if len(g.edges) >= g.cfg.Edges {
			g.stats.EdgesOverflowed++
			return
		}
		labels := []Label{{"client", key.client}, {"server", key.server}}
		if key.connection != "" {
			labels = with(labels, Label{"connection_type", key.connection})
		}
		one = &edge{labels: labels, series: newHistogramSeries(semconv.ServiceGraphServer, labels)}
		g.edges[key] = one
	}
	one.touched = now
	if g.replaying {
		return
	}
	if h.failed {
		one.failed++
	}
	one.seconds.observe(h.seconds, h.at)
}

func (g *graph) flush(now time.Time, out []Series) []Series {
	at := now.UnixMilli()
	for key, one := range g.edges {
		if now.Sub(one.touched) > idleFor {
			delete(g.edges, key)
			delete(g.queried, key)
			continue
		}
		if !one.written {
			one.written = true
			zero := g.flushes.zeroAt(at)
			out = one.series.zero(zero, append(out,
				Series{Name: semconv.ServiceGraphRequests, Labels: one.labels, Time: zero},
				Series{Name: semconv.ServiceGraphFailed, Labels: one.labels, Time: zero}))
		}
		var total uint64
		for _, n := range one.seconds.counts {
			total += n
		}
		out = append(out,
			Series{Name: semconv.ServiceGraphRequests, Labels: one.labels, Value: float64(total), Time: at},
			Series{Name: semconv.ServiceGraphFailed, Labels: one.labels, Value: float64(one.failed), Time: at})
		out = one.series.flush(&one.seconds, at, out)
	}
	for service, last := range g.sidecars {
		if now.Sub(last) > sidecarFor {
			delete(g.sidecars, service)
		}
	}
	g.flushes.last = at
	return out
}

// neighbours are the services that this one calls, and those that call it, sorted.
func (g *graph) neighbours(service string) (calls, calledBy []string) {
	calls, calledBy = []string{}, []string{}
	for key := range g.edges {
		if key.client == service {
			calls = append(calls, key.server)
		}
		if key.server == service && key.connection != virtualNode {
			calledBy = append(calledBy, key.client)
		}
	}
	slices.Sort(calls)
	slices.Sort(calledBy)
	return slices.Compact(calls), slices.Compact(calledBy)
}
