package delivery

// Reason is why items were dropped.
type Reason uint8

// Reasons, in the order in which a ledger is read.
const (
	Overflow   Reason = iota // the buffer was full: the oldest made room
	Rejected                 // the agent took the rest of their request: partial_success
	Refused                  // the agent will never take their request
	Oversized                // one item beyond 64 KiB
	Superseded               // points whose export failed: the next export holds them again, newer
	Unfinished               // still queued when the proxy stopped, or handed in after that
	Reasons                  // how many there are
)

var reasonNames = [Reasons]string{"overflow", "rejected", "refused", "oversized", "superseded", "unfinished"}

func (r Reason) String() string { return reasonNames[r] }

// Ledger says where every item of one signal went since the process began. At every moment
// Accepted = Sent + the sum of Dropped + Queued.
type Ledger struct {
	Accepted uint64          // handed in, whatever became of it
	Sent     uint64          // acknowledged by the agent
	Dropped  [Reasons]uint64 // given up, by Reason
	Queued   uint64          // waiting for the agent, or on the way to it
}

// Settle notes what became of queued items: so many were sent, so many dropped.
func (l *Ledger) Settle(sent, dropped int, why Reason) {
	l.Sent += uint64(sent)
	l.Dropped[why] += uint64(dropped)
}
