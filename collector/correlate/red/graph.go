package red

import (
	"cmp"
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// graph counts calls between services, each request once per edge whatever proxies stand between (docs/decisions/0031):
// a proxy's attempt names the service it was made at, so it is an edge by itself, and retries are not counted; without
// proxies an edge is a client span and the server span whose parent it is.
type graph struct {
	cfg     Config
	m       *Meter
	users   *service // whoever calls a service from outside
	edges   int      // of all services
	pending *pending
	flushes flushes
}

// measured is what a span tells of one call.
type measured struct {
	failed   bool
	replayed bool  // it was counted before a restart
	took     int64 // nanoseconds
	end      int64 // Unix nanoseconds
	at       observed
}

// sidecarFor is how long a service counts as having a sidecar after the last span of it.
const sidecarFor = int64(5 * time.Minute)

func newGraph(cfg Config, m *Meter) *graph {
	return &graph{cfg: cfg, m: m, users: newService("user"), pending: newPending(cfg.Pending)}
}

// span counts one new span in calls, services and edges.
func (g *graph) span(now int64, s *facts.Span, requestID string) {
	of := g.m.services.get(now, s.Service)
	m := measured{failed: s.Failed, replayed: g.m.replaying, took: s.Duration(), end: s.End,
		at: observed{s.Trace, requestID, min(s.End, now) / 1e6}}
	if s.Kind == signal.KindServer {
		g.server(now, of, s, &m)
		return
	}
	g.m.calls.count(now, of, callKey{s.Name, s.Kind, s.Code}, &m)
	switch s.Kind {
	case signal.KindClient:
		g.client(now, of, s, &m)
	case signal.KindProducer:
		g.calling(now, &half{key: s.Key(), is: isClient, service: of, measured: m}, toQueue)
	case signal.KindConsumer:
		parent := s.ParentKey()
		if s.Parent.IsZero() && s.Linked {
			parent = s.Link
		}
		g.called(now, &half{key: parent, is: isServer, service: of, measured: m}, toQueue)
	}
}

func (g *graph) server(now int64, of *service, s *facts.Span, m *measured) {
	if s.Service != "" {
		of.heard(now, s.Instance, s.Proxy != facts.NoProxy)
	}
	h := half{kind: s.Kind, code: s.Code, service: of, measured: *m}
	switch {
	case s.Inbound():
		of.sidecar = now
		g.serve(now, &h, s.Name)
		if child := g.pending.find(s.Key(), isServer); child != nil {
			g.pending.drop(child) // the service's own span of this request came first
			return
		}
		h.key, h.is = s.Key(), isInbound
		g.wait(now, &h)
	case s.Parent.IsZero():
		g.serve(now, &h, s.Name)
		g.edge(now, g.users, edgeTo{of.name, asUser}, m)
	default:
		if first := g.pending.find(s.ParentKey(), isInbound); first != nil {
			g.pending.drop(first)
			return
		}
		h.key, h.is = s.ParentKey(), isServer
		h.held = s.Proxy == facts.NoProxy && now-of.sidecar < sidecarFor
		if h.held {
			h.name = g.m.texts.Own(s.Name)
		} else {
			g.serve(now, &h, s.Name)
		}
		g.called(now, &h, direct)
	}
}

// serve counts a request that a service answered.
func (g *graph) serve(now int64, h *half, name string) {
	g.m.calls.count(now, h.service, callKey{name, h.kind, h.code}, &h.measured)
	if h.service.name != "" {
		h.service.answered(now, &h.measured)
	}
}

func (g *graph) client(now int64, of *service, s *facts.Span, m *measured) {
	switch {
	case s.Outbound() && s.Called != "":
		// The service's own client span of this call, if it has one, is the same call again.
		if own := g.pending.any(s.ParentKey()); own != nil {
			g.pending.drop(own)
		}
		if s.Resend > 0 {
			return
		}
		to := edgeTo{s.Called, direct}
		if s.Method == "" { // a TCP route's connection
			to.as = toDatabase
			if known := of.edges[to]; known != nil && known.queried {
				return
			}
			g.m.services.get(now, s.Called).answered(now, m)
		}
		g.edge(now, of, to, m)
	case s.Proxy != facts.NoProxy:
	case s.Database.System != "":
		name := databaseName(of, &s.Database)
		g.m.services.get(now, name).answered(now, m)
		if e := g.edge(now, of, edgeTo{name, toDatabase}, m); e != nil {
			e.queried = true
		}
	default:
		g.calling(now, &half{key: s.Key(), is: isClient, service: of, measured: *m}, direct)
	}
}

// databaseName is the node of a database: the service of a TCP route that carries its name, else what the client calls it.
func databaseName(of *service, d *facts.Database) string {
	for _, name := range [...]string{d.Peer, d.System, d.Name, d.Address} {
		if of.edges[edgeTo{name, toDatabase}] != nil {
			return name
		}
	}
	return cmp.Or(d.Peer, d.System)
}

// calling pairs a client half with the server half that waits for it, or lets it wait.
func (g *graph) calling(now int64, h *half, as connection) {
	if server := g.pending.find(h.key, isServer); server != nil {
		g.pending.drop(server)
		g.pair(now, h, server, as)
		return
	}
	g.wait(now, h)
}

// called pairs a server half with its client half, or lets it wait.
func (g *graph) called(now int64, h *half, as connection) {
	if h.key.Span.IsZero() {
		return
	}
	if client := g.pending.find(h.key, isClient); client != nil {
		g.pending.drop(client)
		g.pair(now, client, h, as)
		return
	}
	g.wait(now, h)
}

func (g *graph) pair(now int64, client, server *half, as connection) {
	if server.held {
		g.serve(now, server, server.name)
	}
	m := server.measured
	m.failed = m.failed || client.measured.failed
	m.replayed = m.replayed && client.measured.replayed
	g.edge(now, client.service, edgeTo{server.service.name, as}, &m)
}

// wait lets a half wait for the other. When too many do, the one that waited longest gives up.
func (g *graph) wait(now int64, h *half) {
	if g.pending.any(h.key) != nil {
		return // a second child of one client span: the first waits on
	}
	if g.pending.len() >= g.cfg.Pending {
		g.m.stats.PendingDropped++
		g.giveUp(now, g.pending.at(g.pending.oldest))
	}
	g.pending.add(now, h)
}

func (g *graph) giveUp(now int64, h *half) {
	g.pending.drop(h)
	if h.held {
		g.serve(now, h, h.name)
	}
}

// expire gives up on halves that waited long enough.
func (g *graph) expire(now int64) {
	for g.pending.oldest != 0 {
		h := g.pending.at(g.pending.oldest)
		if h.deadline > now {
			return
		}
		if h.is != isInbound {
			g.m.stats.Unpaired++
		}
		g.giveUp(now, h)
	}
}
