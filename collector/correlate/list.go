package correlate

import (
	"math"
	"slices"
)

// listing is a walk for the exchanges that match a filter, newest first. It goes on where it left off, so that others
// have their turn in between. It meets no group twice; one that is touched meanwhile, and was further on, it may miss.
type listing struct {
	filter Filter
	limit  int
	best   []Exchange
	oldest int64 // when the oldest of the best began, once there are enough
	rows   []row
	begun  bool
	at     *group
	order  uint64 // at's, when the walk left off there
}

func newListing(f Filter) *listing {
	l := &listing{filter: f, limit: f.Limit, best: []Exchange{}, oldest: math.MinInt64}
	if l.limit <= 0 {
		l.limit = math.MaxInt / 2
	}
	return l
}

// list walks on over so many groups, from the most recently placed one, and reports whether there are more. It stops when
// what is left was last touched before the oldest exchange it would return had begun. A lone call to a database is no
// request; it is still found by its ID.
func (j *join) list(l *listing, groups int) (more bool) {
	g := j.resume(l)
	for ; g != nil && g.placed+placedFor >= l.oldest; g = g.next {
		if groups == 0 {
			l.at, l.order = g, g.order
			return true
		}
		groups--
		l.rows = g.rows(l.rows[:0])
		for i := range l.rows {
			l.offer(&l.rows[i])
		}
	}
	return false
}

// resume is the group where the walk left off or, if it was touched or forgotten since, the first that was placed before.
func (j *join) resume(l *listing) *group {
	if !l.begun {
		l.begun = true
		return j.head
	}
	if l.at.order == l.order {
		return l.at
	}
	g := j.head
	for g != nil && g.order > l.order {
		g = g.next
	}
	return g
}

func (l *listing) offer(r *row) {
	if r.head.noRequest || r.head.start < l.oldest || !r.matches(&l.filter) {
		return
	}
	if l.best = append(l.best, r.exchange()); len(l.best) >= 2*l.limit {
		l.prune()
	}
	if len(l.best) == l.limit && l.oldest == math.MinInt64 {
		l.prune()
	}
}

// prune keeps the newest.
func (l *listing) prune() {
	slices.SortFunc(l.best, newestFirst)
	l.best = l.best[:min(len(l.best), l.limit)]
	if len(l.best) == l.limit {
		l.oldest = l.best[l.limit-1].Start
	}
}
