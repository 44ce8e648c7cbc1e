package otlp

import (
	"errors"
	"fmt"
	"strings"
)

// Rejected is what was left out of a batch whose rest is kept: OTLP's partial_success.
type Rejected struct {
	Items  int64
	Why    string // the first one's reason, with its name and service
	Reason Reason // the first one's, for a metric's label
}

// Reason is a word for why an item is rejected. There are few, so that they can be a label.
type Reason string

// The reasons to reject an item.
const (
	ReasonID         Reason = "id"         // an ID of the wrong length, or none
	ReasonAttributes Reason = "attributes" // too many inside one another, or side by side
)

// Add joins what another look at the same batch has rejected.
func (r *Rejected) Add(other Rejected) {
	if r.Items == 0 {
		r.Why, r.Reason = other.Why, other.Reason
	}
	r.Items += other.Items
}

// Admit leaves out of a batch what cannot be kept: spans and log records with a Fault, spans without trace or span ID,
// metrics whose attributes nest too deep. kept is the batch itself when nothing is wrong with it; items counts what is in it.
// ErrMalformed means that the batch as a whole cannot be read.
func Admit(signal Signal, batch []byte) (kept []byte, items int, rejected Rejected, err error) {
	var a Admission
	switch signal {
	case SignalTraces:
		err = Spans(batch, func(s *Span) error { a.Span(s); return nil })
	case SignalLogs:
		err = Logs(batch, func(l *Log) error { a.Log(l); return nil })
	default:
		return admitMetrics(batch)
	}
	if err != nil {
		return nil, 0, rejected, err
	}
	kept, items, rejected = a.Result(batch)
	return kept, items, rejected, nil
}

// Admission is Admit for whoever walks a batch anyway: it is shown every item in turn, and then says what is left. The
// zero Admission is ready for one batch.
type Admission struct {
	place    int // of the next item
	out      places
	rejected Rejected
}

// Result is the batch without what was not admitted, what it holds, and what was left out.
func (a *Admission) Result(batch []byte) (kept []byte, items int, rejected Rejected) {
	if a.rejected.Items > 0 {
		batch = without(batch, a.out.has)
	}
	return batch, a.place - int(a.rejected.Items), a.rejected
}

// places is a set of places: a bit for each, for a hostile batch has thirty million.
type places []uint64

func (p places) has(place int) bool {
	return place/64 < len(p) && p[place/64]&(1<<(place%64)) != 0
}

func (p *places) add(place int) {
	for len(*p) <= place/64 {
		*p = append(*p, 0)
	}
	(*p)[place/64] |= 1 << (place % 64)
}

// Span says whether the span is kept.
func (a *Admission) Span(s *Span) bool {
	reason, fault := s.reason, s.Fault
	if fault == "" {
		reason = ReasonID
		switch {
		case s.TraceID == [16]byte{}:
			fault = "no trace_id"
		case s.SpanID == [8]byte{}:
			fault = "no span_id"
		}
	}
	if fault == "" {
		a.place++
		return true
	}
	return a.reject(fault, reason, s.Name, s.Resource)
}

// Log says whether the log record is kept.
func (a *Admission) Log(l *Log) bool {
	if l.Fault == "" {
		a.place++
		return true
	}
	name := l.EventName
	if name == "" {
		name = l.Body.Text()
	}
	return a.reject(l.Fault, l.reason, name, l.Resource)
}

func (a *Admission) reject(fault string, reason Reason, name string, from *Resource) bool {
	if a.rejected.Items == 0 {
		why := fmt.Sprintf("%s: %q of service %q", fault, short(name), short(from.Text("service.name")))
		a.rejected = Rejected{Why: why, Reason: reason}
	}
	a.out.add(a.place)
	a.place++
	a.rejected.Items++
	return false
}

// admitMetrics knows faults of a metric as a whole: its points share the memory and the stack that they take.
func admitMetrics(batch []byte) (kept []byte, items int, rejected Rejected, err error) {
	if items, err = SignalMetrics.Items(batch); err != nil {
		return nil, 0, rejected, err
	}
	if _, err = SignalMetrics.Decoded(batch); err == nil {
		return batch, items, rejected, nil
	}
	if !errors.Is(err, errDeep) {
		return nil, 0, rejected, err
	}
	judge := func(out, raw []byte) ([]byte, bool) {
		if new(tally).add(metric, raw, 0) == nil {
			return append(out, raw...), true
		}
		var points tally
		_ = points.add(justMetric, raw, 0) // counted above
		rejected.Add(Rejected{Items: int64(points.items), Why: fmt.Sprintf("%s: metric %q", tooDeep, short(metricName(raw))), Reason: ReasonAttributes})
		return out, false
	}
	kept, _ = rewrite(nil, batch, fieldResources, func(out, resource []byte) ([]byte, bool) {
		return rewrite(out, resource, fieldScopes, func(out, scope []byte) ([]byte, bool) {
			return rewrite(out, scope, fieldItems, judge)
		})
	})
	// What is left can be a resource or a scope, and then it is the batch that is bad.
	if _, err = SignalMetrics.Decoded(kept); err != nil {
		return nil, 0, Rejected{}, err
	}
	return kept, items - int(rejected.Items), rejected, nil
}

func metricName(metric []byte) (name string) {
	_ = each(metric, 1, func(text []byte) error { name = view(text); return nil })
	return name
}

// short keeps a sender's megabyte out of an answer.
func short(text string) string {
	const most = 100
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:most], "\ufffd") + "…"
}
