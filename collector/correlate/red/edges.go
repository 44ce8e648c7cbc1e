package red

import (
	"strings"
	"time"

	"weft/collector/correlate/intern"
	"weft/internal/semconv"
)

// edgeTo is what a service calls, and how.
type edgeTo struct {
	server string
	as     connection
}

// connection is Tempo's connection_type.
type connection uint8

const (
	direct connection = iota
	toDatabase
	toQueue
	asUser // the caller is outside of what is traced
)

func (c connection) String() string {
	return [...]string{"", "database", "messaging_system", "virtual_node"}[c]
}

type edge struct {
	failed  uint64
	seconds histogram
	queried bool // a service's own client spans name this database: TCP connections to it count no more
	labels  []Label
	series  *histogramSeries
	touched int64
	written bool
}

// edge counts a call, and is its edge; nil when a side has no name. The server's name may be a view.
func (g *graph) edge(now int64, from *service, to edgeTo, m *measured) *edge {
	if from.name == "" || to.server == "" {
		return nil
	}
	one := from.edges[to]
	if one == nil {
		one = g.find(now, from, to)
	}
	one.touched = now
	if m.replayed {
		return one
	}
	if m.failed {
		one.failed++
	}
	one.seconds.observe(m.took, &m.at)
	return one
}

// find is the edge of a server that is not known as it is: a new one or, beyond a bound, that to "_other".
func (g *graph) find(now int64, from *service, to edgeTo) *edge {
	to.server = intern.Cut(to.server)
	if from == g.m.services.other {
		to.server = other
	}
	if one := from.edges[to]; one != nil {
		return one
	}
	limit := g.cfg.ServiceEdges
	if from == g.users {
		limit = g.cfg.Edges // their servers are services, which have a bound of their own
	}
	if to.server != other && (len(from.edges) >= limit || g.edges >= g.cfg.Edges) {
		g.m.services.overflowed(now, from, ofServer, to.server)
		to.server = other
		if one := from.edges[to]; one != nil {
			return one
		}
	}
	return g.add(from, to)
}

func (g *graph) add(from *service, to edgeTo) *edge {
	to.server = strings.Clone(to.server)
	labels := []Label{{"client", from.name}, {"server", to.server}}
	if to.as != direct {
		labels = with(labels, Label{"connection_type", to.as.String()})
	}
	one := &edge{labels: labels, series: newHistogramSeries(semconv.ServiceGraphServer, labels)}
	from.edges[to] = one
	g.edges++
	return one
}

func (g *graph) flush(now time.Time, out []Series) []Series {
	at := now.UnixMilli()
	for _, from := range append(g.m.services.all(), g.users) {
		for to, one := range from.edges {
			if now.UnixNano()-one.touched > int64(idleFor) {
				delete(from.edges, to)
				g.edges--
				continue
			}
			if !one.written {
				one.written = true
				zero := g.flushes.zeroAt(at)
				out = one.series.zero(zero, append(out,
					Series{Name: semconv.ServiceGraphRequests, Labels: one.labels, Time: zero},
					Series{Name: semconv.ServiceGraphFailed, Labels: one.labels, Time: zero}))
			}
			out = append(out,
				Series{Name: semconv.ServiceGraphRequests, Labels: one.labels, Value: float64(one.seconds.total()), Time: at},
				Series{Name: semconv.ServiceGraphFailed, Labels: one.labels, Value: float64(one.failed), Time: at})
			out = one.series.flush(&one.seconds, at, out)
		}
	}
	g.flushes.last = at
	return out
}
