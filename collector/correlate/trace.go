package correlate

import (
	"cmp"
	"slices"
	"strings"
	"unique"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// Bounds of one trace and one group. Only beyond them does the order of arrival matter.
const (
	maxGateways = 16 // gateway requests kept of one trace: the earliest
	maxParts    = 8  // request IDs told apart in one trace
	maxTouched  = 64 // services kept of one request
	maxTraces   = 16 // traces that one exchange joins
)

// trace is what is remembered of one trace. Every field merges by minimum, maximum or union.
type trace struct {
	id       signal.TraceID
	group    *group
	spans    bool // false while only logs, or another trace's request ID, spoke of it
	first    int64
	last     int64
	top      head   // the span nearest to the root
	outer    head   // the outermost server span; a gateway's comes before any other
	gateways []head // further gateway requests, sorted
	parts    []part
}

// head is the compact form of a span that a request begins with. The zero head means none.
type head struct {
	span            signal.SpanID
	rank            uint8
	kind            signal.Kind
	gateway         bool
	proxy           bool
	linked          bool
	noRequest       bool // a call that belongs to no request by itself: to a database, or a TCP connection
	failed          bool
	status          uint16
	start, end      int64
	service         unique.Handle[string]
	method, route   unique.Handle[string]
	requestID       string
	clientRequestID string
}

func (h *head) none() bool { return h.span.IsZero() }

// before orders heads by how near they are to where the request began. The span ID makes the order total.
func (h *head) before(o *head) bool {
	if h.none() || o.none() {
		return !h.none() && o.none()
	}
	return cmp.Or(cmp.Compare(h.rank, o.rank), cmp.Compare(h.start, o.start), slices.Compare(h.span[:], o.span[:])) < 0
}

// part is what the spans and logs that carry one request ID, or none, touched.
type part struct {
	requestID string
	attempts  uint16 // the most that any hop of it needed
	failed    bool
	touched   []touched
}

// touched is one service and what is known of its part in the request.
type touched struct {
	service unique.Handle[string]
	as      uint8
}

const (
	asAny      uint8 = 1 << iota // any span or log
	asServer                     // a server span, its own or its sidecar's
	asInbound                    // its sidecar's server span
	asRepaired                   // its sidecar went on with a trace that it dropped
)

func headOf(s *facts.Span) head {
	return head{
		span: s.ID, kind: s.Kind, gateway: s.Entry(), proxy: s.Proxy != facts.NoProxy, linked: s.Linked,
		noRequest: s.Database.System != "" || s.Outbound() && s.RequestID == "",
		failed:    s.Failed, status: s.Status, start: s.Start, end: s.Start + s.Duration(),
		service: unique.Make(s.Service), method: unique.Make(s.Method), route: unique.Make(s.Route),
		requestID: strings.Clone(s.RequestID), clientRequestID: strings.Clone(s.ClientRequestID),
	}
}

// add folds a span into the trace.
func (t *trace) add(s *facts.Span) {
	if !t.spans || s.Start < t.first {
		t.first = s.Start
	}
	t.last = max(t.last, s.Start+s.Duration())
	t.spans = true
	rank := uint8(1)
	if s.Parent.IsZero() {
		rank = 0
	}
	if t.isTop(s, rank) {
		t.top = headOf(s)
		t.top.rank = rank
	}
	as := asAny
	if s.Kind == signal.KindServer {
		as |= asServer
		h := headOf(s)
		h.rank = rank + 1
		if h.gateway {
			h.rank = 0
		}
		t.server(h)
	}
	if s.Inbound() {
		as |= asInbound
	}
	if s.Repaired {
		as |= asRepaired
	}
	p := t.part(s.RequestID)
	p.touch(s.Service, as)
	p.failed = p.failed || s.Failed
	p.attempts = max(p.attempts, s.Resend+1)
}

// isTop is head.before without making the head, which most spans do not need.
func (t *trace) isTop(s *facts.Span, rank uint8) bool {
	probe := head{span: s.ID, rank: rank, start: s.Start}
	return probe.before(&t.top)
}

// server keeps h if it is the outermost server span so far, or one more gateway request.
func (t *trace) server(h head) {
	if h.span == t.outer.span {
		return
	}
	if h.before(&t.outer) {
		h, t.outer = t.outer, h
	}
	if !h.gateway {
		return
	}
	at, found := slices.BinarySearchFunc(t.gateways, &h, func(have head, want *head) int {
		switch {
		case have.before(want):
			return -1
		case want.before(&have):
			return 1
		}
		return 0
	})
	if found || at >= maxGateways {
		return
	}
	t.gateways = slices.Insert(t.gateways, at, h)
	t.gateways = t.gateways[:min(len(t.gateways), maxGateways)]
}

// part is the part with the request ID; beyond maxParts they share the one without.
func (t *trace) part(requestID string) *part {
	for i := range t.parts {
		if t.parts[i].requestID == requestID {
			return &t.parts[i]
		}
	}
	if len(t.parts) >= maxParts && requestID != "" {
		return t.part("")
	}
	t.parts = append(t.parts, part{requestID: strings.Clone(requestID)})
	return &t.parts[len(t.parts)-1]
}

func (p *part) touch(service string, as uint8) {
	name := unique.Make(service)
	for i := range p.touched {
		if p.touched[i].service == name {
			p.touched[i].as |= as
			return
		}
	}
	if len(p.touched) < maxTouched && service != "" {
		p.touched = append(p.touched, touched{name, as})
	}
}

// heads is every gateway request of the trace.
func (t *trace) heads(into []head) []head {
	if t.outer.gateway {
		into = append(into, t.outer)
	}
	return append(into, t.gateways...)
}

// is reports whether the service took part in the way asked.
func (t *trace) is(service unique.Handle[string], as uint8) bool {
	for _, p := range t.parts {
		for _, s := range p.touched {
			if s.service == service && s.as&as != 0 {
				return true
			}
		}
	}
	return false
}
