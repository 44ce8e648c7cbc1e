package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
)

// maxQueue bounds the outbox. When it is full the pipeline's retry stage keeps the group and tries again, so nothing
// is lost: the group is only told later, and of its state then.
const maxQueue = 1000

// snapshotAfter is how many records may follow a snapshot before the log is rewritten.
const snapshotAfter = 2000

// ErrFull says the outbox holds as much as it may.
var ErrFull = errors.New("alert outbox is full")

// Journal is an append-only log whose records survive a crash once Append has returned.
type Journal interface {
	Append(record []byte) error
	// Restart appends record, a snapshot, after which nothing before it has to be kept.
	Restart(record []byte) error
	Close() error
}

// Ledger is everything about alerts that must survive a restart, in one durable log: the alerts, the notifications
// due, what receivers were told, the dead letters and the silences.
type Ledger struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	journal  Journal
	state    *state
	records  int    // since the last snapshot
	behind   bool   // the journal misses what memory has: the next write is a snapshot
	failures uint64 // writes that were not made durable
	due      chan struct{}
}

// NewLedger replays what the journal held, oldest first, and goes on writing to it. The ledger owns the journal.
func NewLedger(journal Journal, replayed [][]byte, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{log: log, now: time.Now, journal: journal, state: newState(), due: make(chan struct{}, 1)}
	for i, raw := range replayed {
		r, err := decodeRecord(raw)
		if err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", i+1, len(replayed), err)
		}
		l.state = l.state.apply(r)
	}
	l.records = len(replayed)
	if len(l.state.Queue) > 0 {
		l.wake()
	}
	return l, nil
}

// Close closes the journal.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.journal.Close()
}

// write applies a record in memory and makes it durable. When the disk refuses, memory still has it: paging goes on
// without the promise to survive a crash, the failure is counted, and the next write tries the whole state.
func (l *Ledger) write(r record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(r)
}

func (l *Ledger) writeLocked(r record) error {
	l.state = l.state.apply(r)
	err := l.persist(r)
	if err != nil {
		l.failures++
		l.behind = true
		return fmt.Errorf("alert ledger: %w", err)
	}
	return nil
}

func (l *Ledger) persist(r record) error {
	if l.behind || l.records >= snapshotAfter {
		l.state.expire(l.now())
		raw, err := json.Marshal(record{Snapshot: l.state})
		if err != nil {
			return err
		}
		if err := l.journal.Restart(raw); err != nil {
			return err
		}
		l.behind, l.records = false, 1
		return nil
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	l.records++
	return l.journal.Append(raw)
}

// Keep records the newest form of an alert.
func (l *Ledger) Keep(a *alert.Alert) error { return l.write(record{Alert: a}) }

// KeepSilence records a silence.
func (l *Ledger) KeepSilence(silence Stored) error { return l.write(record{Silence: &silence}) }

// Silence is what is kept of one silence, nil when nothing is.
func (l *Ledger) Silence(id string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Silences[id].Entry
}

// ErrOurs says that an alert which Weft itself opened cannot be written by others; ErrMany that as many of theirs fire
// as may.
var (
	ErrOurs = errors.New("this alert is Weft's own")
	ErrMany = errors.New("too many alerts of others fire")
)

// Post records alerts of others, all or none of them, as one record. most is how many may fire at once.
func (l *Ledger) Post(most int, alerts []*alert.Alert) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	firing := 0
	for _, k := range l.state.Alerts {
		if k.Posted && !k.Alert.ResolvedAt(l.now()) {
			firing++
		}
	}
	for _, a := range alerts {
		k := l.state.Alerts[a.Fingerprint().String()]
		switch {
		case k != nil && !k.Posted:
			return fmt.Errorf("%w: %s", ErrOurs, a.Labels)
		case k == nil && !a.ResolvedAt(l.now()):
			firing++
		}
	}
	if firing > most {
		return fmt.Errorf("%w: at most %d", ErrMany, most)
	}
	return l.writeLocked(record{Posted: alerts})
}

// enqueue adds a notification; the same one twice is one.
func (l *Ledger) enqueue(item *Item) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.state.Queue, func(other *Item) bool { return other.ID == item.ID }) {
		return nil
	}
	if len(l.state.Queue) >= maxQueue {
		return ErrFull
	}
	if err := l.writeLocked(record{Due: item}); err != nil {
		l.log.Error("notification is due but not durable: a crash now would lose it", "group", item.GroupKey, "error", err)
	}
	l.wake()
	return nil
}

func (l *Ledger) wake() {
	select {
	case l.due <- struct{}{}:
	default:
	}
}

func (l *Ledger) sent(id string) error       { return l.write(record{Sent: id}) }
func (l *Ledger) refused(d DeadLetter) error { return l.write(record{Dead: &d}) }

// heads are the oldest notification of each group, so that a group is told in order and a stuck one holds up no other.
func (l *Ledger) heads() []*Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	var heads []*Item
	for _, item := range l.state.Queue {
		if key := item.Logged.Key; !seen[key] {
			seen[key] = true
			heads = append(heads, item)
		}
	}
	return heads
}

// Alerts are all alerts kept, firing first, then newest first.
func (l *Ledger) Alerts() []Kept {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	out := make([]Kept, 0, len(l.state.Alerts))
	for _, k := range l.state.Alerts {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b Kept) int {
		if x, y := !a.Alert.ResolvedAt(now), !b.Alert.ResolvedAt(now); x != y {
			if x {
				return -1
			}
			return 1
		}
		if c := b.Alert.StartsAt.Compare(a.Alert.StartsAt); c != 0 {
			return c
		}
		return strings.Compare(a.Alert.Fingerprint().String(), b.Alert.Fingerprint().String())
	})
	return out
}

// logged are the notification log's entries that are still valid.
func (l *Ledger) logged() [][]byte {
	return l.valid(func(s *state) map[string]Stored { return s.Logged })
}

// Silences are the silences that are still kept.
func (l *Ledger) Silences() [][]byte {
	return l.valid(func(s *state) map[string]Stored { return s.Silences })
}

func (l *Ledger) valid(of func(*state) map[string]Stored) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out [][]byte
	for _, e := range of(l.state) {
		if e.Expires.After(l.now()) {
			out = append(out, e.Entry)
		}
	}
	return out
}

// Stats is the outbox for people and metrics.
type Stats struct {
	Queued      int          `json:"queued"`
	Sent        uint64       `json:"sent"`
	Refused     uint64       `json:"refused"`
	NotDurable  uint64       `json:"not_durable"`
	DeadLetters []DeadLetter `json:"dead_letters"` // newest first
}

// Stats reads the outbox.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := append([]DeadLetter{}, l.state.Dead...)
	slices.Reverse(dead)
	return Stats{Queued: len(l.state.Queue), Sent: l.state.Sent, Refused: l.state.Refused, NotDurable: l.failures, DeadLetters: dead}
}
