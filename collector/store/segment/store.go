package segment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Codec teaches the log one signal.
type Codec[Batch, Item any] struct {
	Marshal   func(Batch) ([]byte, error)
	Unmarshal func([]byte) (Batch, error)
	Keys      func(Batch, func(Key)) // under which the batch is to be found
	Items     func(Batch) []Item     // everything in the batch
}

// Store is a Log of decoded batches.
type Store[Batch, Item any] struct {
	*Log
	codec Codec[Batch, Item]
	keys  sync.Pool // *[]Key
}

// OpenStore opens the log in cfg.Dir for one signal.
func OpenStore[Batch, Item any](cfg Config, codec Codec[Batch, Item]) (*Store[Batch, Item], error) {
	log, err := Open(cfg, func(raw []byte, add func(Key)) error {
		batch, err := codec.Unmarshal(raw)
		if err != nil {
			return err
		}
		codec.Keys(batch, add)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Store[Batch, Item]{Log: log, codec: codec, keys: sync.Pool{New: func() any { return new([]Key) }}}, nil
}

// Append stores a batch durably; when it returns nil everything in it is found at once.
func (s *Store[Batch, Item]) Append(ctx context.Context, batch Batch) error {
	raw, err := s.codec.Marshal(batch)
	if err != nil {
		return err
	}
	keys := s.keys.Get().(*[]Key)
	defer s.keys.Put(keys)
	*keys = (*keys)[:0]
	s.codec.Keys(batch, func(k Key) { *keys = append(*keys, k) })
	return s.Log.Append(ctx, raw, *keys)
}

// ErrTruncated comes together with the items that were found, when there were more of them than one answer holds.
var ErrTruncated = errors.New("answer is truncated")

// MaxItems bounds one answer.
const MaxItems = 100_000

// Decoded makes fn a callback for Each. A batch that does not decode is counted and passed over: its checksum was
// right, so it came like this, and its neighbours still count.
func (s *Store[Batch, Item]) Decoded(fn func(Batch) error) func(time.Time, []byte) error {
	return func(_ time.Time, raw []byte) error {
		batch, err := s.codec.Unmarshal(raw)
		if err != nil {
			s.damaged.Add(1)
			return nil
		}
		return fn(batch)
	}
}

// Find calls pick with every batch that may hold key, newest first. pick takes what it is looking for and returns how
// many items it has so far; beyond MaxItems the search ends with ErrTruncated.
func (s *Store[Batch, Item]) Find(ctx context.Context, key Key, pick func(Batch) int) error {
	truncated := false
	err := s.Each(ctx, key, s.Decoded(func(batch Batch) error {
		if truncated = pick(batch) > MaxItems; truncated {
			return ErrStop
		}
		return nil
	}))
	if err == nil && truncated {
		return fmt.Errorf("%w: more than %d", ErrTruncated, MaxItems)
	}
	return err
}

// Replay calls fn with the items of every batch received since the given time, oldest first.
func (s *Store[Batch, Item]) Replay(ctx context.Context, since time.Time, fn func(received time.Time, items []Item) error) error {
	return s.Log.Replay(ctx, since, func(received time.Time, raw []byte) error {
		batch, err := s.codec.Unmarshal(raw)
		if err != nil {
			s.damaged.Add(1)
			return nil
		}
		return fn(received, s.codec.Items(batch))
	})
}
