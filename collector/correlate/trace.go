package correlate

import (
	"bytes"
	"slices"
	"strings"

	"weft/collector/correlate/facts"
	"weft/collector/correlate/intern"
	"weft/collector/signal"
)

// Bounds of one trace and one group. Only beyond them does the order of arrival matter.
const (
	maxGateways = 16 // gateway requests kept of one trace: the earliest
	maxParts    = 8  // request IDs told apart in one trace
	maxTouched  = 64 // services kept of one request
	maxTraces   = 16 // traces that one exchange joins
)

// What a record has room for without further memory: a request through five services, with spans that carry its request
// ID and others that carry none.
const (
	roomParts   = 2
	roomTouched = 5
)

// trace is what is remembered of one trace. Every field merges by minimum, maximum or union. Text is in memory of its own.
type trace struct {
	id       signal.TraceID
	group    *group
	spans    bool // false while only logs, or another trace's request ID, spoke of it
	weight   int  // see join.weigh
	first    int64
	last     int64
	top      head   // the span nearest to the root
	outer    head   // the outermost server span; a gateway's comes before any other
	gateways []head // further gateway requests, sorted
	parts    []part

	roomParts   [roomParts]part
	roomTouched [roomParts][roomTouched]touched
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
	service         string
	method, route   string
	requestID       string
	clientRequestID string
}

func (h *head) none() bool { return h.span.IsZero() }

// before orders heads by how near they are to where the request began. The span ID makes the order total.
func (h *head) before(o *head) bool {
	switch {
	case h.none() || o.none():
		return !h.none() && o.none()
	case h.rank != o.rank:
		return h.rank < o.rank
	case h.start != o.start:
		return h.start < o.start
	}
	return bytes.Compare(h.span[:], o.span[:]) < 0
}

// part is what the spans and logs that carry one request ID, or none, touched.
type part struct {
	requestID string
	touched   []touched
	attempts  uint16 // the most that any hop of it needed
	failed    bool
}

// touched is one service and what is known of its part in the request.
type touched struct {
	service string
	as      uint8
}

const (
	asAny      uint8 = 1 << iota // any span or log
	asServer                     // a server span, its own or its sidecar's
	asInbound                    // its sidecar's server span
	asRepaired                   // its sidecar went on with a trace that it dropped
)

// named is a span with its service and request ID in memory of their own, and what makes that of other texts.
type named struct {
	*facts.Span
	service, requestID string
	texts              *intern.Texts
}

func (s *named) head(rank uint8) head {
	return head{
		span: s.ID, rank: rank, kind: s.Kind, gateway: s.Entry(), proxy: s.Proxy != facts.NoProxy, linked: s.Linked,
		noRequest: s.Database.System != "" || s.Outbound() && s.RequestID == "",
		failed:    s.Failed, status: s.Status, start: s.Start, end: s.Start + s.Duration(),
		service: s.service, method: s.texts.Own(s.Method), route: s.texts.Own(s.Route),
		requestID: s.requestID, clientRequestID: strings.Clone(s.ClientRequestID),
	}
}

// add folds a span into the trace and the part that it belongs to.
func (t *trace) add(s *named, p *part) {
	if !t.spans || s.Start < t.first {
		t.first = s.Start
	}
	t.last = max(t.last, s.Start+s.Duration())
	t.spans = true
	rank := uint8(1)
	if s.Parent.IsZero() {
		rank = 0
	}
	if probe := (head{span: s.ID, rank: rank, start: s.Start}); probe.before(&t.top) {
		t.top = s.head(rank)
	}
	as := asAny
	if s.Kind == signal.KindServer {
		as |= asServer
		t.server(s, rank+1)
	}
	if s.Inbound() {
		as |= asInbound
	}
	if s.Repaired {
		as |= asRepaired
	}
	p.touch(s.service, as)
	p.failed = p.failed || s.Failed
	p.attempts = max(p.attempts, s.Resend+1)
}

// server keeps the span if it is the outermost server span so far, or one more gateway request.
func (t *trace) server(s *named, rank uint8) {
	if s.Entry() {
		rank = 0
	}
	// Most server spans are neither: they need no head.
	probe := head{span: s.ID, rank: rank, start: s.Start}
	outermost := probe.before(&t.outer)
	if s.ID == t.outer.span || !outermost && !s.Entry() {
		return
	}
	h := s.head(rank)
	if outermost {
		h, t.outer = t.outer, h
	}
	if h.gateway {
		t.gateway(h)
	}
}

func (t *trace) gateway(h head) {
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

// part is the part with the request ID, which may be a view, and whether it was there; beyond maxParts they share the one
// without.
func (t *trace) part(requestID string) (p *part, known bool) {
	for i := range t.parts {
		if t.parts[i].requestID == requestID {
			return &t.parts[i], true
		}
	}
	if len(t.parts) >= maxParts && requestID != "" {
		p, _ = t.part("")
		return p, false
	}
	fresh := part{requestID: strings.Clone(requestID)}
	if len(t.parts) < roomParts {
		fresh.touched = t.roomTouched[len(t.parts)][:0]
	}
	if t.parts == nil {
		t.parts = t.roomParts[:0]
	}
	t.parts = append(t.parts, fresh)
	return &t.parts[len(t.parts)-1], false
}

func (p *part) touch(service string, as uint8) {
	for i := range p.touched {
		if p.touched[i].service == service {
			p.touched[i].as |= as
			return
		}
	}
	if len(p.touched) < maxTouched && service != "" {
		p.touched = append(p.touched, touched{service, as})
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
func (t *trace) is(service string, as uint8) bool {
	for _, p := range t.parts {
		for _, s := range p.touched {
			if s.service == service && s.as&as != 0 {
				return true
			}
		}
	}
	return false
}
