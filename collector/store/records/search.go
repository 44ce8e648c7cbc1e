package records

import (
	"cmp"
	"context"
	"slices"
	"time"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/sealed"
	"weft/collector/store/segment"
	"weft/collector/store/segment/manifest"
)

// Search is one search of a log. T is signal.Span or signal.Log.
type Search[T any] struct {
	Query *search.Compiled
	// Time is an item's place in the order of answers, and Same tells two copies of one item.
	Time func(*T) int64
	Same func(*T) string
	// Walk calls fn with every item of a batch; Match says whether the query wants it.
	Walk  func(batch []byte, fn func(*T)) error
	Match func(*T) bool
	// Scan asks a file.
	Scan func(context.Context, *sealed.File, *search.Compiled, func(*T) bool) (search.Cost, error)
}

// Run returns the newest items that the query wants, newest first, each once, as many as its limit says; all of them, up to
// segment.MaxItems and then signal.ErrTruncated, when it has none.
func (s *Search[T]) Run(ctx context.Context, log *Log) (items []T, read search.Cost, err error) {
	view := log.View()
	defer view.Release()
	top := newest[T]{search: s, limit: s.Query.Limit, seen: map[string]bool{}}
	err = view.EachUnsealed(ctx, func(_ time.Time, batch []byte) error {
		read.Batches++
		read.Bytes += int64(len(batch))
		return s.Walk(batch, func(item *T) {
			if s.Match(item) {
				top.add(item)
			}
		})
	})
	if err != nil {
		return nil, read, err
	}
	err = view.EachSegment(ctx, func(m *manifest.Summary) bool { return s.mayHold(m) && top.wants(m.Last) }, func(f *sealed.File) error {
		read.Segments++
		part, err := s.Scan(ctx, f, s.Query, func(item *T) bool {
			top.add(item)
			return !top.tooMany()
		})
		read.Add(part)
		return err
	})
	items = top.sorted()
	if err == nil && top.tooMany() {
		err = signal.ErrTruncated
	}
	return items, read, err
}

// mayHold passes over segments by their summary alone.
func (s *Search[T]) mayHold(m *manifest.Summary) bool {
	q := s.Query
	if q.From != 0 && m.Last < q.From || q.To != 0 && m.First >= q.To {
		return false
	}
	return len(q.Services) == 0 || m.Services == nil ||
		slices.ContainsFunc(q.Services, func(name string) bool { return slices.Contains(m.Services, name) })
}

// newest keeps the newest items, each once.
type newest[T any] struct {
	search *Search[T]
	limit  int
	items  []T
	seen   map[string]bool
	oldest int64 // of the items kept, once there are limit of them
	full   bool
}

func (n *newest[T]) add(item *T) {
	at := n.search.Time(item)
	if n.full && at < n.oldest {
		return
	}
	if id := n.search.Same(item); !n.seen[id] {
		n.seen[id] = true
		n.items = append(n.items, *item)
	}
	if n.limit > 0 && len(n.items) >= 2*n.limit {
		n.trim()
	}
}

func (n *newest[T]) trim() {
	slices.SortStableFunc(n.items, func(a, b T) int { return cmp.Compare(n.search.Time(&b), n.search.Time(&a)) })
	for i := n.limit; i < len(n.items); i++ {
		delete(n.seen, n.search.Same(&n.items[i]))
	}
	clear(n.items[n.limit:])
	n.items = n.items[:n.limit]
	n.oldest, n.full = n.search.Time(&n.items[n.limit-1]), true
}

// wants says whether a segment whose latest item ended at last can still matter: whatever began before has ended by then.
func (n *newest[T]) wants(last int64) bool {
	if n.limit > 0 && len(n.items) > n.limit {
		n.trim()
	}
	return !n.full || last >= n.oldest
}

func (n *newest[T]) tooMany() bool { return n.limit == 0 && len(n.items) > segment.MaxItems }

func (n *newest[T]) sorted() []T {
	if n.limit > 0 && len(n.items) > n.limit {
		n.trim()
	}
	slices.SortStableFunc(n.items, func(a, b T) int { return cmp.Compare(n.search.Time(&b), n.search.Time(&a)) })
	return n.items
}
