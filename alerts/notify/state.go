package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
)

const (
	maxResolved    = 200 // resolved alerts kept for people to look at
	maxDeadLetters = 100
)

// Kept is an alert as the ledger keeps it.
type Kept struct {
	Alert *alert.Alert `json:"alert"`
	// Told is true while a receiver was told that the alert fires and not yet that it ended. Only such an alert must
	// be resolved aloud after a restart.
	Told bool `json:"told"`
	// Posted says that others opened it: it ends when they say so, or by itself at its EndsAt.
	Posted bool `json:"posted,omitempty"`
}

// Item is one notification that is due: everything the sender needs to render and post it in another process.
type Item struct {
	ID             string         `json:"id"` // also the idempotency key
	GroupKey       string         `json:"group_key"`
	GroupLabels    model.LabelSet `json:"group_labels"`
	Receiver       string         `json:"receiver"`
	RepeatInterval time.Duration  `json:"repeat_interval_ns"`
	Now            time.Time      `json:"now"`
	Reason         int            `json:"reason"` // notify.NotifyReason
	Firing         []uint64       `json:"firing"`
	Resolved       []uint64       `json:"resolved"`
	Alerts         []*alert.Alert `json:"alerts"`
	Logged         Stored         `json:"logged"` // what the notification log will say once this is written
}

// Stored is a notification log entry or a silence, encoded by the package it belongs to.
type Stored struct {
	Key     string    `json:"key"`
	Entry   []byte    `json:"entry"`
	Expires time.Time `json:"expires"`
}

// DeadLetter is a notification the receiver refused for good.
type DeadLetter struct {
	ID       string    `json:"id"`
	GroupKey string    `json:"group_key"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	Alerts   int       `json:"alerts"`
	Attempts int       `json:"attempts"`
}

// record is one line of the ledger's log; exactly one field is set.
type record struct {
	Snapshot *state         `json:"snapshot,omitempty"`
	Alert    *alert.Alert   `json:"alert,omitempty"`
	Posted   []*alert.Alert `json:"posted,omitempty"`
	Due      *Item          `json:"due,omitempty"`
	Sent     string         `json:"sent,omitempty"`
	Dead     *DeadLetter    `json:"dead,omitempty"`
	Silence  *Stored        `json:"silence,omitempty"`
}

// state is what the ledger's records add up to.
type state struct {
	Alerts   map[string]*Kept  `json:"alerts"` // by fingerprint
	Queue    []*Item           `json:"queue"`  // oldest first
	Dead     []DeadLetter      `json:"dead"`   // oldest first
	Logged   map[string]Stored `json:"logged"` // by receiver and group
	Silences map[string]Stored `json:"silences"`
	Sent     uint64            `json:"sent"`
	Refused  uint64            `json:"refused"`

	clock time.Time // the newest moment a record told of
}

func newState() *state {
	return &state{Alerts: map[string]*Kept{}, Logged: map[string]Stored{}, Silences: map[string]Stored{}}
}

// decodeRecord reads one record and refuses one whose parts are missing, so that apply needs no checks.
func decodeRecord(raw []byte) (record, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("alert ledger record: %w", err)
	}
	if r.Snapshot != nil {
		r.Snapshot = r.Snapshot.whole()
	}
	if r.Due != nil {
		r.Due.Alerts = present(r.Due.Alerts)
	}
	r.Posted = present(r.Posted)
	return r, nil
}

func present(alerts []*alert.Alert) []*alert.Alert {
	return slices.DeleteFunc(alerts, func(a *alert.Alert) bool { return a == nil })
}

// whole fills what an older or foreign snapshot lacks.
func (s *state) whole() *state {
	out := newState()
	for fp, k := range s.Alerts {
		if k != nil && k.Alert != nil {
			out.Alerts[fp] = k
		}
	}
	for _, item := range s.Queue {
		if item != nil {
			item.Alerts = present(item.Alerts)
			out.Queue = append(out.Queue, item)
		}
	}
	maps.Copy(out.Logged, s.Logged)
	maps.Copy(out.Silences, s.Silences)
	out.Dead, out.Sent, out.Refused = s.Dead, s.Sent, s.Refused
	return out
}

// apply adds one record; applying a record of an item that is gone changes nothing.
func (s *state) apply(r record) *state {
	switch {
	case r.Snapshot != nil:
		return r.Snapshot
	case r.Alert != nil:
		s.keep(r.Alert, false)
		s.forgetOldest()
	case len(r.Posted) > 0:
		for _, a := range r.Posted {
			s.keep(a, true)
		}
		s.forgetOldest()
	case r.Due != nil:
		s.due(r.Due)
	case r.Sent != "":
		if s.remove(r.Sent) {
			s.Sent++
		}
	case r.Dead != nil:
		if s.remove(r.Dead.ID) {
			s.Refused++
			s.Dead = append(s.Dead, *r.Dead)
			s.Dead = s.Dead[max(0, len(s.Dead)-maxDeadLetters):]
		}
	case r.Silence != nil:
		s.Silences[r.Silence.Key] = *r.Silence
	}
	return s
}

func (s *state) keep(a *alert.Alert, posted bool) {
	fp := a.Fingerprint().String()
	k := Kept{Alert: a, Posted: posted}
	if before := s.Alerts[fp]; before != nil {
		k.Told = before.Told
		if posted && !before.Alert.ResolvedAt(a.UpdatedAt) && before.Alert.StartsAt.Before(a.StartsAt) {
			again := *a // it goes on: others may give each report a start of its own
			again.StartsAt = before.Alert.StartsAt
			k.Alert = &again
		}
	}
	s.Alerts[fp] = &k
	s.passed(a.UpdatedAt)
	if !posted {
		s.passed(a.EndsAt) // ours have an end only once they are over
	}
}

func (s *state) passed(now time.Time) {
	if now.After(s.clock) {
		s.clock = now
	}
}

// due queues a notification, and notes what its receiver will know: the record is both the outbox's and the
// notification log's.
func (s *state) due(item *Item) {
	s.Queue = append(s.Queue, item)
	s.Logged[item.Logged.Key] = item.Logged
	for _, a := range item.Alerts {
		if k := s.Alerts[a.Fingerprint().String()]; k != nil {
			k.Told = !a.ResolvedAt(item.Now)
		}
	}
	s.passed(item.Now)
	s.forgetOldest()
}

func (s *state) remove(id string) bool {
	before := len(s.Queue)
	s.Queue = slices.DeleteFunc(s.Queue, func(item *Item) bool { return item.ID == id })
	return len(s.Queue) < before
}

// forgetOldest drops the resolved alerts that ended longest ago, but none that still has to be resolved aloud.
func (s *state) forgetOldest() {
	var over []string
	for fp, k := range s.Alerts {
		if k.Alert.ResolvedAt(s.clock) && !k.Told {
			over = append(over, fp)
		}
	}
	if len(over) <= maxResolved {
		return
	}
	slices.SortFunc(over, func(a, b string) int {
		return cmp.Or(s.Alerts[a].Alert.EndsAt.Compare(s.Alerts[b].Alert.EndsAt), cmp.Compare(a, b))
	})
	for _, fp := range over[:len(over)-maxResolved] {
		delete(s.Alerts, fp)
	}
}

// expire drops notification log entries and silences whose time is over; called when a snapshot is due.
func (s *state) expire(now time.Time) {
	over := func(_ string, e Stored) bool { return !e.Expires.After(now) }
	maps.DeleteFunc(s.Logged, over)
	maps.DeleteFunc(s.Silences, over)
}
