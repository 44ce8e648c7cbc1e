package sealed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"

	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/index"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

var (
	// ErrDamaged says that a file does not check.
	ErrDamaged = column.ErrDamaged
	// ErrIndex says that the index of a file is missing, damaged or of another file. RebuildIndex makes a new one.
	ErrIndex = index.ErrDamaged
)

// Cache is the memory that open files share.
type Cache = column.Cache

// NewCache makes a cache of about limit bytes. Some 20 KiB a row group and the dictionaries that are asked for, 100 KiB
// or so, make its look-ups read nothing twice.
func NewCache(limit int) *Cache { return column.NewCache(limit) }

// File is an open file. It holds less than a kilobyte in memory, and what the cache keeps of it.
type File struct {
	Summary
	path string
	data *column.Reader
	ids  *index.File
}

// Open opens a published file. It reads the index' first kilobyte, and nothing of the rows.
func Open(fs wal.FS, path string, cache *Cache) (*File, error) {
	x, err := openIndex(fs, path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, ids: x}
	if err := json.Unmarshal(x.Summary, &f.Summary); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrIndex, IndexPath(path), err), x.Close())
	}
	x.Summary = nil // read, and thousands of files may be open
	if f.data, err = openRows(fs, path, cache); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	if f.data.Size() != x.Size {
		return nil, errors.Join(fmt.Errorf("%w: %s is of a file of %d bytes", ErrIndex, IndexPath(path), x.Size), f.Close())
	}
	f.Bytes = x.Size + x.Bytes()
	return f, nil
}

func openIndex(fs wal.FS, path string) (*index.File, error) {
	f, err := fs.OpenFile(IndexPath(path), os.O_RDONLY)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %w", ErrIndex, err)
	} else if err != nil {
		return nil, err
	}
	x, err := index.Open(f, IndexPath(path))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return x, nil
}

func openRows(fs wal.FS, path string, cache *Cache) (*column.Reader, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	r, err := column.NewReader(f, path, cache, rows.ReadSchema)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// Path is where the rows are.
func (f *File) Path() string { return f.path }

// Close closes both files. Nothing may be reading.
func (f *File) Close() error { return errors.Join(f.data.Close(), f.ids.Close()) }

// Columns reads the footer: how many rows there are, and the keys of attributes that have columns of their own, which the
// next file's Options want.
func (f *File) Columns() (rows int64, attributes []string, err error) {
	r, err := f.reader("")
	if err != nil {
		return 0, nil, err
	}
	for _, a := range r.Schema.Attributes {
		attributes = append(attributes, a.Key)
	}
	return r.Rows, attributes, nil
}

// reader begins to read rows. A file of another signal is an error.
func (f *File) reader(kind rows.Signal) (*rows.Reader, error) {
	c, err := f.data.Cursor()
	if err != nil {
		return nil, err
	}
	r := rows.NewReader(c)
	if kind != "" && r.Schema.Signal != kind {
		return nil, fmt.Errorf("%s holds %s, not %s", f.path, r.Schema.Signal, kind)
	}
	return r, nil
}

// groupOf finds the row group of a row of the file.
func groupOf(m *column.Meta, row int64) (group, local int, ok bool) {
	i := sort.Search(len(m.Groups), func(i int) bool { return m.Groups[i].First > row }) - 1
	if i < 0 || row >= m.Groups[i].First+int64(m.Groups[i].Rows) {
		return 0, 0, false
	}
	return i, int(row - m.Groups[i].First), true
}
