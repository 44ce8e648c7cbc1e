package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"weft/collector/signal"
)

// Bounds of one question. Every ID that a signal names is followed, as far as these.
const (
	maxTraces = 32
	maxIDs    = 32
	maxRounds = 4
	parallel  = 16
)

// gathered follows IDs through the stores: an ID leads to traces and logs, which name further IDs.
type gathered struct {
	api    *api
	traces map[signal.TraceID]bool // true once asked for
	ids    map[string]bool
	full   bool // more was named than is followed

	mu         sync.Mutex
	spans      []signal.Span
	logs       []signal.Log
	found      []signal.TraceID
	asked      int
	incomplete []string        // stores that could not say all, and why
	truncated  bool            // because a bound of ours was reached
	silent     int             // stores that said nothing
	group      *errgroup.Group // of this round
}

// gather asks the stores in parallel, round by round, until nothing new is named. It fails when no store answered.
func (a *api) gather(ctx context.Context, id string) (*gathered, error) {
	s := &gathered{api: a, traces: map[signal.TraceID]bool{}, ids: map[string]bool{}}
	s.followID(id)
	if trace, ok := signal.ParseTraceID(id); ok {
		s.followTrace(trace)
	}
	for _, e := range a.Exchanges.Find(id) {
		for _, trace := range e.TraceIDs {
			s.followTrace(trace)
		}
	}
	for range maxRounds {
		if !s.round(ctx) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.silent == s.asked {
		return nil, errors.New(s.incomplete[0])
	}
	if s.full {
		s.truncated = true
		s.incomplete = append(s.incomplete, fmt.Sprintf("only %d traces and %d request IDs were followed", maxTraces, maxIDs))
	}
	slices.Sort(s.incomplete)
	s.incomplete = slices.Compact(s.incomplete)
	return s, nil
}

// round asks for all that is named and not yet asked for, and is false when that is nothing.
func (s *gathered) round(ctx context.Context) bool {
	s.group = &errgroup.Group{}
	s.group.SetLimit(parallel)
	before, spans, logs := s.asked, len(s.spans), len(s.logs)
	for trace, asked := range s.traces {
		if !asked {
			s.traces[trace] = true
			ask(s, "spans", &s.spans, func() ([]signal.Span, error) { return s.api.Spans.ByTrace(ctx, trace) })
			ask(s, "logs", &s.logs, func() ([]signal.Log, error) { return s.api.Logs.ByTrace(ctx, trace) })
		}
	}
	for id, asked := range s.ids {
		if !asked {
			s.ids[id] = true
			ask(s, "spans", &s.found, func() ([]signal.TraceID, error) { return s.api.Spans.TracesOf(ctx, id) })
			ask(s, "logs", &s.logs, func() ([]signal.Log, error) { return s.api.Logs.ByRequest(ctx, id) })
		}
	}
	_ = s.group.Wait() // what failed is in incomplete
	for i := range s.spans[spans:] {
		s.followID(s.spans[spans+i].RequestID)
	}
	for i := range s.logs[logs:] {
		s.followID(s.logs[logs+i].RequestID)
		s.followTrace(s.logs[logs+i].TraceID)
	}
	for _, trace := range s.found {
		s.followTrace(trace)
	}
	return s.asked > before
}

// ask puts one question to a store. What it has is kept even if it could not say all.
func ask[T any](s *gathered, store string, into *[]T, question func() ([]T, error)) {
	s.asked++
	s.group.Go(func() error {
		items, err := question()
		s.mu.Lock()
		defer s.mu.Unlock()
		*into = append(*into, items...)
		if err != nil {
			s.incomplete = append(s.incomplete, store+": "+err.Error())
			s.truncated = s.truncated || errors.Is(err, signal.ErrTruncated)
			if len(items) == 0 {
				s.silent++
			}
		}
		return nil
	})
}

func (s *gathered) followTrace(trace signal.TraceID) {
	if _, known := s.traces[trace]; known || trace.IsZero() {
		return
	}
	if len(s.traces) >= maxTraces {
		s.full = true
		return
	}
	s.traces[trace] = false
}

func (s *gathered) followID(id string) {
	if _, known := s.ids[id]; known || id == "" {
		return
	}
	if len(s.ids) >= maxIDs {
		s.full = true
		return
	}
	s.ids[id] = false
}
