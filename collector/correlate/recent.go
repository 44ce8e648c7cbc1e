package correlate

// recent is the groups in the order in which they were last put to the front, and what they take beyond their records.
type recent struct {
	count     int
	weight    int
	placings  uint64
	head, end *group
}

// placedFor is how long a group that is touched stays where it is in the order: most signals of a request come within
// a second, and need not move it each time.
const placedFor = int64(1e9)

// What heads, parts and IDs beyond a record's room weigh, in services touched (24 bytes). All exchanges together may weigh
// maxWeight each: with their records, that is at most 1.5 KB for each exchange, whatever is sent.
const (
	weightHead = 6
	weightPart = 2
	weightID   = 8
	maxWeight  = 24
)

// weigh takes into account what was added to the trace.
func (j *join) weigh(t *trace) {
	w := weightHead*len(t.gateways) + spilled(t.parts, roomParts)
	j.weight += w - t.weight
	t.weight = w
}

func (g *group) weigh() int {
	return len(g.traces) - 1 + weightID*(len(g.ids)+len(g.client)) + spilled(g.loose, 0)
}

// spilled is what parts weigh beyond the room in a record, where the first few have room.
func spilled(parts []part, inRoom int) (w int) {
	for i := range parts {
		n := len(parts[i].touched)
		if i < inRoom {
			n = max(0, n-roomTouched)
		} else {
			n += weightPart
		}
		w += n
	}
	return w
}

func (j *join) newGroup() *group {
	g := j.idle.group()
	g.traces = g.roomTraces[:0]
	j.front(g)
	return g
}

// front puts a group that is in no order first.
func (j *join) front(g *group) {
	j.count++
	j.placings++
	g.placed, g.order = j.now, j.placings
	g.prev, g.next = nil, j.head
	if j.head != nil {
		j.head.prev = g
	}
	j.head = g
	if j.end == nil {
		j.end = g
	}
}

// touch says that the group has changed, and forgets the last ones beyond the bounds.
func (j *join) touch(g *group) {
	w := g.weigh()
	j.weight += w - g.weight
	g.weight = w
	if j.now-g.placed >= placedFor {
		j.unlink(g)
		j.front(g)
	}
	for j.count > j.limit || j.count > 1 && j.weight/maxWeight > j.limit {
		j.evict(j.end)
	}
}

func (j *join) unlink(g *group) {
	j.count--
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		j.head = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		j.end = g.prev
	}
}

func (j *join) evict(g *group) {
	j.stats.ExchangesEvicted++
	for _, t := range g.traces {
		delete(j.byTrace, t.id)
		j.weight -= t.weight
		*t = trace{}
		j.idle.traces = append(j.idle.traces, t)
	}
	for _, id := range g.ids {
		delete(j.byID, id)
	}
	j.forgetClients(g)
	j.drop(g)
}

// drop takes a group that nothing leads to out of the order.
func (j *join) drop(g *group) {
	j.unlink(g)
	j.weight -= g.weight
	*g = group{}
	j.idle.groups = append(j.idle.groups, g)
}

// idle holds empty records to be used again: at the bound there are as many new exchanges as forgotten ones.
type idle struct {
	traces []*trace
	groups []*group
}

func (i *idle) trace() *trace { return used(&i.traces) }
func (i *idle) group() *group { return used(&i.groups) }

func used[T any](from *[]*T) *T {
	n := len(*from)
	if n == 0 {
		return new(T)
	}
	one := (*from)[n-1]
	*from = (*from)[:n-1]
	return one
}
