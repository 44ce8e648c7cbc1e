package samplelane

import (
	"slices"
	"sync"
	"time"

	"weft/internal/wire"
)

const (
	// maxAge is how old a report may become here. Counts are cumulative, so the next one holds all that it held.
	maxAge = 5 * time.Second
	// maxReporters bounds memory against reporters that come and go.
	maxReporters = 4096
)

// inbox keeps the newest report of each reporter until it is taken.
type inbox struct {
	mu   sync.Mutex
	held map[string]held
	more chan struct{} // has an element when something may be held
	drop func(reason string)
}

type held struct {
	report   *wire.SampleReport
	received time.Time
}

// Reasons for which a report is dropped.
const (
	dropSuperseded = "superseded" // a newer one of the same reporter came first
	dropStale      = "stale"      // waited longer than maxAge
	dropReordered  = "reordered"  // older than the one that is held
	dropOverflow   = "overflow"   // too many reporters
)

func newInbox(drop func(reason string)) *inbox {
	return &inbox{held: map[string]held{}, more: make(chan struct{}, 1), drop: drop}
}

// put holds report, received now, in place of the reporter's earlier one.
func (b *inbox) put(now time.Time, report *wire.SampleReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.held[report.GetReporter()]
	switch {
	case known && newer(before.report, report):
		b.drop(dropReordered)
		return
	case known:
		b.drop(dropSuperseded)
	case len(b.held) >= maxReporters:
		b.dropOldest()
	}
	b.held[report.GetReporter()] = held{report, now}
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// newer reports whether a was counted after b.
func newer(a, b *wire.SampleReport) bool {
	if a.GetEpoch() != b.GetEpoch() {
		return a.GetEpoch() > b.GetEpoch()
	}
	return a.GetSequence() > b.GetSequence()
}

func (b *inbox) dropOldest() {
	var oldest string
	var at time.Time
	for reporter, h := range b.held {
		if oldest == "" || h.received.Before(at) {
			oldest, at = reporter, h.received
		}
	}
	delete(b.held, oldest)
	b.drop(dropOverflow)
}

// take empties the inbox: the reports that are young enough, newest first, with the time they were held added to their
// age.
func (b *inbox) take(now time.Time) []*wire.SampleReport {
	b.mu.Lock()
	all := make([]held, 0, len(b.held))
	for _, h := range b.held {
		all = append(all, h)
	}
	clear(b.held)
	b.mu.Unlock()
	slices.SortFunc(all, func(x, y held) int { return y.received.Compare(x.received) })
	reports := make([]*wire.SampleReport, 0, len(all))
	for _, h := range all {
		age := time.Duration(h.report.GetAgeMs())*time.Millisecond + max(0, now.Sub(h.received))
		if age > maxAge {
			b.drop(dropStale)
			continue
		}
		h.report.AgeMs = uint32(age.Milliseconds())
		reports = append(reports, h.report)
	}
	return reports
}
