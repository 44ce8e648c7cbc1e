package wal

import (
	"cmp"
	"errors"
	"fmt"

	"weft/internal/config"
)

// Durability is what an acknowledgement survives.
type Durability string

const (
	// Process survives a crash of the process: the record was handed to the kernel by write(2).
	Process Durability = "process"
	// Power also survives a crash of the machine: fdatasync(2) returned, once for each group of records.
	Power Durability = "power"
)

// Config is one log. The zero value of every field but Dir is a working default.
type Config struct {
	Dir        string
	FileBytes  int64      // a file is closed at about this size; default 64 MiB, at most 2 GiB
	MaxRecord  int        // bytes of one record; default 64 MiB
	MaxBytes   int64      // of all files together, beyond which Append answers ErrFull; 0 is no limit
	Reserve    int        // percent of the disk that must stay free, below which Append answers ErrFull; 0 is none
	Durability Durability // default Process
	FS         FS         // default the operating system's
	// OnAppend, if set, hears of every record that is stored, as the parts it came in, in the order of the log: before
	// anybody can read it, and before its appender knows. It must be quick, since appenders wait.
	OnAppend func(Position, [][]byte)
	// OnDamage, if set, hears of every damaged range that Replay or a Tail steps over.
	OnDamage func(Damage)
}

// Validate names the faulty key under prefix.
func (c Config) Validate(prefix string) error {
	var faults []error
	fault := func(bad bool, key, message string) {
		if bad {
			faults = append(faults, config.Faultf(prefix+key, "%s", message))
		}
	}
	fault(c.Dir == "", "dir", "is required")
	fault(c.FileBytes < 0 || c.FileBytes > maxFile, "file_bytes", "must be between 0 and 2 GiB")
	fault(c.MaxRecord < 0 || c.MaxRecord > maxRecord, "max_record", "must be between 0 and 1 GiB")
	fault(c.MaxBytes < 0, "max_bytes", "must not be negative")
	fault(c.Reserve < 0 || c.Reserve > 90, "reserve_percent", "must be between 0 and 90")
	fault(c.Durability != "" && c.Durability != Process && c.Durability != Power, "durability", `must be "process" or "power"`)
	return errors.Join(faults...)
}

const (
	maxFile   = 2 << 30
	maxRecord = 1 << 30
)

func (c Config) withDefaults() Config {
	c.FileBytes = cmp.Or(c.FileBytes, 64<<20)
	c.MaxRecord = cmp.Or(c.MaxRecord, 64<<20)
	c.Durability = cmp.Or(c.Durability, Process)
	if c.FS == nil {
		c.FS = OS{}
	}
	return c
}

// ErrFull says that a record was refused because the disk or the log's own budget is used up. It is retryable: space
// comes back by retention or by hand.
var ErrFull = errors.New("store is full")

// ErrTooLarge says that a record exceeds Config.MaxRecord. It is not retryable.
var ErrTooLarge = errors.New("record is too large")

// ErrGone says that a position's file was dropped or its record is damaged.
var ErrGone = errors.New("record is gone")

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("log is closed")

// ErrStop makes Replay stop without an error.
var ErrStop = errors.New("stop")

// CheckReserve answers ErrFull when less than percent of dir's disk is free.
func CheckReserve(fs FS, dir string, percent int) error {
	if percent == 0 {
		return nil
	}
	free, total, err := fs.Free(dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free*100 < total*uint64(percent) {
		return fmt.Errorf("%w: %d MiB free on the disk of %s, the reserve is %d %% of %d MiB", ErrFull, free>>20, dir, percent, total>>20)
	}
	return nil
}
