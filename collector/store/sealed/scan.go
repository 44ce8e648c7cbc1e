package sealed

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"slices"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
)

// ScanSpans calls fn with the spans that a query wants, until it says no.
func (f *File) ScanSpans(ctx context.Context, q *search.Compiled, fn func(*signal.Span) bool) (search.Cost, error) {
	return scan(ctx, f, &scanner[signal.Span]{kind: rows.Spans, when: rows.ColStart, row: (*rows.Reader).Span, q: q, fn: fn})
}

// ScanLogs calls fn with the log records that a query wants, until it says no.
func (f *File) ScanLogs(ctx context.Context, q *search.Compiled, fn func(*signal.Log) bool) (search.Cost, error) {
	return scan(ctx, f, &scanner[signal.Log]{kind: rows.Logs, when: rows.ColTime, row: (*rows.Reader).Log, q: q, fn: fn})
}

// scanner reads the columns that a query asks about, block by block, and the others only where rows are left. It holds a
// page of each column, and of the newest that are wanted where they are.
type scanner[T any] struct {
	*rows.Reader
	kind    rows.Signal
	when    string // the column of time
	row     func(*rows.Reader, int) (T, error)
	q       *search.Compiled
	fn      func(*T) bool
	filters []*filter
	slow    []*search.Matcher
	left    []int // rows of the block that are wanted so far
	newest  newest
	read    search.Cost
	done    bool
}

// excludes says that a file has nothing that the query wants, by its summary.
func (s *Summary) excludes(q *search.Compiled) bool {
	if s.Rows == 0 || q.From != 0 && q.From > s.Last || q.To != 0 && q.To <= s.First {
		return true
	}
	if len(q.Services) == 0 || s.Services == nil || slices.Contains(q.Services, "") {
		return false
	}
	return !slices.ContainsFunc(q.Services, func(name string) bool {
		_, ok := slices.BinarySearch(s.Services, name)
		return ok
	})
}

func scan[T any](ctx context.Context, f *File, s *scanner[T]) (search.Cost, error) {
	if f.excludes(s.q) {
		return search.Cost{}, nil
	}
	var err error
	if s.Reader, err = f.reader(s.kind); err != nil {
		return search.Cost{}, err
	}
	defer s.Release()
	var none bool
	if s.filters, s.slow, none = filtersOf(s.Reader, s.q); !none {
		for g := len(s.Groups) - 1; g >= 0 && err == nil && !s.done; g-- {
			group := g
			if !s.q.Newest { // the newest rows are most likely in the last group
				group = len(s.Groups) - 1 - g
			}
			err = s.scanGroup(ctx, group)
		}
		if err == nil && s.q.Newest {
			err = s.showNewest()
		}
	}
	s.read.Bytes += s.Bytes
	return s.read, err
}

// lost counts rows that cannot be read; another error is returned.
func (s *scanner[T]) lost(err error, rows int) error {
	if errors.Is(err, ErrDamaged) {
		s.read.Damaged += int64(rows)
		return nil
	}
	return err
}

