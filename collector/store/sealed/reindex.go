package sealed

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"weft/collector/store/sealed/index"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

// RebuildIndex makes the index of a published file from its rows, and publishes it. damaged is how many rows cannot be
// read, and are not found by all of their IDs.
func RebuildIndex(fs wal.FS, path string) (damaged int64, err error) {
	data, err := openRows(fs, path, NewCache(0))
	if err != nil {
		return 0, err
	}
	f := &File{path: path, data: data}
	entries, damaged, about, err := f.index()
	if err = errors.Join(err, data.Close()); err != nil {
		return damaged, fmt.Errorf("index %s: %w", path, err)
	}
	tmp := IndexPath(path) + tmpSuffix
	if _, err := writeIndex(fs, tmp, entries, about); err != nil {
		return damaged, errors.Join(err, removeAny(fs, tmp))
	}
	if err := fs.Rename(tmp, IndexPath(path)); err != nil {
		return damaged, err
	}
	return damaged, fs.SyncDir(filepath.Dir(path))
}

// index is what the index of a file must be.
func (f *File) index() (entries []index.Entry, damaged int64, about index.About, err error) {
	r, err := f.reader("")
	if err != nil {
		return nil, 0, about, err
	}
	for g := range r.Groups {
		part, n := r.Entries(g)
		if damaged += n; r.Err != nil {
			return nil, damaged, about, r.Err
		}
		for _, e := range part {
			entries = append(entries, index.Entry{Key: e.Key, Row: e.Row + uint32(r.Groups[g].First)})
		}
	}
	summary := []byte(r.Facts[rows.FactSummary])
	if !json.Valid(summary) {
		return nil, damaged, about, fmt.Errorf("%w: %s", ErrDamaged, rows.FactSummary)
	}
	return index.Sort(entries), damaged, index.About{Size: f.data.Size(), Footer: r.FooterSum, Summary: summary}, nil
}
