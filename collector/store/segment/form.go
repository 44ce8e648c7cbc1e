package segment

import (
	"context"
	"time"

	"weft/collector/store/key"
	"weft/collector/store/segment/manifest"
)

// Batch is one record of the log: an OTLP export request as it came.
type Batch struct {
	Received int64 // Unix nanoseconds
	Raw      []byte
}

// File is an open segment.
type File interface {
	Close() error
}

// Form is what a signal's batches hold, and what its segments look like. Seal, Copy and Join make the files of a
// segment whole and durable under base, a path without an extension, or leave nothing of use: the log publishes them.
type Form[F File] struct {
	// Extensions are the names' ends of a segment's files.
	Extensions []string
	// Keys calls add with every key under which a batch is to be found, and returns how many items it holds.
	Keys func(batch []byte, add func(key.Key)) (items int, err error)
	// Seal makes a segment of batches, in the order in which they came.
	Seal func(base string, batches []Batch) (manifest.Summary, error)
	// Join makes one segment that holds what the given ones hold.
	Join func(ctx context.Context, base string, files []F) (manifest.Summary, error)
	// Keep makes a segment of what is worth more than the bulk; one without rows need not have files.
	Keep func(ctx context.Context, base string, files []F, worth Worth) (manifest.Summary, error)
	// Without makes a segment without the request that id names.
	Without func(ctx context.Context, base string, file F, id string) (manifest.Summary, error)
	// Salvage makes a segment of what can still be read of a damaged one.
	Salvage func(ctx context.Context, base string, file F) (manifest.Summary, error)
	// Open opens the segment at base; Summary is what it says of itself.
	Open    func(base string) (F, error)
	Summary func(F) manifest.Summary
	// Check proves every byte of the segment at base; Repair makes what can be made anew from the rest of it.
	Check, Repair func(ctx context.Context, base string) error
}

// Worth says what outlives the bulk.
type Worth struct {
	Slow   time.Duration // requests that took as long; 0 = none for that
	Pinned []string      // requests that an alert or a verdict names, by their IDs
}
