package check

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/bench/load"
)

// Result is what a comparison found. Traces whose answer was incomplete or failed count as faults, too.
type Result struct {
	Traces, Spans, Logs int // acknowledged, and compared
	Missing             int // items that are not shown
	Doubled             int // items that are shown more than once
	Different           int // items that are not shown as they were sent
	Foreign             int // items that nobody sent, or that nobody acknowledged
	Unanswered          int // traces
	Examples            []string
}

// Faults is how many things are wrong. An item that was sent and never acknowledged may be there: Foreign is none.
func (r *Result) Faults() int { return r.Missing + r.Doubled + r.Different + r.Unanswered }

func (r Result) String() string {
	out := fmt.Sprintf("%d traces, %d spans and %d log records acknowledged: %d missing, %d doubled, %d different, %d traces without an answer; %d items not acknowledged but there",
		r.Traces, r.Spans, r.Logs, r.Missing, r.Doubled, r.Different, r.Unanswered, r.Foreign)
	for _, example := range r.Examples {
		out += "\n  " + example
	}
	return out
}

const (
	askers      = 4
	maxExamples = 12
	again       = 100 * time.Millisecond
)

// Checker compares one model's traces with what an API shows.
type Checker struct {
	API   *API
	Model *load.Model
	// Until is when a trace must be whole; before it, one that is not is asked for again.
	Until time.Time
}

// Run compares all traces.
func (c *Checker) Run(ctx context.Context, traces []Trace) (Result, error) {
	var mu sync.Mutex
	var total Result
	group, ctx := errgroup.WithContext(ctx)
	for asker := range askers {
		group.Go(func() error {
			encoder := c.Model.NewEncoder()
			for i := asker; i < len(traces); i += askers {
				one, err := c.trace(ctx, encoder, &traces[i])
				if err != nil {
					return err
				}
				mu.Lock()
				total.add(&one)
				mu.Unlock()
			}
			return nil
		})
	}
	err := group.Wait()
	return total, err
}

func (r *Result) add(o *Result) {
	r.Traces, r.Spans, r.Logs = r.Traces+o.Traces, r.Spans+o.Spans, r.Logs+o.Logs
	r.Missing, r.Doubled, r.Different = r.Missing+o.Missing, r.Doubled+o.Doubled, r.Different+o.Different
	r.Foreign, r.Unanswered = r.Foreign+o.Foreign, r.Unanswered+o.Unanswered
	r.Examples = append(r.Examples, o.Examples[:min(len(o.Examples), maxExamples-len(r.Examples))]...)
}

// trace compares one trace, again and again until it is right or it is time.
func (c *Checker) trace(ctx context.Context, e *load.Encoder, t *Trace) (Result, error) {
	spans, err := t.items(e, load.Spans)
	if err != nil {
		return Result{}, err
	}
	logs, err := t.items(e, load.Logs)
	if err != nil {
		return Result{}, err
	}
	id, _ := c.Model.IDs(t.Number)
	for {
		r := Result{Traces: 1, Spans: len(spans), Logs: len(logs)}
		story, err := c.API.Story(ctx, id)
		switch {
		case ctx.Err() != nil:
			return r, ctx.Err()
		case err != nil:
			r.Unanswered++
			r.say("trace %s: %v", id, err)
		case len(story.Incomplete) > 0:
			r.Unanswered++
			r.say("trace %s: %v", id, story.Incomplete)
		default:
			r.compare("trace "+id+": span", spans, lines(story.Spans, func(s *Span) (string, string) { return s.SpanID, shownSpan(s) }))
			r.compare("trace "+id+": record", logs, lines(story.Logs, func(l *Record) (string, string) { return l.SpanID, shownRecord(l) }))
		}
		if r.Faults() == 0 || time.Now().After(c.Until) {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(again):
		}
	}
}

func (r *Result) say(format string, args ...any) {
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

// lines are shown items by the ID of their span.
func lines[T any](items []T, line func(*T) (id, text string)) map[string][]string {
	out := map[string][]string{}
	for i := range items {
		id, text := line(&items[i])
		out[id] = append(out[id], text)
	}
	return out
}

func (r *Result) compare(what string, sent map[string]string, shown map[string][]string) {
	for id, want := range sent {
		switch got := shown[id]; {
		case len(got) == 0:
			r.Missing++
			r.say("%s missing: %s", what, want)
		case len(got) > 1:
			r.Doubled++
			r.say("%s %d times: %s", what, len(got), want)
		case got[0] != want:
			r.Different++
			r.say("%s different:\n    sent  %s\n    shown %s", what, want, got[0])
		}
	}
	for id, got := range shown {
		if _, ok := sent[id]; !ok {
			r.Foreign += len(got)
		}
	}
}