func (s *scanner[T]) scanGroup(ctx context.Context, group int) error {
	g := &s.Groups[group]
	s.Group = group
	for _, f := range s.filters {
		if out, err := f.excludes(s.Reader, group); err != nil {
			return s.lost(err, g.Rows)
		} else if out {
			return nil
		}
	}
	if s.newest.full(s.q.Limit) && s.tooOld(g) {
		return nil
	}
	s.read.Groups++
	// What is cheap to read goes first: it may spare the rest.
	slices.SortStableFunc(s.filters, func(a, b *filter) int { return cmp.Compare(g.Chunks[a.col].Size, g.Chunks[b.col].Size) })
	for first := 0; first < g.Rows && !s.done; first += column.Block {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.scanBlock(first, min(first+column.Block, g.Rows)); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner[T]) tooOld(g *column.Group) bool {
	k := &g.Chunks[s.Column(s.when)]
	return k.Max != nil && column.Compare(column.Time, k.Max, number(s.newest.items[0].time)) <= 0
}

func (s *scanner[T]) scanBlock(first, end int) error {
	s.left = s.left[:0]
	for row := first; row < end; row++ {
		s.left = append(s.left, row)
	}
	for _, f := range s.filters {
		if err := s.apply(f); err != nil {
			return err
		}
		if len(s.left) == 0 {
			return nil
		}
	}
	s.read.Blocks++
	for _, row := range s.left {
		if err := s.take(row); err != nil || s.done {
			return err
		}
	}
	return nil
}

// apply keeps the rows that a filter wants. Pages that cannot hold one are not read.
func (s *scanner[T]) apply(f *filter) error {
	bounds, firsts, err := s.boundsOf(f)
	if err != nil {
		return err
	}
	kept := s.left[:0]
	for i := 0; i < len(s.left); {
		n, _ := slices.BinarySearch(firsts, s.left[i]+1)
		n-- // the page
		end := len(s.left)
		if n+1 < len(firsts) {
			end, _ = slices.BinarySearch(s.left, firsts[n+1])
		}
		rows := s.left[i:end]
		i = end
		if bounds != nil && (bounds.Null[n] || f.beside(s.Columns[f.col].Kind, bounds.Min[n], bounds.Max[n])) {
			continue
		}
		p, err := s.Page(s.Group, f.col, rows[0])
		if err != nil {
			if err := s.lost(err, len(rows)); err != nil {
				return err
			}
			continue
		}
		for _, row := range rows {
			wanted := f.rest != nil && p.At(row) < 0 && s.elsewhere(f, row) || (f.rest == nil || p.At(row) >= 0) && f.wants(p, row)
			if s.Err != nil {
				if err := s.lost(s.Reader.Take(), 1); err != nil {
					return err
				}
			} else if wanted {
				kept = append(kept, row)
			}
		}
	}
	s.left = kept
	return nil
}

// elsewhere asks the attributes column for a value that is not in the attribute's own.
func (s *scanner[T]) elsewhere(f *filter, row int) bool {
	v, place, ok := s.Value(s.Column(rows.ColAttributes), row)
	if !ok {
		return f.rest.Absent
	}
	return mapTest{s.Reader, rows.ColAttributes, f.rest}.wants(v, place)
}

func (s *scanner[T]) boundsOf(f *filter) (b *column.Bounds, firsts []int, err error) {
	if firsts, err = s.Firsts(s.Group, f.col); err != nil {
		return nil, nil, err
	}
	if f.low != nil || f.high != nil {
		b, err = s.Reader.Bounds(s.Group, f.col)
	}
	return b, firsts, err
}

// take shows a row, or notes it as one of the newest.
func (s *scanner[T]) take(row int) error {
	if len(s.slow) > 0 {
		attrs := s.Attributes(row, s.Request(row, s.Trace(row)))
		if err := s.Reader.Take(); err != nil {
			return s.lost(err, 1)
		}
		for _, m := range s.slow {
			if !m.Wants(attrs[m.Key]) {
				return nil
			}
		}
	}
	if s.q.Newest {
		time := s.Int(s.when, row)
		if err := s.Reader.Take(); err != nil {
			return s.lost(err, 1)
		}
		s.newest.add(place{time, s.Group, row}, s.q.Limit)
		return nil
	}
	item, err := s.row(s.Reader, row)
	if err != nil {
		return s.lost(err, 1)
	}
	s.read.Rows++
	s.done = !s.fn(&item) || s.q.Limit > 0 && s.read.Rows >= int64(s.q.Limit)
	return nil
}

// showNewest reads the newest rows in the order in which they lie, and shows them newest first.
func (s *scanner[T]) showNewest() error {
	places := s.newest.items
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.row, b.row)) })
	type found struct {
		place
		item T
	}
	var all []found
	for _, p := range places {
		s.Group = p.group
		item, err := s.row(s.Reader, p.row)
		if err != nil {
			if err := s.lost(err, 1); err != nil {
				return err
			}
			continue
		}
		all = append(all, found{p, item})
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.time, a.time) })
	for i := range all {
		s.read.Rows++
		if !s.fn(&all[i].item) {
			break
		}
	}
	return nil
}

// place is where a row is.
type place struct {
	time       int64
	group, row int
}

// newest keeps the newest rows, the oldest of them on top.
type newest struct{ items []place }

func (n *newest) Len() int           { return len(n.items) }
func (n *newest) Less(i, j int) bool { return n.items[i].time < n.items[j].time }
func (n *newest) Swap(i, j int)      { n.items[i], n.items[j] = n.items[j], n.items[i] }
func (n *newest) Push(x any)         { n.items = append(n.items, x.(place)) }
func (n *newest) Pop() any {
	last := n.items[len(n.items)-1]
	n.items = n.items[:len(n.items)-1]
	return last
}

func (n *newest) full(limit int) bool { return limit > 0 && len(n.items) >= limit }

func (n *newest) add(p place, limit int) {
	if n.full(limit) {
		if p.time <= n.items[0].time {
			return
		}
		n.items[0] = p
		heap.Fix(n, 0)
		return
	}
	heap.Push(n, p)
}
