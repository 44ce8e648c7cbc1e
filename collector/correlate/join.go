package correlate

import (
	"slices"
	"strings"

	"weft/collector/correlate/facts"
	"weft/collector/correlate/intern"
	"weft/collector/signal"
)

// join ties traces and request IDs into groups. A group is one exchange, or the several gateway requests of one trace.
type join struct {
	limit    int
	now      int64
	stats    *Stats
	texts    *intern.Texts
	service  string // the last one: spans come by resource
	byTrace  map[signal.TraceID]*trace
	byID     map[string]*group   // request IDs that are not a trace ID
	byClient map[string][]*group // clients' own IDs: they find, but never join
	recent
	idle idle
}

type group struct {
	traces      []*trace
	loose       []part   // logs that carry a request ID but no trace ID
	ids, client []string // its keys in byID and byClient
	weight      int      // see join.weigh
	placed      int64    // when it was put to the front
	order       uint64   // how many were before
	next, prev  *group

	roomTraces [1]*trace
}

const maxIDs = 16 // request IDs of one group, and groups found by one client ID

func newJoin(limit int, stats *Stats) *join {
	return &join{limit: limit, stats: stats, texts: intern.New(), byTrace: map[signal.TraceID]*trace{},
		byID: map[string]*group{}, byClient: map[string][]*group{}}
}

// span takes in a span and returns its request ID in memory of its own.
func (j *join) span(now int64, s *facts.Span) (requestID string) {
	j.now = max(j.now, now)
	t := j.trace(s.Trace)
	p, known := t.part(s.RequestID)
	if requestID = p.requestID; requestID != s.RequestID {
		requestID = strings.Clone(s.RequestID)
	}
	t.add(&named{s, j.name(s.Service), requestID, j.texts}, p)
	if !known {
		j.tie(t.group, requestID)
	}
	if s.ClientRequestID != "" {
		j.client(t.group, s.ClientRequestID)
	}
	if s.ClientTrace != "" {
		j.client(t.group, s.ClientTrace)
	}
	j.weigh(t)
	j.touch(t.group)
	return requestID
}

func (j *join) log(now int64, l *facts.Log) {
	j.now = max(j.now, now)
	switch {
	case !l.Trace.IsZero():
		t := j.trace(l.Trace)
		p, known := t.part(l.RequestID)
		p.touch(j.name(l.Service), asAny)
		if !known {
			j.tie(t.group, strings.Clone(l.RequestID))
		}
		j.weigh(t)
		j.touch(t.group)
	case l.RequestID != "":
		g := j.groupOf(l.RequestID)
		loosePart(g, l.RequestID).touch(j.name(l.Service), asAny)
		j.touch(g)
	default:
		j.stats.Unrelated++
	}
}

// name is a service's name in memory of its own.
func (j *join) name(view string) string {
	if view != j.service {
		j.service = j.texts.Own(view)
	}
	return j.service
}

// trace finds the trace's record, or makes it in a group of its own.
func (j *join) trace(id signal.TraceID) *trace {
	t := j.byTrace[id]
	if t == nil {
		t = j.newTrace(id, j.newGroup())
	}
	return t
}

func (j *join) newTrace(id signal.TraceID, g *group) *trace {
	t := j.idle.trace()
	t.id, t.group = id, g
	g.traces = append(g.traces, t)
	j.byTrace[id] = t
	return t
}

// groupOf is the group of a request ID. One that reads as a trace ID is that trace, seen or not: by default they are
// the same string.
func (j *join) groupOf(requestID string) *group {
	if id, ok := traceIDOf(requestID); ok {
		return j.trace(id).group
	}
	g := j.byID[requestID]
	if g == nil {
		g = j.newGroup()
		j.own(g, strings.Clone(requestID))
	}
	return g
}

func (j *join) own(g *group, requestID string) {
	g.ids = append(g.ids, requestID)
	j.byID[requestID] = g
}

// traceIDOf reads a request ID that is a trace ID as Weft writes it: 32 lower-case digits.
func traceIDOf(requestID string) (signal.TraceID, bool) {
	if len(requestID) != 32 {
		return signal.TraceID{}, false
	}
	for i := range len(requestID) {
		if c := requestID[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return signal.TraceID{}, false
		}
	}
	return signal.ParseTraceID(requestID)
}

// tie joins the group with the one of the request ID, which is in memory of its own.
func (j *join) tie(g *group, requestID string) {
	if requestID == "" {
		return
	}
	if id, ok := traceIDOf(requestID); ok {
		if t := j.byTrace[id]; t != nil {
			j.merge(g, t.group)
		} else if len(g.traces) < maxTraces {
			j.newTrace(id, g)
		} else {
			j.stats.JoinsRefused++
		}
		return
	}
	if known := j.byID[requestID]; known != nil {
		j.merge(g, known)
	} else if len(g.ids) < maxIDs {
		j.own(g, requestID)
	} else {
		j.stats.JoinsRefused++
	}
}

// merge moves b into a, unless that would be too many traces: a client that repeats one request ID for ever must not
// turn all its requests into one.
func (j *join) merge(a, b *group) {
	if a == b {
		return
	}
	if len(a.traces)+len(b.traces) > maxTraces || len(a.ids)+len(b.ids) > maxIDs {
		j.stats.JoinsRefused++
		return
	}
	for _, t := range b.traces {
		t.group = a
	}
	a.traces = append(a.traces, b.traces...)
	for _, id := range b.ids {
		j.byID[id] = a
	}
	a.ids = append(a.ids, b.ids...)
	for _, p := range b.loose {
		mine := loosePart(a, p.requestID)
		for _, t := range p.touched {
			mine.touch(t.service, t.as)
		}
	}
	clients := b.client
	j.forgetClients(b)
	for _, id := range clients {
		j.client(a, id)
	}
	j.drop(b)
}

func loosePart(g *group, requestID string) *part {
	for i := range g.loose {
		if g.loose[i].requestID == requestID {
			return &g.loose[i]
		}
	}
	g.loose = append(g.loose, part{requestID: strings.Clone(requestID)})
	return &g.loose[len(g.loose)-1]
}

// client makes the group findable by an ID that its caller chose.
func (j *join) client(g *group, id string) {
	if slices.Contains(g.client, id) || len(g.client) >= 2*maxIDs {
		return
	}
	known := j.byClient[id]
	if len(known) >= maxIDs {
		oldest := known[0]
		oldest.client = slices.DeleteFunc(oldest.client, func(have string) bool { return have == id })
		known = slices.Delete(known, 0, 1)
	}
	id = strings.Clone(id)
	g.client = append(g.client, id)
	j.byClient[id] = append(known, g)
}

func (j *join) forgetClients(g *group) {
	for _, id := range g.client {
		rest := slices.DeleteFunc(j.byClient[id], func(have *group) bool { return have == g })
		if len(rest) == 0 {
			delete(j.byClient, id)
		} else {
			j.byClient[id] = rest
		}
	}
	g.client = nil
}

// find is every exchange of the groups that an ID names.
func (j *join) find(id string) []Exchange {
	var found []Exchange
	add := func(g *group) { found = append(found, exchangesOf(g)...) }
	if trace, ok := signal.ParseTraceID(id); ok {
		if t := j.byTrace[trace]; t != nil {
			add(t.group)
		}
	}
	if g := j.byID[id]; g != nil {
		add(g)
	}
	if len(found) == 0 {
		for _, g := range j.byClient[id] {
			add(g)
		}
	}
	slices.SortFunc(found, newestFirst)
	return found
}
