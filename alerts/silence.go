package alerts

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weft/alerts/notify"
)

// Bounds on silences. Those that expired count, for as long as they are kept.
const (
	keepSilences = 120 * time.Hour // after their end
	maxSilences  = 2000
	maxSilence   = 16 << 10 // bytes of one, encoded
)

func newSilences(a *Alerts) (*silence.Silences, error) {
	return silence.New(silence.Options{
		Retention: keepSilences, Logger: a.deps.Log, Metrics: a.internals,
		Limits: silence.Limits{MaxSilences: func() int { return maxSilences }, MaxSilenceSizeBytes: func() int { return maxSilence }},
	})
}

// silenceLog makes silences durable, or undoes what it could not make durable. The silence package hands over each
// change before Set or Expire returns, but cannot be told of a failure; it is kept here until the change is done.
type silenceLog struct {
	silences *silence.Silences
	ledger   *notify.Ledger

	change sync.Mutex // one change at a time, so that a failure belongs to its caller

	mu      sync.Mutex
	failed  error
	touched []touched
}

// touched is a silence that a change has written, and what it was before.
type touched struct {
	id     string
	before []byte // nil = it was not
}

// restoreSilences merges what the ledger kept, and only then listens for changes.
func restoreSilences(s *silence.Silences, ledger *notify.Ledger) (*silenceLog, error) {
	for _, entry := range ledger.Silences() {
		if err := s.Merge(entry); err != nil {
			return nil, fmt.Errorf("silence in the alert ledger: %w", err)
		}
	}
	log := &silenceLog{silences: s, ledger: ledger}
	s.SetBroadcast(log.broadcast)
	return log, nil
}

// broadcast is called inside the silence package's lock: it must not ask that package anything.
func (s *silenceLog) broadcast(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, err := decodeSilence(raw)
	if err == nil {
		id := entry.GetSilence().GetId()
		s.touched = append(s.touched, touched{id, s.ledger.Silence(id)})
		err = s.ledger.KeepSilence(notify.Stored{Key: id, Entry: raw, Expires: entry.GetExpiresAt().AsTime()})
	}
	if err != nil && s.failed == nil {
		s.failed = err
	}
}

// durable runs a change, and returns once all it did is on disk. An error says that it was undone.
func (s *silenceLog) durable(change func()) error {
	s.change.Lock()
	defer s.change.Unlock()
	s.take()
	change()
	failed, done := s.take()
	if failed == nil {
		return nil
	}
	for _, t := range slices.Backward(done) {
		s.undo(t)
	}
	return fmt.Errorf("nothing was changed: it would not have survived a restart: %w", failed)
}

func (s *silenceLog) take() (error, []touched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, done := s.failed, s.touched
	s.failed, s.touched = nil, nil
	return failed, done
}

// undo makes a silence what it was, or ends it when it was not. The disk may take neither; then memory has it, and the
// ledger's next write that succeeds holds all that memory has.
func (s *silenceLog) undo(t touched) {
	entry, err := decodeSilence(t.before)
	if t.before == nil || err != nil {
		_ = s.silences.Expire(context.Background(), t.id)
		return
	}
	// The newest wins: this has to be newer than the change.
	entry.Silence.UpdatedAt = timestamppb.New(time.Now().Add(time.Microsecond))
	var raw bytes.Buffer
	if _, err := protodelim.MarshalTo(&raw, entry); err != nil {
		return
	}
	_ = s.silences.Merge(raw.Bytes())
	s.broadcast(raw.Bytes()) // Merge leaves that out for a large one
}

func decodeSilence(raw []byte) (*silencepb.MeshSilence, error) {
	var entry silencepb.MeshSilence
	err := protodelim.UnmarshalFrom(bufio.NewReader(bytes.NewReader(raw)), &entry)
	return &entry, err
}
