// Package manifest is the list of a signal's segments that count, in one file. It is written to another name, synced and
// renamed: the rename is what makes a change of the segments true.
//
// The file is one line with the checksum (CRC32C, hex) of the rest, then JSON.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"weft/internal/wal"
)

// Manifest lists the segments that count.
type Manifest struct {
	// Sealed is the newest log file whose batches are in segments; 0 = none.
	Sealed uint64 `json:"sealed"`
	// Generation is the highest one given to a segment so far.
	Generation uint64  `json:"generation"`
	Segments   []Entry `json:"segments"` // oldest first
}

// Entry is one segment: what the log files From to To held.
type Entry struct {
	From       uint64 `json:"from"`
	To         uint64 `json:"to"`
	Generation uint64 `json:"generation"` // tells segments of the same log files apart
	Tail       bool   `json:"tail,omitempty"`
	Summary
}

// Name is the segment's file name without its extension.
func (e Entry) Name() string {
	kind := "segment"
	if e.Tail {
		kind = "tail"
	}
	return fmt.Sprintf("%s-%016x-%016x-%08x", kind, e.From, e.To, e.Generation)
}

// Parse reads a name back; ok is false for files that are no segment's.
func Parse(name string) (e Entry, ok bool) {
	stem, _, _ := strings.Cut(name, ".")
	kind, rest, _ := strings.Cut(stem, "-")
	if _, err := fmt.Sscanf(rest, "%016x-%016x-%08x", &e.From, &e.To, &e.Generation); err != nil {
		return e, false
	}
	e.Tail = kind == "tail"
	return e, e.Name() == stem
}

const fileName = "manifest"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrNone says that there is none, or none that checks.
var ErrNone = errors.New("no manifest")

// Read reads the manifest in dir; ErrNone when there is none that checks.
func Read(fs wal.FS, dir string) (m Manifest, err error) {
	path := filepath.Join(dir, fileName)
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if os.IsNotExist(err) {
		return m, ErrNone
	} else if err != nil {
		return m, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return m, err
	}
	raw := make([]byte, size)
	if _, err := f.ReadAt(raw, 0); err != nil && err != io.EOF {
		return m, err
	}
	line, body, _ := strings.Cut(string(raw), "\n")
	sum, err := strconv.ParseUint(line, 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum([]byte(body), castagnoli) {
		return m, fmt.Errorf("%w: %s does not check", ErrNone, path)
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrNone, path, err)
	}
	return m, nil
}

// Write makes m the manifest in dir.
func (m Manifest) Write(fs wal.FS, dir string) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	raw := append(fmt.Appendf(nil, "%08x\n", crc32.Checksum(body, castagnoli)), body...)
	path := filepath.Join(dir, fileName)
	if err := writeSynced(fs, path+".tmp", raw); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := fs.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return fs.SyncDir(dir)
}

func writeSynced(fs wal.FS, path string, raw []byte) error {
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(raw, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Summary is what a segment says of itself; the manifest keeps it, so that most segments need not be opened.
type Summary struct {
	Rows          int64    `json:"rows"`
	Duplicates    int64    `json:"duplicates,omitempty"` // items left out because they were there already
	First         int64    `json:"first"`                // time of the earliest item, Unix nanoseconds
	Last          int64    `json:"last"`                 // end of the latest item
	FirstReceived int64    `json:"first_received"`
	LastReceived  int64    `json:"last_received"`
	Bytes         int64    `json:"bytes"` // on the disk, all files
	Services      []string `json:"services,omitempty"`
}

// SupersededBy says that o, made later, holds all the log files that e holds.
func (e Entry) SupersededBy(o Entry) bool {
	return o.Generation > e.Generation && o.From <= e.From && o.To >= e.To && o.Tail == e.Tail
}

// Older orders segments by what they hold, then by when they were made.
func Older(a, b Entry) int {
	if a.From != b.From {
		return int(int64(a.From) - int64(b.From))
	}
	return int(int64(a.Generation) - int64(b.Generation))
}
