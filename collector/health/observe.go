package health

import (
	"slices"
	"time"

	"weft/internal/sample"
)

const (
	// maxAge is the age at which a report no longer judges, and the longest gap between two reports of which the
	// difference does.
	maxAge = 10 * time.Second
	// A reporter not heard for this long is silent; proxies report four times a second.
	silence = 2 * time.Second
	// heardWithin is more patient: it asks whether a reporter is there at all.
	heardWithin = 5 * time.Second
	maxSamples  = 4096 // in one report
)

// reporter is one proxy and what it had counted by its newest report.
type reporter struct {
	name     string
	epoch    uint64
	sequence uint64
	read     time.Time // when the newest counters were read
	cells    map[cellKey]*cell
	outbound []*cell // the cells of endpoints it calls, by endpoint
}

type cellKey struct {
	endpoint sample.Key
	witness  bool
}

// cell is one reporter's view of one endpoint.
type cell struct {
	reporter *reporter
	endpoint *endpoint
	last     sample.Counts // cumulative, of the newest report
	latency  sample.Sketch // the same
	failed   []string      // request IDs, newest first
	open     bool          // its local breaker
	read     time.Time
	ring     ring
	weight   float64 // 0 to 1, its influence
}

// Observe takes one report. Counters are cumulative, so a lost report costs nothing, one that comes twice or late is
// recognised by its sequence, and a restarted reporter by its epoch. The engine keeps the report's slices and maps.
func (e *Engine) Observe(now time.Time, report sample.Report) {
	e.start(now)
	e.stats.Reports++
	if report.Age > maxAge || report.Age < 0 {
		e.stats.Stale++
		return
	}
	r, continuous := e.reporterOf(now, report)
	if r == nil {
		return
	}
	r.epoch, r.sequence, r.read = report.Epoch, report.Sequence, now.Add(-report.Age)
	if len(report.Samples) > maxSamples {
		e.stats.Refused += uint64(len(report.Samples) - maxSamples)
		report.Samples = report.Samples[:maxSamples]
	}
	for _, s := range report.Samples {
		e.observe(r, s, continuous)
	}
}

// reporterOf finds the reporter and tells whether the report continues what is known: then what it has more than the
// report before is new, else its counters are only a point to count from. nil when the report says nothing new.
func (e *Engine) reporterOf(now time.Time, report sample.Report) (r *reporter, continuous bool) {
	read := now.Add(-report.Age)
	// A process counts from zero, so the first report of one that has just begun is all new.
	begun := report.Sequence <= 40 && read.Sub(time.Unix(0, int64(report.Epoch))).Abs() <= maxAge
	r = e.reporters[report.Reporter]
	switch {
	case r == nil:
		if len(e.reporters) >= maxReporters {
			e.stats.Refused++
			return nil, false
		}
		r = &reporter{name: report.Reporter, cells: map[cellKey]*cell{}}
		e.reporters[report.Reporter] = r
		return r, begun
	case report.Epoch < r.epoch:
		e.stats.Stale++
		return nil, false
	case report.Epoch > r.epoch:
		e.restarted(now, r)
		return r, begun || read.Sub(r.read) <= maxAge
	case report.Sequence <= r.sequence:
		e.stats.Duplicate++
		return nil, false
	}
	return r, read.Sub(r.read) <= maxAge
}

// restarted: the new process counts from zero. If it is the sidecar of an ejected endpoint, that endpoint is new too.
func (e *Engine) restarted(now time.Time, r *reporter) {
	for _, c := range r.cells {
		c.last, c.latency, c.open = sample.Counts{}, nil, false
	}
	for _, ep := range e.endpoints {
		if ep.registered && ep.key.String() == r.name {
			e.cameBack(now, ep)
		}
	}
}

