package counts

import (
	"cmp"
	"math"
	"slices"
	"time"

	"weft/internal/sample"
)

const (
	// MaxAge is the age at which a report no longer judges, and the longest gap between two reports of which the
	// difference does.
	MaxAge = 10 * time.Second

	maxSamples   = 4096 // in one report
	maxEndpoints = 20_000
	maxReporters = 5_000
)

// Book is every reporter and endpoint. It has no clock.
type Book struct {
	Stats     Stats
	reporters map[string]*Reporter
	endpoints map[sample.Key]*Endpoint
}

// Stats counts what came in.
type Stats struct {
	Reports   uint64 // received
	Stale     uint64 // older than MaxAge, or of an earlier epoch: not judged
	Duplicate uint64 // seen before, or overtaken by a newer one
	Refused   uint64 // samples that claim to be another's witness, or beyond the bounds on reporters and endpoints
}

// NewBook makes an empty one.
func NewBook() *Book {
	return &Book{reporters: map[string]*Reporter{}, endpoints: map[sample.Key]*Endpoint{}}
}

// Reporter is a reporter by name, or nil.
func (b *Book) Reporter(name string) *Reporter { return b.reporters[name] }

// Endpoint finds or adds an endpoint.
func (b *Book) Endpoint(key sample.Key) *Endpoint {
	ep := b.endpoints[key]
	if ep == nil {
		ep = &Endpoint{Key: key, SlowAbove: NoLimit}
		b.endpoints[key] = ep
	}
	return ep
}

// CallersOf is the views that callers have of an endpoint; none when it is unknown.
func (b *Book) CallersOf(key sample.Key) []*Cell {
	if ep := b.endpoints[key]; ep != nil {
		return ep.Callers
	}
	return nil
}

// Observe takes one report. Counters are cumulative, so a lost report costs nothing, one that comes twice or late is
// recognised by its sequence, and a restarted reporter, which it returns, by its epoch. The book keeps the report's
// slices and maps.
func (b *Book) Observe(now time.Time, report sample.Report) (restarted *Reporter) {
	b.Stats.Reports++
	if report.Age > MaxAge || report.Age < 0 {
		b.Stats.Stale++
		return nil
	}
	r, continuous := b.reporterOf(now, report)
	if r == nil {
		return nil
	}
	if report.Epoch > r.epoch && r.epoch > 0 {
		restarted = r
	}
	r.epoch, r.sequence, r.Read = report.Epoch, report.Sequence, now.Add(-report.Age)
	if len(report.Samples) > maxSamples {
		b.Stats.Refused += uint64(len(report.Samples) - maxSamples)
		report.Samples = report.Samples[:maxSamples]
	}
	for _, s := range report.Samples {
		b.observe(r, s, continuous)
	}
	return restarted
}

// reporterOf finds the reporter and tells whether the report continues what is known: then what it has more than the
// report before is new, else its counters are only a point to count from. nil when the report says nothing new.
func (b *Book) reporterOf(now time.Time, report sample.Report) (r *Reporter, continuous bool) {
	read := now.Add(-report.Age)
	// A process counts from zero, so the first report of one that has just begun is all new.
	begun := report.Sequence <= 40 && report.Epoch <= math.MaxInt64 && read.Sub(time.Unix(0, int64(report.Epoch))).Abs() <= MaxAge
	r = b.reporters[report.Reporter]
	switch {
	case r == nil:
		if len(b.reporters) >= maxReporters {
			b.Stats.Refused++
			return nil, false
		}
		r = &Reporter{Name: report.Reporter, cells: map[cellKey]*Cell{}}
		b.reporters[report.Reporter] = r
		return r, begun
	case report.Epoch < r.epoch:
		b.Stats.Stale++
		return nil, false
	case report.Epoch > r.epoch: // the new process counts from zero
		for _, c := range r.cells {
			c.last, c.latency, c.Open = sample.Counts{}, nil, false
		}
		return r, begun || read.Sub(r.Read) <= MaxAge
	case report.Sequence <= r.sequence:
		b.Stats.Duplicate++
		return nil, false
	}
	return r, read.Sub(r.Read) <= MaxAge
}

