package queue

import (
	"time"

	"weft/internal/wal"
)

// Why items leave the queue without having been taken by the collector.
const (
	dropRejected   = "rejected"    // the collector took their batch, and not them
	dropDeadLetter = "dead_letter" // the collector will never take their batch
	dropDamaged    = "damaged"     // the disk has not kept them
)

var dropReasons = []string{dropRejected, dropDeadLetter, dropDamaged}

// Ledger accounts for the items of one signal since the queue was opened:
//
//	Accepted + Recovered = Sent + Dropped + Queued
type Ledger struct {
	Accepted  int64 // acknowledged
	Recovered int64 // found queued at the start
	Sent      int64 // the collector has them
	Dropped   map[string]int64
	Queued    int64
}

// Holds says whether the equation does.
func (l Ledger) Holds() bool {
	dropped := int64(0)
	for _, n := range l.Dropped {
		dropped += n
	}
	return l.Accepted+l.Recovered == l.Sent+dropped+l.Queued
}

// amount is so much of a log.
type amount struct{ items, bytes int64 }

func (a amount) plus(b amount) amount  { return amount{a.items + b.items, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.items - b.items, a.bytes - b.bytes} }

// books are a line's accounts. The line's mutex guards them.
type books struct {
	accepted, recovered, sent int64
	dropped                   map[string]int64
	queued                    amount
	unread                    map[uint64]amount // of queued, what the sender has still to read, by file of the log
	damaged                   int64             // ranges of the log that could not be read
	lag                       time.Duration     // age of what was last sent
}

func newBooks() books { return books{dropped: map[string]int64{}, unread: map[uint64]amount{}} }

// arrive enters a record that is in the log.
func (b *books) arrive(at wal.Position, a amount) {
	b.queued = b.queued.plus(a)
	b.unread[at.File] = b.unread[at.File].plus(a)
}

// read notes that the sender has a record in hand.
func (b *books) read(at wal.Position, a amount) { b.unread[at.File] = b.unread[at.File].minus(a) }

// passed notes that the sender has read every file before this one: what it should have found there and did not is lost.
func (b *books) passed(file uint64) {
	for number, lost := range b.unread {
		if number < file {
			b.drop(dropDamaged, lost.items)
			b.queued = b.queued.minus(lost)
			delete(b.unread, number)
		}
	}
}

func (b *books) drop(reason string, items int64) {
	if items > 0 {
		b.dropped[reason] += items
	}
}
