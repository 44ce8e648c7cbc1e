package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"weft/internal/wal"
)

// journalFile is small, since only whole files before a snapshot can be dropped.
const journalFile = 1 << 20

// OpenJournal opens the ledger's log in dir and reads what it holds, oldest first. Its records survive a power cut.
func OpenJournal(dir string, log *slog.Logger) (Journal, [][]byte, error) {
	return OpenJournalOn(wal.OS{}, dir, log)
}

// OpenJournalOn is OpenJournal on a file system of the caller's.
func OpenJournalOn(fs wal.FS, dir string, log *slog.Logger) (Journal, [][]byte, error) {
	l, err := wal.Open(wal.Config{
		FS: fs, Dir: dir, FileBytes: journalFile, Durability: wal.Power,
		OnDamage: func(d wal.Damage) {
			log.Error("alert ledger: damaged range stepped over", "file", d.File, "offset", d.Offset, "bytes", d.Length)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	var records [][]byte
	err = l.Replay(wal.Position{}, func(_ wal.Position, record []byte) error {
		records = append(records, slices.Clone(record))
		return nil
	})
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return &journal{l}, records, nil
}

type journal struct{ log *wal.Log }

func (j *journal) Append(record []byte) error {
	_, err := j.log.Append(context.Background(), record)
	return err
}

// Restart relies on a snapshot superseding everything before it: a crash between the two steps only leaves old files.
func (j *journal) Restart(record []byte) error {
	at, err := j.log.Append(context.Background(), record)
	if err != nil {
		return err
	}
	return j.log.DropBefore(at)
}

func (j *journal) Close() error { return j.log.Close() }
