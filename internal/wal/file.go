package wal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Position names a record. The zero Position is before every record.
type Position struct {
	File   uint64 // sequence number of the file, from 1
	Offset int64
}

// Before orders positions by age.
func (p Position) Before(other Position) bool {
	return p.File < other.File || p.File == other.File && p.Offset < other.Offset
}

// After is the position that follows record, which is at p.
func (p Position) After(record []byte) Position {
	return Position{p.File, p.Offset + headerLen + int64(len(record))}
}

func (p Position) String() string { return fmt.Sprintf("%x:%d", p.File, p.Offset) }

// file is one closed or active file of a log.
type file struct {
	number uint64
	salt   uint32
	size   int64 // bytes up to the end of the last whole record
}

const suffix = ".log"

func (f file) name() string { return fmt.Sprintf("%016x-%08x%s", f.number, f.salt, suffix) }

// parseName reads a file name; ok is false for files that are not a log's.
func parseName(name string) (f file, ok bool) {
	stem, found := strings.CutSuffix(name, suffix)
	if !found || len(stem) != 16+1+8 {
		return f, false
	}
	if _, err := fmt.Sscanf(stem, "%016x-%08x", &f.number, &f.salt); err != nil {
		return f, false
	}
	return f, f.name() == name && f.number > 0
}

// listFiles returns the log's files, oldest first (ReadDir sorts, and the sequence leads the name).
func listFiles(fs FS, dir string) ([]file, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []file
	for _, e := range entries {
		f, ok := parseName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		f.size = info.Size()
		out = append(out, f)
	}
	for i := 1; i < len(out); i++ {
		if out[i].number == out[i-1].number {
			return nil, fmt.Errorf("%s: %s and %s have one number", dir, out[i-1].name(), out[i].name())
		}
	}
	return out, nil
}

// create makes the next file; its name is on the disk before anything is acknowledged from it.
func (l *Log) create(number uint64) (file, File, error) {
	var salt [4]byte
	rand.Read(salt[:]) // crypto/rand never fails: it ends the process
	f := file{number: number, salt: binary.LittleEndian.Uint32(salt[:])}
	path := l.path(f)
	handle, err := l.cfg.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return f, nil, err
	}
	if l.cfg.Durability == Power {
		if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
			handle.Close()
			l.cfg.FS.Remove(path) //nolint:errcheck // the error that counts is the sync's; an empty file is harmless
			return f, nil, err
		}
	}
	return f, handle, nil
}

func (l *Log) path(f file) string { return filepath.Join(l.cfg.Dir, f.name()) }
