package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/notify"
)

// Back-off between tries of one notification when the receiver does not say how long to wait.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// Sender posts what the ledger says is due until each notification is accepted or refused for good.
type Sender struct {
	ledger   *Ledger
	receiver notify.Notifier
	log      *slog.Logger

	mu    sync.Mutex
	tries map[string]*try // by item ID; only of items still queued
}

// try is how far one notification has got. It is not kept over a restart: a new process tries at once.
type try struct {
	attempts int
	next     time.Time
	err      string
}

// NewSender sends through receiver, which may be any of Alertmanager's notifiers.
func NewSender(ledger *Ledger, receiver notify.Notifier, log *slog.Logger) *Sender {
	return &Sender{ledger: ledger, receiver: receiver, log: log, tries: map[string]*try{}}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.ledger.due:
		}
		timer.Reset(s.round(ctx))
	}
}

// round tries the head of every group that is due, and says how long nothing else will be.
func (s *Sender) round(ctx context.Context) time.Duration {
	heads := s.ledger.heads()
	s.forgetAllBut(heads)
	for _, item := range heads {
		if ctx.Err() != nil {
			break
		}
		if s.dueIn(item.ID) <= 0 {
			s.send(ctx, item)
		}
	}
	wait := longestPause
	for _, item := range s.ledger.heads() {
		wait = min(wait, s.dueIn(item.ID))
	}
	return max(wait, time.Millisecond)
}

func (s *Sender) send(ctx context.Context, item *Item) {
	again, err := s.receiver.Notify(item.context(ctx), item.Alerts...)
	if err == nil {
		s.settle(item, s.ledger.sent(item.ID))
		return
	}
	if ctx.Err() != nil {
		return // stopping, not the receiver's answer: the next process tries again
	}
	attempts, pause := s.note(item.ID, err)
	if again {
		s.log.Warn("notification not accepted yet", "group", item.GroupKey, "attempts", attempts, "pause", pause, "error", err)
		return
	}
	s.log.Error("notification refused for good, kept as a dead letter", "group", item.GroupKey, "attempts", attempts, "error", err)
	s.settle(item, s.ledger.refused(DeadLetter{
		ID: item.ID, GroupKey: item.GroupKey, At: time.Now(), Reason: err.Error(), Alerts: len(item.Alerts), Attempts: attempts,
	}))
}

// settle reports that the end of a notification is not durable; after a crash it would be sent again under its key.
func (s *Sender) settle(item *Item, err error) {
	if err != nil {
		s.log.Error("end of notification not durable", "group", item.GroupKey, "error", err)
	}
}

func (s *Sender) note(id string, err error) (attempts int, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tries[id]
	if t == nil {
		t = &try{}
		s.tries[id] = t
	}
	pause = backOff(t.attempts)
	var rejection *Rejection
	if errors.As(err, &rejection) && rejection.RetryAfter > 0 {
		pause = rejection.RetryAfter
	}
	t.attempts++
	t.next, t.err = time.Now().Add(pause), err.Error()
	return t.attempts, pause
}

// backOff doubles up to a minute, with a fifth of jitter so that senders do not march in step.
func backOff(attempts int) time.Duration {
	pause := min(firstPause<<min(attempts, 16), longestPause)
	return pause - time.Duration(rand.Int64N(int64(pause)/5))
}

func (s *Sender) dueIn(id string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tries[id]; t != nil {
		return time.Until(t.next)
	}
	return 0
}

func (s *Sender) forgetAllBut(heads []*Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[string]*try, len(heads))
	for _, item := range heads {
		if t := s.tries[item.ID]; t != nil {
			kept[item.ID] = t
		}
	}
	s.tries = kept
}

// Retrying is a notification that was not accepted yet.
type Retrying struct {
	ID        string    `json:"id"`
	GroupKey  string    `json:"group_key"`
	Attempts  int       `json:"attempts"`
	NextTry   time.Time `json:"next_try"`
	LastError string    `json:"last_error"`
}

// Retrying lists the notifications that have failed at least once, oldest first.
func (s *Sender) Retrying() []Retrying {
	heads := s.ledger.heads()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Retrying{}
	for _, item := range heads {
		if t := s.tries[item.ID]; t != nil {
			out = append(out, Retrying{ID: item.ID, GroupKey: item.GroupKey, Attempts: t.attempts, NextTry: t.next, LastError: t.err})
		}
	}
	return out
}