// observe adds what one sample has more than the one before.
func (e *Engine) observe(r *reporter, s sample.Sample, continuous bool) {
	c := e.cell(r, s)
	if c == nil {
		e.stats.Refused++
		return
	}
	ep := c.endpoint
	ep.lastReport = r.read
	delta, restarted := difference(s.FirstAttempts, c.last)
	earlier := c.latency
	if restarted {
		earlier = nil
	}
	c.last, c.latency, c.open, c.read = s.FirstAttempts, s.Latency, s.LocallyOpen, r.read
	if !continuous {
		return
	}
	slot := slotOf(r.read)
	d := counts{
		ok: clip(delta[sample.OK]), failed: clip(delta.Failures()), downstream: clip(delta[sample.Downstream]),
		slow: ep.addLatency(slot, s.Latency, earlier, !s.Witness),
	}
	d.slow = min(d.slow, d.attempts())
	if d == (counts{}) {
		return
	}
	if d.failed+d.downstream > 0 {
		c.failed = s.FailedIDs
	}
	c.ring.add(slot, d)
	if !s.Witness {
		ep.total.add(slot, d)
		ep.lastAttempt = latest(ep.lastAttempt, r.read)
		ep.seen.attempts += uint64(d.attempts())
		ep.seen.failed += uint64(d.failed)
		ep.seen.slow += uint64(d.slow)
	}
}

// clip keeps what a broken reporter claims within a window's range.
func clip(n uint64) uint32 { return uint32(min(n, 1_000_000)) }

// difference is now − earlier; if any counter went backwards, the reporter began anew with this endpoint.
func difference(now, earlier sample.Counts) (d sample.Counts, restarted bool) {
	for i := range now {
		if now[i] < earlier[i] {
			return now, true
		}
		d[i] = now[i] - earlier[i]
	}
	return d, false
}

// addLatency counts the responses in now that were not in earlier, and returns how many of them were slow.
func (ep *endpoint) addLatency(slot int64, now, earlier sample.Sketch, keep bool) (slow uint32) {
	for bucket, n := range now {
		if before := earlier[bucket]; n > before {
			n -= before
		} else {
			continue
		}
		if keep {
			if ep.latency == nil {
				ep.latency = &latencies{}
			}
			ep.latency.add(slot, bucket, n)
		}
		if bucket > ep.slow {
			slow += clip(n)
		}
	}
	return slow
}

// cell finds or adds a reporter's view. Only an endpoint's own sidecar is its witness, and it is not its caller.
func (e *Engine) cell(r *reporter, s sample.Sample) *cell {
	own := r.name == s.Endpoint.String()
	if own != s.Witness {
		return nil
	}
	key := cellKey{s.Endpoint, s.Witness}
	if c := r.cells[key]; c != nil {
		return c
	}
	ep := e.endpoint(s.Endpoint, false)
	if ep == nil || len(r.cells) >= maxSamples {
		return nil
	}
	c := &cell{reporter: r, endpoint: ep, weight: 1}
	r.cells[key] = c
	if s.Witness {
		ep.witness = c
		return c
	}
	at, _ := slices.BinarySearchFunc(ep.callers, r.name, func(c *cell, name string) int { return compareNames(c.reporter.name, name) })
	ep.callers = slices.Insert(ep.callers, at, c)
	at, _ = slices.BinarySearchFunc(r.outbound, ep.key, func(c *cell, key sample.Key) int { return compareKeys(c.endpoint.key, key) })
	r.outbound = slices.Insert(r.outbound, at, c)
	return c
}

func compareNames(a, b string) int {
	if a < b {
		return -1
	} else if a > b {
		return 1
	}
	return 0
}

func (ep *endpoint) drop(c *cell) {
	if ep.witness == c {
		ep.witness = nil
	}
	ep.callers = slices.DeleteFunc(ep.callers, func(other *cell) bool { return other == c })
}

func (e *Engine) dropCells(ep *endpoint) {
	for _, c := range ep.callers {
		delete(c.reporter.cells, cellKey{ep.key, false})
		c.reporter.outbound = slices.DeleteFunc(c.reporter.outbound, func(other *cell) bool { return other == c })
	}
	if ep.witness != nil {
		delete(ep.witness.reporter.cells, cellKey{ep.key, true})
	}
}

// heard is the share of the registered proxies that report, the endpoint's own left out: its silence is a fact about
// the endpoint, not about our view.
func (e *Engine) heard(except sample.Key) float64 {
	own, n, heard := except.String(), 0, 0
	for _, name := range e.proxies {
		if name == own {
			continue
		}
		n++
		if r := e.reporters[name]; r != nil && e.now.Sub(r.read) <= heardWithin {
			heard++
		}
	}
	if n == 0 {
		return 0
	}
	return float64(heard) / float64(n)
}
