package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/component/queue/export"
	"weft/internal/wal"
)

// parcel is records of the log, one behind another, on their way to the collector: their batches joined are one Export
// request, since that is what protobuf means by bytes that follow one another.
type parcel struct {
	data    []byte
	letters []letter
	amount  amount
	next    wal.Position // where the log goes on
	mark    *mark
	holders atomic.Int32 // calls of gRPC that may still read data
}

// mark is a parcel's place in the log. The line's mutex guards it.
type mark struct {
	received time.Time // of its first record
	next     wal.Position
	done     bool // sent or given up
}

// letter is one record of a parcel.
type letter struct {
	from, to int // in data
	items    int
	received time.Time
}

func (p *parcel) empty() bool { return len(p.letters) == 0 }

// fits says whether a batch of n bytes may join.
func (p *parcel) fits(n, limit int) bool { return p.empty() || len(p.data)+n <= limit }

func (p *parcel) add(r record, a amount, next wal.Position) {
	from := len(p.data)
	p.data = append(p.data, r.batch...)
	p.letters = append(p.letters, letter{from, len(p.data), r.items, r.received})
	p.amount, p.next = p.amount.plus(a), next
}

// body is the request of some of the letters.
func (p *parcel) body(letters []letter) export.Body {
	return export.Body{Data: p.data[letters[0].from:letters[len(letters)-1].to], Holders: &p.holders}
}

func count(letters []letter) (items int64) {
	for _, l := range letters {
		items += int64(l.items)
	}
	return items
}

// parcels are used again, so that a steady stream makes no garbage; a huge one is not kept.
type parcels struct {
	pool sync.Pool
	keep int // bytes
}

func (p *parcels) get() *parcel {
	if used, ok := p.pool.Get().(*parcel); ok {
		return used
	}
	return &parcel{data: make([]byte, 0, 64<<10)}
}

func (p *parcels) put(used *parcel) {
	if used.holders.Load() > 0 || cap(used.data) > p.keep {
		return
	}
	used.data, used.letters, used.amount, used.mark = used.data[:0], used.letters[:0], amount{}, nil
	p.pool.Put(used)
}
