// Package pins remembers the requests that an alert or a verdict names: they outlive the bulk of what is stored.
package pins

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"weft/internal/wal"
)

// most bounds what is remembered: beyond it the oldest go, and are counted.
const most = 100_000

// Pins is a set of request IDs, durable before Pin returns.
type Pins struct {
	log  *wal.Log
	keep time.Duration

	mu      sync.RWMutex
	until   map[string]time.Time
	order   []pin // oldest first
	dropped uint64
}

type pin struct {
	id    string
	until time.Time
}

type record struct {
	At  time.Time `json:"at"`
	IDs []string  `json:"ids"`
}

// Open reads the pins in dir that are younger than keep at now.
func Open(fs wal.FS, dir string, keep time.Duration, now time.Time) (*Pins, error) {
	log, err := wal.Open(wal.Config{Dir: dir, FileBytes: 1 << 20, Durability: wal.Power, FS: fs})
	if err != nil {
		return nil, fmt.Errorf("open pins: %w", err)
	}
	p := &Pins{log: log, keep: keep, until: map[string]time.Time{}}
	oldest := log.End()
	err = log.Replay(wal.Position{}, func(at wal.Position, raw []byte) error {
		var r record
		if json.Unmarshal(raw, &r) != nil || now.Sub(r.At) > keep {
			return nil
		}
		if at.Before(oldest) {
			oldest = at
		}
		p.remember(r)
		return nil
	})
	if err == nil {
		err = log.DropBefore(oldest)
	}
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("open pins: %w", err)
	}
	return p, nil
}

// Pin remembers the IDs that are not yet.
func (p *Pins) Pin(ctx context.Context, now time.Time, ids ...string) error {
	p.mu.RLock()
	fresh := make([]string, 0, len(ids))
	for _, id := range ids {
		if until, known := p.until[id]; id != "" && (!known || until.Sub(now) < p.keep/2) {
			fresh = append(fresh, id)
		}
	}
	p.mu.RUnlock()
	if len(fresh) == 0 {
		return nil
	}
	r := record{now, fresh}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := p.log.Append(ctx, raw); err != nil {
		return fmt.Errorf("pin requests: %w", err)
	}
	p.remember(r)
	return nil
}

func (p *Pins) remember(r record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range r.IDs {
		p.until[id] = r.At.Add(p.keep)
		p.order = append(p.order, pin{id, p.until[id]})
	}
	for len(p.order) > 0 && (len(p.until) > most || p.order[0].until.Before(r.At)) {
		if oldest := p.order[0]; p.until[oldest.id].Equal(oldest.until) { // else it was pinned again since
			delete(p.until, oldest.id)
			if !oldest.until.Before(r.At) {
				p.dropped++
			}
		}
		p.order = p.order[1:]
	}
}

// Pinned says whether a request ID or a trace ID in hex is.
func (p *Pins) Pinned(id string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, pinned := p.until[id]
	return pinned
}

// All is the IDs that are pinned, in no order.
func (p *Pins) All() []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(p.until))
}

// Len is how many are, and how many were forgotten before their time.
func (p *Pins) Len() (pinned int, dropped uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.until), p.dropped
}

// Close closes the log.
func (p *Pins) Close() error { return p.log.Close() }
