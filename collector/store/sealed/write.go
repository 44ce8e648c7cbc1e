package sealed

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/index"
	"weft/internal/wal"
)

// Batch is one record of the log: an OTLP export request as it came, and when (Unix nanoseconds).
type Batch struct {
	Received int64
	Raw      []byte
}

// Options are choices in writing. The zero value is a good one.
type Options struct {
	// Attributes are the keys that had columns in the file before. They keep them while they are half as frequent as
	// others must be, so that files stay alike and can be joined without being written anew.
	Attributes []string
}

const (
	suffix      = ".parquet"
	indexSuffix = ".idx"
	tmpSuffix   = ".tmp"
)

// IndexPath is where the index of a file lies.
func IndexPath(path string) string { return strings.TrimSuffix(path, suffix) + indexSuffix }

// Publish makes a written file visible under its path: the index first, the rows last.
func Publish(fs wal.FS, path string) error {
	if err := fs.Rename(IndexPath(path)+tmpSuffix, IndexPath(path)); err != nil {
		return err
	}
	if err := fs.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// Discard removes a file that was written and is not wanted any more.
func Discard(fs wal.FS, path string) error {
	return errors.Join(removeAny(fs, path+tmpSuffix), removeAny(fs, IndexPath(path)+tmpSuffix))
}

// Remove removes a published file: the rows first, so that what a crash leaves is an index alone.
func Remove(fs wal.FS, path string) error {
	if err := removeAny(fs, path); err != nil {
		return err
	}
	return removeAny(fs, IndexPath(path))
}

func removeAny(fs wal.FS, path string) error {
	if err := fs.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// output is a pair of files being written.
type output struct {
	fs      wal.FS
	path    string
	f       wal.File
	w       *column.Writer
	entries []index.Entry
	rows    int64
	sum     Summary
}

func create(fs wal.FS, path string, defs []column.Def) (*output, error) {
	f, err := createFile(fs, path+tmpSuffix)
	if err != nil {
		return nil, err
	}
	o := &output{fs: fs, path: path, f: f}
	if o.w, err = column.NewWriter(f, defs); err != nil {
		return nil, errors.Join(err, o.abandon())
	}
	return o, nil
}

func createFile(fs wal.FS, path string) (wal.File, error) {
	if err := removeAny(fs, path); err != nil {
		return nil, err
	}
	return fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// abandon removes what was written.
func (o *output) abandon() error {
	return errors.Join(o.f.Close(), Discard(o.fs, o.path))
}

var errTooMany = errors.New("more rows than a file may have")

// add enters rows in the index; they are counted in the row group that comes next.
func (o *output) add(entries []index.Entry, rows int) error {
	if o.rows+int64(rows) > math.MaxUint32 {
		return errTooMany
	}
	for _, e := range entries {
		o.entries = append(o.entries, index.Entry{Key: e.Key, Row: e.Row + uint32(o.rows)})
	}
	o.rows += int64(rows)
	return nil
}

// finish writes the footer and the index, and syncs both files.
func (o *output) finish(s *schema) (Summary, error) {
	sum, err := o.close(s)
	if err != nil {
		return Summary{}, errors.Join(fmt.Errorf("write %s: %w", o.path, err), o.abandon())
	}
	if err := o.f.Close(); err != nil {
		return Summary{}, errors.Join(err, Discard(o.fs, o.path))
	}
	return sum, nil
}

func (o *output) close(s *schema) (Summary, error) {
	facts, summary, err := s.facts(o.sum)
	if err != nil {
		return o.sum, err
	}
	size, err := o.w.Close(facts)
	if err != nil {
		return o.sum, err
	}
	if err := o.f.Sync(); err != nil {
		return o.sum, err
	}
	about := index.About{Size: size, Footer: o.w.FooterSum(), Summary: summary}
	n, err := writeIndex(o.fs, IndexPath(o.path)+tmpSuffix, index.Sort(o.entries), about)
	o.sum.Bytes = size + n
	return o.sum, err
}

// writeIndex writes and syncs an index under a temporary name.
func writeIndex(fs wal.FS, path string, entries []index.Entry, about index.About) (int64, error) {
	f, err := createFile(fs, path)
	if err != nil {
		return 0, err
	}
	err = index.Write(f, entries, about)
	if err == nil {
		err = f.Sync()
	}
	size, sizeErr := f.Size()
	return size, errors.Join(err, sizeErr, f.Close())
}
