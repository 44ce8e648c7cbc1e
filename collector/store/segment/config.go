package segment

import (
	"cmp"
	"sync"
	"time"

	"weft/collector/store/segment/retention"
	"weft/internal/wal"
)

// Config is the log of one signal.
type Config struct {
	Dir        string
	FileBytes  int64 // a log file is closed at about this size; default 64 MiB
	Retention  retention.Policy
	Durability wal.Durability // default wal.Process
	Reserve    int            // percent of the disk that stays free; beyond it Append answers wal.ErrFull
	MaxRecord  int            // bytes of one batch; default 64 MiB
	FS         wal.FS         // default the operating system's
	Now        func() time.Time
	// Turn, if set, is held while a segment is made, so that logs which share it take turns with processor and memory.
	Turn *Turn
	// Pinned is the request IDs and trace IDs whose requests outlive the bulk; default none.
	Pinned func() []string
}

const (
	// maxEntries bounds the index in memory, 27 bytes an entry, where batches are full of different IDs.
	maxEntries = 4 << 20
	// maxUnsealed bounds the log files that are not sealed, should sealing fail or fall behind: a start reads them all.
	maxUnsealed = 16
	// keepLogs is how many sealed log files stay, for a restart to fill memories from.
	keepLogs = 2
	// sealAfter closes a file that fills slowly, so that retention by age can drop it.
	sealAfter = time.Hour
)

func (c Config) withDefaults() Config {
	c.FileBytes = cmp.Or(c.FileBytes, 64<<20)
	if c.Retention.Bytes > 0 { // dropping a file must not drop most of what there is
		c.FileBytes = min(c.FileBytes, c.Retention.Bytes/8)
	}
	c.MaxRecord = cmp.Or(c.MaxRecord, 64<<20)
	if c.FS == nil {
		c.FS = wal.OS{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Turn == nil {
		c.Turn = &Turn{}
	}
	if c.Pinned == nil {
		c.Pinned = func() []string { return nil }
	}
	return c
}

// Turn is the right to make a segment, and the memory to read a log file into.
type Turn struct {
	sync.Mutex
	buffer []byte // kept from one segment to the next: fresh memory costs more than the reading
	used   time.Time
}

// rest gives the memory back when nothing was sealed for a while.
func (t *Turn) rest(now time.Time) {
	t.Lock()
	defer t.Unlock()
	if now.Sub(t.used) > time.Minute {
		t.buffer = nil
	}
}
