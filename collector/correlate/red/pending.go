package red

import (
	"time"

	"weft/collector/correlate/facts"
	"weft/collector/signal"
)

// half is a span that waits for the other half of its call, keyed by the client span's name.
type half struct {
	key        facts.Key
	is         uint8
	held       bool // a server span not counted yet: it may be its sidecar's request seen again
	kind       signal.Kind
	code       signal.Status
	service    *service
	name       string // of a held span
	measured   measured
	deadline   int64
	next, prev uint32 // in order of deadline; 0 is none
}

const (
	isClient  uint8 = iota + 1
	isServer        // waits for its parent
	isInbound       // a sidecar's server span; its child is the same request again
)

// waitFor lets the other half come 30 s late from another agent.
const waitFor = int64(45 * time.Second)

// pending is the halves that wait: a map to places in a slab, linked in the order in which they give up.
type pending struct {
	limit        int
	places       map[facts.Key]uint32
	slab         [][]half // chunks, so that growing moves nothing
	used         uint32   // places ever used; place 0 is none
	free         []uint32
	oldest, last uint32
}

const chunk = 1024

func newPending(limit int) *pending { return &pending{limit: limit, places: map[facts.Key]uint32{}} }

func (p *pending) len() int { return len(p.places) }

func (p *pending) at(place uint32) *half { return &p.slab[place/chunk][place%chunk] }

// any is the half that waits under the key; nil when there is none.
func (p *pending) any(key facts.Key) *half {
	if place, ok := p.places[key]; ok {
		return p.at(place)
	}
	return nil
}

// find is the half that waits under the key, if it is of that kind.
func (p *pending) find(key facts.Key, is uint8) *half {
	if h := p.any(key); h != nil && h.is == is {
		return h
	}
	return nil
}

// add lets a half wait. The caller has made room and knows that the key is free.
func (p *pending) add(now int64, h *half) {
	var place uint32
	if n := len(p.free); n > 0 {
		place, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.used++
		place = p.used
		if int(place/chunk) >= len(p.slab) {
			p.slab = append(p.slab, make([]half, chunk))
		}
	}
	into := p.at(place)
	*into = *h
	into.deadline, into.prev, into.next = now+waitFor, p.last, 0
	if p.last != 0 {
		p.at(p.last).next = place
	} else {
		p.oldest = place
	}
	p.last = place
	p.places[h.key] = place
}

// drop ends the wait of a half. What it points to stays valid until the next add.
func (p *pending) drop(h *half) {
	place := p.places[h.key]
	delete(p.places, h.key)
	if h.prev != 0 {
		p.at(h.prev).next = h.next
	} else {
		p.oldest = h.next
	}
	if h.next != 0 {
		p.at(h.next).prev = h.prev
	} else {
		p.last = h.prev
	}
	p.free = append(p.free, place)
}
