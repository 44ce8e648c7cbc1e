package correlate

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"weft/collector/signal"
)

// Exchange is one request as reconstructed from all its signals.
type Exchange struct {
	RequestID       string
	ClientRequestID string           // the untrusted caller's own
	TraceIDs        []signal.TraceID // the one it began in first
	RootSpan        signal.SpanID    // the outermost server span; zero when none is known yet
	Start           int64            // Unix nanoseconds
	Duration        int64            // nanoseconds
	Status          int              // HTTP, 0 for none
	Method, Route   string
	Service         string   // where it began
	Services        []string // all it touched, sorted
	Error           bool     // the request failed; an attempt that a retry made good does not count
	Attempts        int      // the most that any hop of it needed
	DroppedBy       []string // services that did not pass traceparent on, sorted
}

// Filter selects exchanges; zero values select all.
type Filter struct {
	Service     string         // touched, as its name
	Route       string         // exactly
	Status      func(int) bool // of the HTTP status
	Error       bool           // failed ones only
	MinDuration time.Duration
	Limit       int // 0 = all
}

func newestFirst(a, b Exchange) int {
	return cmp.Or(cmp.Compare(b.Start, a.Start), strings.Compare(b.RequestID, a.RequestID), bytes.Compare(b.RootSpan[:], a.RootSpan[:]))
}

// row is one exchange of a group before it is spelled out.
type row struct {
	group *group
	head  head
	only  bool // the group has no other
}

// rows appends the group's exchanges: one per gateway request, or one for all when there are fewer than two.
func (g *group) rows(into []row) []row {
	var outer, top head
	gateways := 0
	for _, t := range g.traces {
		if t.outer.gateway {
			gateways += 1 + len(t.gateways)
		}
		if t.outer.before(&outer) {
			outer = t.outer
		}
		if t.top.before(&top) {
			top = t.top
		}
	}
	if gateways > 1 {
		for _, t := range g.traces {
			for _, h := range t.heads(nil) {
				into = append(into, row{group: g, head: h})
			}
		}
		return into
	}
	if outer.none() {
		outer = top
		outer.end = g.lastEnd()
	}
	if outer.none() {
		return into // only logs so far
	}
	return append(into, row{group: g, head: outer, only: true})
}

func (g *group) lastEnd() int64 {
	var last int64
	for _, t := range g.traces {
		last = max(last, t.last)
	}
	return last
}

// parts calls f with every part that belongs to the row. Among several gateway requests of one trace, what carries no
// request ID may be any one's, so it is everyone's.
func (r *row) parts(f func(*trace, *part)) {
	for _, t := range r.group.traces {
		mine := r.only || r.began(t)
		for i := range t.parts {
			// A trace with a gateway request of its own is that one's, though a client repeats its request ID.
			mine = mine || !t.outer.gateway && r.owns(t.parts[i].requestID)
		}
		for i := range t.parts {
			if p := &t.parts[i]; mine && (r.only || p.requestID == "" || r.owns(p.requestID)) {
				f(t, p)
			}
		}
	}
	for i := range r.group.loose {
		if p := &r.group.loose[i]; r.only || r.owns(p.requestID) {
			f(nil, p)
		}
	}
}

func (r *row) owns(requestID string) bool { return requestID != "" && requestID == r.head.requestID }

// began reports whether the row's request began in t.
func (r *row) began(t *trace) bool {
	return t.outer.span == r.head.span || t.top.span == r.head.span ||
		slices.ContainsFunc(t.gateways, func(h head) bool { return h.span == r.head.span })
}

func (r *row) matches(f *Filter) bool {
	switch h := &r.head; {
	case f.Route != "" && h.route != f.Route,
		f.Status != nil && !f.Status(int(h.status)),
		f.Error && !r.failed(),
		h.end-h.start < int64(f.MinDuration):
		return false
	}
	return f.Service == "" || r.touches(f.Service)
}

func (r *row) touches(service string) bool {
	found := false
	r.parts(func(_ *trace, p *part) {
		found = found || slices.ContainsFunc(p.touched, func(t touched) bool { return t.service == service })
	})
	return found
}

// failed is the outermost server span's word, or any span's when there is none.
func (r *row) failed() bool {
	if r.head.kind == signal.KindServer {
		return r.head.failed
	}
	failed := false
	r.parts(func(_ *trace, p *part) { failed = failed || p.failed })
	return failed
}

// exchange spells the row out.
func (r *row) exchange() Exchange {
	h := &r.head
	e := Exchange{
		RequestID: h.requestID, ClientRequestID: h.clientRequestID, RootSpan: h.span, Start: h.start, Duration: h.end - h.start,
		Status: int(h.status), Method: h.method, Route: h.route, Service: h.service, Error: r.failed(), Attempts: 1,
	}
	if h.kind != signal.KindServer {
		e.RootSpan = signal.SpanID{}
	}
	services, dropped := map[string]bool{}, map[string]bool{}
	smallest := ""
	r.parts(func(_ *trace, p *part) {
		e.Attempts = max(e.Attempts, int(p.attempts))
		if smallest == "" || p.requestID != "" && p.requestID < smallest {
			smallest = p.requestID
		}
		for _, t := range p.touched {
			services[t.service] = true
			if t.as&asRepaired != 0 {
				dropped[t.service] = true
			}
		}
	})
	e.TraceIDs = r.traceIDs()
	for _, t := range r.group.traces {
		if name, ok := r.group.droppedInto(t); ok && slices.Contains(e.TraceIDs, t.id) {
			dropped[name] = true
		}
	}
	e.RequestID = cmp.Or(e.RequestID, smallest)
	if e.RequestID == "" {
		e.RequestID = e.TraceIDs[0].String()
	}
	e.Services, e.DroppedBy = sortedKeys(services), sortedKeys(dropped)
	return e
}

// traceIDs is the row's traces that have spans: the one it began in, then the others by start.
func (r *row) traceIDs() []signal.TraceID {
	var traces []*trace
	r.parts(func(t *trace, _ *part) {
		if t != nil && t.spans && !slices.Contains(traces, t) {
			traces = append(traces, t)
		}
	})
	slices.SortFunc(traces, func(a, b *trace) int {
		if x, y := r.began(a), r.began(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.first, b.first), bytes.Compare(a.id[:], b.id[:]))
	})
	ids := make([]signal.TraceID, len(traces))
	for i, t := range traces {
		ids[i] = t.id
	}
	return ids
}

// droppedInto names the service that began t although it was serving a request of another trace of the group: it did
// not pass traceparent on. A gateway begins traces by right, and a consumer or a linked span does so on purpose.
func (g *group) droppedInto(t *trace) (string, bool) {
	top := &t.top
	if top.none() || top.rank != 0 || top.linked || top.kind == signal.KindConsumer || t.outer.gateway {
		return "", false
	}
	served := asServer
	if top.kind == signal.KindServer {
		if top.proxy {
			return "", false
		}
		// A server span that begins a trace dropped what its own sidecar handed to it; without a sidecar it may just
		// as well be the same client asking again.
		served = asInbound
	}
	for _, o := range g.traces {
		if o != t && o.is(top.service, served) {
			return top.service, true
		}
	}
	return "", false
}

func exchangesOf(g *group) []Exchange {
	rows := g.rows(nil)
	out := make([]Exchange, len(rows))
	for i := range rows {
		out[i] = rows[i].exchange()
	}
	return out
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
