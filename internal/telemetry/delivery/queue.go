// Package delivery gets encoded items to the agent: a bounded queue per signal that gives up the oldest, and its export
// over gRPC.
package delivery

import (
	"sync"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// ItemField is the field of spans, log records and metrics in their scope message.
const ItemField = 2

const (
	chunkBytes = 64 << 10
	sendBytes  = 1 << 20 // one request; a stock OTLP receiver takes 4 MiB

	lightItems  = 100                    // fewer than this since the last send is light load
	lightDelay  = 100 * time.Millisecond // light load, or a failed request: well within 200 ms
	flushDelay  = time.Second
	maxItemSize = chunkBytes - 8
)

// chunk is a run of encoded items, each with its tag and length.
type chunk struct {
	data  []byte
	items int
}

// Queue holds the encoded items of one signal until the agent has taken them.
type Queue struct {
	limit int
	wake  chan struct{} // told when the queue stops being empty, and when a whole request is ready
	free  chunkPool

	mu      sync.Mutex
	chunks  []*chunk // oldest first; the last one is being filled
	bytes   int
	items   int
	sending int       // bytes of the batch on its way; they count until it is abandoned
	flying  int       // items of the batch on its way, abandoned or not
	first   time.Time // when the oldest item came
	urgent  bool      // one of the items reports a failure
	closed  bool      // nobody sends any more
	ledger  Ledger    // but for Queued, which is counted where the items are
}

// NewQueue holds at most limit bytes.
func NewQueue(limit int) *Queue {
	return &Queue{limit: limit, wake: make(chan struct{}, 1)}
}

// Add copies one encoded item in, and drops the oldest ones when there is no room.
func (q *Queue) Add(item []byte, urgent bool) {
	size := protowire.SizeTag(ItemField) + protowire.SizeBytes(len(item))
	q.mu.Lock()
	q.ledger.Accepted++
	if !q.fits(item) {
		q.mu.Unlock()
		return
	}
	last := q.last()
	if last == nil || len(last.data)+size > chunkBytes {
		last = q.free.get()
		q.chunks = append(q.chunks, last)
	}
	last.data = protowire.AppendTag(last.data, ItemField, protowire.BytesType)
	last.data = protowire.AppendBytes(last.data, item)
	last.items++
	wasEmpty, wasReady := q.items == 0, q.bytes >= sendBytes
	if wasEmpty {
		q.first = time.Now()
	}
	q.items++
	q.bytes += size
	q.urgent = q.urgent || urgent
	q.makeRoom()
	ready := !wasReady && q.bytes >= sendBytes
	q.mu.Unlock()
	if wasEmpty || ready {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// fits drops an item that no request could hold, or that nobody will send.
func (q *Queue) fits(item []byte) bool {
	switch {
	case len(item) > maxItemSize:
		q.ledger.Dropped[Oversized]++
	case q.closed:
		q.ledger.Dropped[Unfinished]++
	default:
		return true
	}
	return false
}

func (q *Queue) last() *chunk {
	if len(q.chunks) == 0 {
		return nil
	}
	return q.chunks[len(q.chunks)-1]
}

// makeRoom gives up the oldest: first the batch on its way (counted only if it fails), then whole chunks.
func (q *Queue) makeRoom() {
	for q.bytes+q.sending > q.limit {
		if q.sending > 0 {
			q.sending = 0
			continue
		}
		q.dropOldest(Overflow)
	}
}

func (q *Queue) dropOldest(why Reason) {
	oldest := q.chunks[0]
	q.chunks = q.chunks[1:]
	q.bytes -= len(oldest.data)
	q.items -= oldest.items
	q.ledger.Dropped[why] += uint64(oldest.items)
	q.free.put(oldest)
}

// close drops what is left, since nobody sends it any more.
func (q *Queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for len(q.chunks) > 0 {
		q.dropOldest(Unfinished)
	}
}

// Ledger is where every item went, at one moment.
func (q *Queue) Ledger() Ledger {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.ledger
	l.Queued = uint64(q.items + q.flying)
	return l
}

// due says whether to send now, and whether there is anything to send at all.
func (q *Queue) due(now time.Time) (due, some bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	age := now.Sub(q.first)
	quick := q.urgent || q.items < lightItems
	return q.bytes >= sendBytes || (quick && age >= lightDelay) || age >= flushDelay, q.items > 0
}

// Bytes is what waits or is on its way, unless that was abandoned.
func (q *Queue) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes + q.sending
}

// take moves out the oldest chunks, as many as make one request.
func (q *Queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := &batch{}
	for len(q.chunks) > 0 && (b.bytes == 0 || b.bytes+len(q.chunks[0].data) <= sendBytes) {
		c := q.chunks[0]
		q.chunks = q.chunks[1:]
		b.bytes += len(c.data)
		b.items += c.items
		b.body = append(b.body, mem.NewBuffer(&c.data, &q.free)) // counts gRPC's references and ours
	}
	q.bytes -= b.bytes
	q.items -= b.items
	q.sending, q.flying = b.bytes, b.items
	q.first = time.Now()
	if q.items == 0 {
		q.urgent = false
	}
	return b
}

// settle ends a batch: so many of its items were sent, and the rest are given up for good.
func (q *Queue) settle(b *batch, sent int, rest Reason) {
	q.mu.Lock()
	q.sending, q.flying = 0, 0
	q.ledger.Settle(sent, b.items-sent, rest)
	q.mu.Unlock()
	b.body.Free()
}

// abandoned says whether room for newer items was made at the cost of the batch on its way.
func (q *Queue) abandoned() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sending == 0
}

// batch is what one Export call carries.
type batch struct {
	body  mem.BufferSlice
	bytes int
	items int
}

// chunkPool recycles chunks. gRPC returns a chunk's memory through Put only when its transport is done with it, which
// after a cancelled call is later than the call's return.
type chunkPool struct{ pool sync.Pool }

func (p *chunkPool) get() *chunk {
	if data, ok := p.pool.Get().(*[]byte); ok {
		return &chunk{data: (*data)[:0]}
	}
	return &chunk{data: make([]byte, 0, chunkBytes)}
}

func (p *chunkPool) put(c *chunk) { p.Put(&c.data) }

// Get and Put implement mem.BufferPool.
func (p *chunkPool) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

func (p *chunkPool) Put(data *[]byte) {
	if cap(*data) == chunkBytes {
		p.pool.Put(data)
	}
}
