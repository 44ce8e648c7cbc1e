package correlate

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// Whole is one exchange with all its signals, or the several requests that one ID names.
type Whole struct {
	Exchange
	Requests []Exchange    // by start, when there are several; empty otherwise
	Spans    []signal.Span // by start, each once
	Logs     []signal.Log  // by time, each once
	// Adopted is the span that one which began a trace for want of traceparent hangs under, by its trace and its own ID.
	Adopted map[signal.TraceID]map[signal.SpanID]signal.SpanID
}

// Assemble joins signals that an ID led to, directly or through the IDs they name. It needs no Correlator, so it also
// answers for what only the stores remember. It is false when there is not a single signal.
//
// When the ID is an exchange's own request or trace ID, only that counts: a stranger who sends the same string as his
// own request ID does not get into the picture.
func Assemble(id string, spans []signal.Span, logs []signal.Log) (Whole, bool) {
	w := Whole{Spans: uniqueSpans(spans), Logs: uniqueLogs(logs)}
	j := newJoin(math.MaxInt, &Stats{})
	for i := range w.Spans {
		s := facts.Read(&w.Spans[i])
		j.span(0, &s)
	}
	for i := range w.Logs {
		l := facts.ReadLog(&w.Logs[i])
		j.log(0, &l)
	}
	all := j.exchanges()
	if own := j.named(id); own != nil {
		w.Spans = slices.DeleteFunc(w.Spans, func(s signal.Span) bool { return j.byTrace[s.TraceID].group != own })
		w.Logs = slices.DeleteFunc(w.Logs, func(l signal.Log) bool { return j.logGroup(&l) != own })
		all = exchangesOf(own)
	}
	if len(w.Spans)+len(w.Logs) == 0 {
		return w, false
	}
	w.Adopted = j.adopted(w.Spans)
	slices.SortFunc(all, func(a, b Exchange) int { return newestFirst(b, a) })
	switch len(all) {
	case 0:
		w.Exchange = logsOnly(w.Logs)
	case 1:
		w.Exchange = all[0]
	default:
		w.Exchange, w.Requests = union(all), all
	}
	w.Services = touchedBy(w.Spans, w.Logs)
	if one, ok := w.meant(id); ok {
		return one, true
	}
	return w, true
}

// meant is the one of several requests that the ID names and the others do not share.
func (w Whole) meant(id string) (Whole, bool) {
	own := slices.DeleteFunc(slices.Clone(w.Requests), func(e Exchange) bool { return e.RequestID != id })
	if len(own) != 1 || slices.Contains(own[0].TraceIDs, asTraceID(id)) {
		return w, false
	}
	return w.Only(own[0].RootSpan)
}

func asTraceID(id string) signal.TraceID {
	trace, _ := signal.ParseTraceID(id)
	return trace
}

// exchanges is every exchange of every group.
func (j *join) exchanges() []Exchange {
	var all []Exchange
	for g := j.head; g != nil; g = g.next {
		all = append(all, exchangesOf(g)...)
	}
	return all
}

// named is the group that has spans and whose own request or trace ID this is.
func (j *join) named(id string) *group {
	g := j.byID[id]
	if t := j.byTrace[asTraceID(id)]; g == nil && t != nil {
		g = t.group
	}
	if g == nil || len(g.rows(nil)) == 0 {
		return nil
	}
	return g
}

func (j *join) logGroup(l *signal.Log) *group {
	if t := j.byTrace[l.TraceID]; t != nil {
		return t.group
	}
	return j.groupOf(facts.ReadLog(l).RequestID)
}

// union is the first exchange with what the others touched.
func union(all []Exchange) Exchange {
	u := all[0]
	u.TraceIDs, u.Services, u.DroppedBy = slices.Clone(u.TraceIDs), slices.Clone(u.Services), slices.Clone(u.DroppedBy)
	for _, e := range all[1:] {
		for _, id := range e.TraceIDs {
			if !slices.Contains(u.TraceIDs, id) {
				u.TraceIDs = append(u.TraceIDs, id)
			}
		}
		u.Services, u.DroppedBy = append(u.Services, e.Services...), append(u.DroppedBy, e.DroppedBy...)
		u.Error, u.Attempts = u.Error || e.Error, max(u.Attempts, e.Attempts)
		u.Duration = max(u.Duration, e.Start+e.Duration-u.Start)
	}
	slices.Sort(u.Services)
	slices.Sort(u.DroppedBy)
	u.Services, u.DroppedBy = slices.Compact(u.Services), slices.Compact(u.DroppedBy)
	return u
}

// logsOnly is what log records alone tell.
func logsOnly(logs []signal.Log) Exchange {
	e := Exchange{Start: logs[0].Time, Duration: logs[len(logs)-1].Time - logs[0].Time, Service: logs[0].Service, Services: []string{}, DroppedBy: []string{}}
	for i := range logs {
		e.RequestID = cmp.Or(e.RequestID, logs[i].RequestID)
		if id := logs[i].TraceID; !id.IsZero() && !slices.Contains(e.TraceIDs, id) {
			e.TraceIDs = append(e.TraceIDs, id)
		}
	}
	if e.RequestID == "" {
		e.RequestID = e.TraceIDs[0].String() // one of the two is what tied them
	}
	return e
}

