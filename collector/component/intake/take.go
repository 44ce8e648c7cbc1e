package intake

import (
	"context"
	"sync"
	"time"

	"weft/collector/correlate"
	"weft/collector/correlate/facts"
	"weft/collector/store/key"
	"weft/internal/otlp"
)

// appender is a store of one signal.
type appender interface {
	AppendRaw(ctx context.Context, batch []byte, keys []key.Key, items int) error
}

// way is one signal's: what the signals share. F is facts.Span or facts.Log.
type way[F any] struct {
	store appender
	// walk shows the look every item of the batch.
	walk func(batch []byte, l *look[F]) error
	// correlate counts and joins what is stored.
	correlate func(now time.Time, items []F)
	ids       *key.IDs
	looks     sync.Pool
}

// look is what one walk of a batch finds. Text in facts is a view into the batch.
type look[F any] struct {
	admission otlp.Admission
	facts     []F
	keys      []key.Key
	ids       *key.IDs
}

func newWay[F any](store appender, walk func([]byte, *look[F]) error, correlate func(time.Time, []F)) *way[F] {
	w := &way[F]{store: store, walk: walk, correlate: correlate, ids: key.NewIDs()}
	w.looks.New = func() any { return &look[F]{ids: w.ids} }
	return w
}

func newTraces(store appender, c *correlate.Correlator) *way[facts.Span] {
	return newWay(store, func(batch []byte, l *look[facts.Span]) error {
		return otlp.Spans(batch, func(s *otlp.Span) error {
			if l.admission.Span(s) {
				l.keys = l.ids.AppendSpan(l.keys, s)
				l.facts = append(l.facts, facts.Span{})
				facts.ReadWire(s, &l.facts[len(l.facts)-1])
			}
			return nil
		})
	}, func(now time.Time, spans []facts.Span) { c.Spans(now, spans) })
}

func newLogs(store appender, c *correlate.Correlator) *way[facts.Log] {
	return newWay(store, func(batch []byte, l *look[facts.Log]) error {
		return otlp.Logs(batch, func(r *otlp.Log) error {
			if l.admission.Log(r) {
				l.keys = l.ids.AppendLog(l.keys, r)
				l.facts = append(l.facts, facts.Log{})
				facts.ReadLogWire(r, &l.facts[len(l.facts)-1])
			}
			return nil
		})
	}, c.Logs)
}

func (w *way[F]) take(ctx context.Context, batch []byte) (otlp.Rejected, error) {
	l := w.looks.Get().(*look[F])
	defer w.looks.Put(l)
	l.admission, l.facts, l.keys = otlp.Admission{}, l.facts[:0], l.keys[:0]
	if err := w.walk(batch, l); err != nil {
		return otlp.Rejected{}, err
	}
	defer clear(l.facts) // no view outlives its batch
	kept, items, rejected := l.admission.Result(batch)
	if items == 0 {
		return rejected, nil
	}
	if err := w.store.AppendRaw(ctx, kept, l.keys, items); err != nil {
		return otlp.Rejected{}, err
	}
	w.correlate(time.Now(), l.facts)
	return rejected, nil
}
