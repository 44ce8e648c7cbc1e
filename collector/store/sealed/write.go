package sealed

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"weft/collector/store/sealed/build"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/index"
	"weft/collector/store/sealed/rows"
	"weft/collector/store/sealed/table"
	"weft/internal/wal"
)

// Batch is one record of the log: an OTLP export request as it came, and when (Unix nanoseconds).
type Batch = build.Batch

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

// WriteSpans writes the spans in batches under temporary names, beside path, and syncs them; Publish makes them visible.
// The batches must stay unchanged meanwhile. After an error nothing is left.
func WriteSpans(fs wal.FS, path string, batches []Batch, opts Options) (Summary, error) {
	return writeAll(fs, path, build.Spans(batches, opts.Attributes))
}

// WriteLogs writes the log records in batches, as WriteSpans does spans.
func WriteLogs(fs wal.FS, path string, batches []Batch, opts Options) (Summary, error) {
	return writeAll(fs, path, build.Logs(batches, opts.Attributes))
}

func writeAll(fs wal.FS, path string, all *build.Rows) (Summary, error) {
	o, err := create(fs, path, all.Defs)
	if err != nil {
		return Summary{}, err
	}
	if err := o.write(all); err != nil {
		return Summary{}, errors.Join(fmt.Errorf("write %s: %w", path, err), o.abandon())
	}
	return o.finish(all.Schema)
}

// output is a pair of files being written.
type output struct {
	fs      wal.FS
	path    string
	f       wal.File
	w       *table.Writer
	entries []index.Entry
	n       int64 // rows
	sum     Summary
}

func create(fs wal.FS, path string, defs []column.Def) (*output, error) {
	f, err := createFile(fs, path+tmpSuffix)
	if err != nil {
		return nil, err
	}
	o := &output{fs: fs, path: path, f: f}
	if o.w, err = table.NewWriter(f, defs); err != nil {
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
func (o *output) add(entries []index.Entry, n int) error {
	if o.n+int64(n) > math.MaxUint32 {
		return errTooMany
	}
	for _, e := range entries {
		o.entries = append(o.entries, index.Entry{Key: e.Key, Row: e.Row + uint32(o.n)})
	}
	o.n += int64(n)
	return nil
}

// write writes rows as a row group and enters them in the index.
func (o *output) write(all *build.Rows) error {
	o.sum.Duplicates += all.Gathered - int64(len(all.Order))
	o.sum.Faulty += all.Faulty
	o.sum.Malformed += all.Malformed
	for _, row := range all.Order {
		o.sum.observe(all.Time(row), all.Received(row))
	}
	o.sum.addServices(all.Services())
	if err := o.w.Group(all.Table, all.Order); err != nil {
		return err
	}
	return o.add(all.Entries(), len(all.Order))
}

// finish writes the footer and the index, and syncs both files.
func (o *output) finish(s *rows.Schema) (Summary, error) {
	sum, err := o.close(s)
	if err != nil {
		return Summary{}, errors.Join(fmt.Errorf("write %s: %w", o.path, err), o.abandon())
	}
	if err := o.f.Close(); err != nil {
		return Summary{}, errors.Join(err, Discard(o.fs, o.path))
	}
	return sum, nil
}

func (o *output) close(s *rows.Schema) (Summary, error) {
	summary, err := json.Marshal(o.sum)
	if err != nil {
		return o.sum, err
	}
	facts, err := s.Facts(summary)
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
