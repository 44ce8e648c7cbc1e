package queue

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"weft/internal/wal"
)

// cursorFile says up to where the log was sent: the name of one of its files, an offset, and a checksum of both. To lose
// it means to send again, which the collector notices; to believe a wrong one would mean to lose items. So it names its
// file by salt, and one that does not fit the log is deleted before anything is appended.
const cursorFile = "cursor"

type cursor struct {
	fs  wal.FS
	dir string
}

func (c cursor) path() string { return filepath.Join(c.dir, cursorFile) }

func cursorText(file string, offset int64) string {
	text := fmt.Sprintf("%s %d", file, offset)
	return fmt.Sprintf("%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// load is the position in the log that the cursor names; the zero Position when there is none that fits.
func (c cursor) load(log *wal.Log) (wal.Position, error) {
	text, err := c.read()
	if errors.Is(err, os.ErrNotExist) {
		return wal.Position{}, nil
	} else if err != nil {
		return wal.Position{}, err
	}
	var file string
	var offset int64
	if _, err := fmt.Sscanf(text, "%s %d", &file, &offset); err == nil && text == cursorText(file, offset) {
		for _, f := range log.Files() {
			if filepath.Base(f.Path) == file && offset <= f.Size {
				return wal.Position{File: f.Number, Offset: offset}, nil
			}
		}
	}
	// Its file was sent and deleted, or the log is shorter than it was: what is left is to be sent from its beginning.
	if err := c.fs.Remove(c.path()); err != nil {
		return wal.Position{}, fmt.Errorf("delete a cursor that does not fit its log: %w", err)
	}
	return wal.Position{}, c.fs.SyncDir(c.dir)
}

func (c cursor) read() (string, error) {
	file, err := c.fs.OpenFile(c.path(), os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text := make([]byte, 256)
	n, err := file.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	return string(text[:n]), nil
}

// save replaces the cursor as a whole. No sync: what a power cut takes away is only sent again.
func (c cursor) save(log *wal.Log, at wal.Position) error {
	for _, f := range log.Files() {
		if f.Number == at.File {
			return c.write(cursorText(filepath.Base(f.Path), at.Offset))
		}
	}
	return nil // its file is deleted, and with it all before
}

func (c cursor) write(text string) error {
	next := c.path() + ".tmp"
	file, err := c.fs.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(text), 0)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return c.fs.Rename(next, c.path())
}
