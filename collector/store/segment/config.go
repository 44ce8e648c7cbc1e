package segment

import (
	"cmp"
	"errors"
	"time"

	"weft/internal/config"
	"weft/internal/wal"
)

// Config is the log of one signal.
type Config struct {
	Dir        string
	FileBytes  int64          // a log file is closed at about this size; default 128 MiB
	Retention  Retention      //
	Durability wal.Durability // default wal.Process
	Reserve    int            // percent of the disk that stays free; beyond it Append answers wal.ErrFull
	MaxRecord  int            // bytes of one batch; default 64 MiB
	FS         wal.FS         // default the operating system's
	Now        func() time.Time
}

// Retention is how long data stays. Files are dropped whole, oldest first.
type Retention struct {
	Age   time.Duration `yaml:"age" mapstructure:"age"`     // since receipt; 0 = for ever
	Bytes int64         `yaml:"bytes" mapstructure:"bytes"` // of all files; 0 = no limit
}

// Validate names the faulty key under prefix.
func (r Retention) Validate(prefix string) error {
	var faults []error
	if r.Age < 0 {
		faults = append(faults, config.Faultf(prefix+"age", "must not be negative"))
	}
	if r.Bytes < 0 || r.Bytes > 0 && r.Bytes < minRetained {
		faults = append(faults, config.Faultf(prefix+"bytes", "must be 0 (no limit) or at least %d MiB", minRetained>>20))
	}
	return errors.Join(faults...)
}

const (
	minRetained = 8 << 20
	// maxEntries bounds the index in memory, 27 bytes an entry, where batches are full of different IDs.
	maxEntries = 1 << 20
	// maxUnsealed bounds the files whose index is in memory, should sealing fail or fall behind.
	maxUnsealed = 4
	// sealAfter closes a file that fills slowly, so that retention by age can drop it.
	sealAfter = time.Hour
)

func (c Config) withDefaults() Config {
	c.FileBytes = cmp.Or(c.FileBytes, 128<<20)
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
	return c
}