// Only is what belongs to the request whose gateway span is root: the spans below it, the other traces that carry its
// request ID, and their logs.
func (w Whole) Only(root signal.SpanID) (Whole, bool) {
	at := slices.IndexFunc(w.Requests, func(e Exchange) bool { return e.RootSpan == root && !root.IsZero() })
	if at < 0 {
		return w, false
	}
	one := Whole{Exchange: w.Requests[at], Adopted: w.Adopted}
	mine := w.below(facts.At(one.TraceIDs[0], root))
	for i := range w.Spans {
		s := &w.Spans[i]
		foreign := s.TraceID != one.TraceIDs[0] && slices.Contains(one.TraceIDs, s.TraceID)
		if foreign || mine[facts.At(s.TraceID, s.SpanID)] {
			mine[facts.At(s.TraceID, s.SpanID)] = true
			one.Spans = append(one.Spans, *s)
		}
	}
	for _, l := range w.Logs {
		byID := l.SpanID.IsZero() && l.RequestID == one.RequestID
		if byID || mine[facts.At(l.TraceID, l.SpanID)] {
			one.Logs = append(one.Logs, l)
		}
	}
	one.Services = touchedBy(one.Spans, one.Logs)
	return one, true
}

// below is the span and all its descendants.
func (w *Whole) below(root facts.Key) map[facts.Key]bool {
	children := map[facts.Key][]facts.Key{}
	for i := range w.Spans {
		s := &w.Spans[i]
		parent := facts.At(s.TraceID, s.ParentID)
		children[parent] = append(children[parent], facts.At(s.TraceID, s.SpanID))
	}
	found := map[facts.Key]bool{root: true}
	for next := []facts.Key{root}; len(next) > 0; {
		last := next[len(next)-1]
		next = next[:len(next)-1]
		for _, child := range children[last] {
			if !found[child] { // a hostile trace may be a ring
				found[child] = true
				next = append(next, child)
			}
		}
	}
	return found
}

func touchedBy(spans []signal.Span, logs []signal.Log) []string {
	set := map[string]bool{}
	for i := range spans {
		set[spans[i].Service] = true
	}
	for i := range logs {
		set[logs[i].Service] = true
	}
	delete(set, "")
	return sortedKeys(set)
}

// adopted finds, for the spans that begin a trace which a service began although it was serving a request, the server
// span it was in: of that service, in another trace, begun last before it. spans are sorted by start.
func (j *join) adopted(spans []signal.Span) map[signal.TraceID]map[signal.SpanID]signal.SpanID {
	found := map[signal.TraceID]map[signal.SpanID]signal.SpanID{}
	for i := range spans {
		s := &spans[i]
		t := j.byTrace[s.TraceID]
		name, dropped := t.group.droppedInto(t)
		if !dropped || !s.ParentID.IsZero() || s.Service != name || len(found[s.TraceID]) >= maxTouched {
			continue
		}
		var best *signal.Span
		for k := range spans {
			o := &spans[k]
			serving := o.Kind == signal.KindServer && o.Service == s.Service && o.TraceID != s.TraceID && j.byTrace[o.TraceID].group == t.group
			// The last one begun before wins, or the first of all when clocks disagree.
			if serving && (best == nil || o.Start <= s.Start) {
				best = o
			}
		}
		if best == nil {
			continue
		}
		if found[s.TraceID] == nil {
			found[s.TraceID] = map[signal.SpanID]signal.SpanID{}
		}
		found[s.TraceID][s.SpanID] = best.SpanID
	}
	return found
}

func uniqueSpans(spans []signal.Span) []signal.Span {
	seen := make(map[facts.Key]bool, len(spans))
	out := make([]signal.Span, 0, len(spans))
	for i := range spans {
		key := facts.At(spans[i].TraceID, spans[i].SpanID)
		if !seen[key] && !key.Trace.IsZero() && !key.Span.IsZero() {
			seen[key] = true
			out = append(out, spans[i])
		}
	}
	slices.SortFunc(out, func(a, b signal.Span) int {
		// Of spans that start together the longer one is the outer.
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), bytes.Compare(a.SpanID[:], b.SpanID[:]))
	})
	return out
}

func uniqueLogs(logs []signal.Log) []signal.Log {
	type key struct {
		time                    int64
		span                    facts.Key
		service, instance, body string
	}
	seen := make(map[key]bool, len(logs))
	out := make([]signal.Log, 0, len(logs))
	for i := range logs {
		l := &logs[i]
		k := key{l.Time, facts.At(l.TraceID, l.SpanID), l.Service, l.Instance, l.Body}
		if seen[k] || l.TraceID.IsZero() && l.RequestID == "" {
			continue
		}
		seen[k] = true
		out = append(out, *l)
	}
	slices.SortStableFunc(out, func(a, b signal.Log) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.Service, b.Service), strings.Compare(a.Body, b.Body))
	})
	return out
}
