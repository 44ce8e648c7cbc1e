package alerts

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"google.golang.org/protobuf/encoding/protodelim"

	"weft/alerts/notify"
)

// silenceLog makes silences durable. The silence package hands over each change before Set or Expire returns, but
// cannot be told of a failure; it is kept here for the caller to ask.
type silenceLog struct {
	ledger *notify.Ledger
	change sync.Mutex // one change at a time, so that a failure belongs to its caller
	failed error
}

func (s *silenceLog) broadcast(raw []byte) {
	var entry silencepb.MeshSilence
	if err := protodelim.UnmarshalFrom(bufio.NewReader(bytes.NewReader(raw)), &entry); err != nil {
		s.failed = err
		return
	}
	stored := notify.Stored{Key: entry.GetSilence().GetId(), Entry: raw, Expires: entry.GetExpiresAt().AsTime()}
	if err := s.ledger.KeepSilence(stored); err != nil {
		s.failed = err
	}
}

func (s *silenceLog) do(change func() error) error {
	s.change.Lock()
	defer s.change.Unlock()
	s.failed = nil
	if err := change(); err != nil {
		return err
	}
	if s.failed != nil {
		return fmt.Errorf("silence is set, but would not survive a restart: %w", s.failed)
	}
	return nil
}

// restoreSilences merges what the ledger kept, and only then listens for changes.
func restoreSilences(s *silence.Silences, log *silenceLog) error {
	for _, entry := range log.ledger.Silences() {
		if err := s.Merge(entry); err != nil {
			return fmt.Errorf("silence in the alert ledger: %w", err)
		}
	}
	s.SetBroadcast(log.broadcast)
	return nil
}

// Silence sets a silence and returns its ID. It is durable when the error is nil.
func (a *Alerts) Silence(ctx context.Context, s *silencepb.Silence) (string, error) {
	err := a.silenceLog.do(func() error { return a.silences.Set(ctx, s) })
	return s.GetId(), err
}

// Expire ends a silence now.
func (a *Alerts) Expire(ctx context.Context, id string) error {
	return a.silenceLog.do(func() error { return a.silences.Expire(ctx, id) })
}

// Silences lists the silences that are active.
func (a *Alerts) Silences(ctx context.Context) ([]*silencepb.Silence, error) {
	active, _, err := a.silences.Query(ctx, silence.QState(silence.SilenceStateActive))
	return active, err
}