// observe adds what one sample has more than the one before.
func (b *Book) observe(r *Reporter, s sample.Sample, continuous bool) {
	c := b.cell(r, s)
	if c == nil {
		b.Stats.Refused++
		return
	}
	ep := c.Endpoint
	ep.lastReport = r.Read
	delta, restarted := difference(s.FirstAttempts, c.last)
	earlier := c.latency
	if restarted {
		earlier = nil
	}
	c.last, c.latency, c.Open, c.read = s.FirstAttempts, s.Latency, s.LocallyOpen, r.Read
	if !continuous {
		return
	}
	slot := SlotOf(r.Read)
	d := Count{
		OK: clip(delta[sample.OK]), Failed: clip(delta.Failures()), Downstream: clip16(delta[sample.Downstream]),
		Unanswered: clip16(delta[sample.Timeout] + delta[sample.ConnectFailure]),
		Slow:       ep.addLatency(slot, s.Latency, earlier, !s.Witness),
	}
	d.Slow = uint16(min(uint32(d.Slow), d.Attempts()))
	if d == (Count{}) {
		return
	}
	if d.Failed > 0 || d.Downstream > 0 {
		c.FailedID = s.FailedIDs
	}
	c.Ring.add(slot, d)
	if !s.Witness {
		ep.count(r.Read, slot, d)
	}
}

func (ep *Endpoint) count(read time.Time, slot int64, d Count) {
	ep.Total.add(slot, d)
	if read.After(ep.LastAttempt) {
		ep.LastAttempt = read
	}
	ep.Seen.Attempts += uint64(d.Attempts())
	ep.Seen.Failed += uint64(d.Failed)
	ep.Seen.Slow += uint64(d.Slow)
}

// clip keeps what a broken reporter claims within a window's range.
func clip(n uint64) uint32 { return uint32(min(n, 1_000_000)) }

func clip16(n uint64) uint16 { return uint16(min(n, math.MaxUint16)) }

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

// cell finds or adds a reporter's view. Only an endpoint's own sidecar is its witness, and it is not its caller.
func (b *Book) cell(r *Reporter, s sample.Sample) *Cell {
	own := r.Name == s.Endpoint.String()
	if own != s.Witness {
		return nil
	}
	key := cellKey{s.Endpoint, s.Witness}
	c := r.cells[key]
	if c != nil && c.Endpoint != nil {
		return c
	}
	if c == nil && len(r.cells) >= maxSamples || b.endpoints[s.Endpoint] == nil && len(b.endpoints) >= maxEndpoints {
		return nil
	}
	if c == nil {
		c = &Cell{Reporter: r, influence: 1}
		r.cells[key] = c
	}
	c.join(b.Endpoint(s.Endpoint), s.Witness)
	return c
}

func (c *Cell) join(ep *Endpoint, witness bool) {
	c.Endpoint = ep
	if witness {
		ep.Witness = c
		return
	}
	r := c.Reporter
	at, _ := slices.BinarySearchFunc(ep.Callers, r.Name, func(c *Cell, name string) int { return cmp.Compare(c.Reporter.Name, name) })
	ep.Callers = slices.Insert(ep.Callers, at, c)
	at, _ = slices.BinarySearchFunc(r.Outbound, ep.Key, func(c *Cell, key sample.Key) int { return CompareKeys(c.Endpoint.Key, key) })
	r.Outbound = slices.Insert(r.Outbound, at, c)
}

// leave forgets what the cell saw, but not up to where it had counted: should the reporter speak of the endpoint
// again, its old counts are not new ones.
func (c *Cell) leave() {
	r := c.Reporter
	r.Outbound = slices.DeleteFunc(r.Outbound, func(other *Cell) bool { return other == c })
	c.Endpoint, c.Ring, c.FailedID, c.Open = nil, Ring{}, nil, false
}

// CompareKeys orders by service, then instance.
func CompareKeys(a, b sample.Key) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
}

// Forget drops reporters that have been silent for longer than after, and endpoints of which nothing was reported for
// as long, unless they are kept.
func (b *Book) Forget(now time.Time, after time.Duration, keep func(sample.Key) bool) {
	for name, r := range b.reporters {
		if now.Sub(r.Read) > after {
			for _, c := range r.cells {
				if c.Endpoint != nil {
					c.Endpoint.drop(c)
				}
			}
			delete(b.reporters, name)
		}
	}
	for key, ep := range b.endpoints {
		if now.Sub(ep.lastReport) > after && !keep(key) {
			for _, c := range ep.Callers {
				c.leave()
			}
			if ep.Witness != nil {
				ep.Witness.leave()
			}
			delete(b.endpoints, key)
		}
	}
}
