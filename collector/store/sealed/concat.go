package sealed

import (
	"errors"
	"fmt"
	"slices"

	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

// Concat writes the rows of files, which lie in path's order of time, into one, under temporary names. When their
// columns are the same and their row groups large, those are copied as they are; else the rows are written anew (Copy).
func Concat(fs wal.FS, path string, files []*File) (Summary, error) {
	readers, err := readersOf(files)
	if err != nil {
		return Summary{}, err
	}
	if !canJoin(readers) {
		return Copy(fs, path, files, func(Row) bool { return true })
	}
	first := readers[0]
	o, err := create(fs, path, first.Columns)
	if err != nil {
		return Summary{}, err
	}
	s := rows.NewSchema(first.Schema.Signal)
	s.Attributes = slices.Clone(first.Schema.Attributes)
	for _, f := range files {
		if err := o.join(f, s); err != nil {
			return Summary{}, errors.Join(fmt.Errorf("join %s: %w", f.path, err), o.abandon())
		}
	}
	return o.finish(s)
}

// smallGroup is the number of rows below which a row group is not worth keeping: its pages and footer cost too much.
const smallGroup = 1 << 15

// canJoin says whether row groups can be copied as they are.
func canJoin(all []*rows.Reader) bool {
	for _, r := range all {
		if !r.Same(all[0].Meta) || !slices.EqualFunc(r.Schema.Attributes, all[0].Schema.Attributes, sameAttribute) ||
			slices.ContainsFunc(r.Groups, func(g column.Group) bool { return g.Rows < smallGroup }) {
			return false
		}
	}
	return true
}

func sameAttribute(a, b rows.Attribute) bool { return a.Column == b.Column && a.Key == b.Key }

// join copies a file's row groups and enters their rows in the index.
func (o *output) join(f *File, s *rows.Schema) error {
	if err := o.w.Copy(f.data); err != nil {
		return err
	}
	r, err := f.reader("")
	if err != nil {
		return err
	}
	for g := range r.Groups {
		entries, damaged := r.Entries(g)
		if o.sum.Lost += damaged; r.Err != nil {
			return r.Err
		}
		if err := o.add(entries, r.Groups[g].Rows); err != nil {
			return err
		}
	}
	s.Merge(r.Schema)
	o.sum.merge(f.Summary)
	return nil
}

// merge adds another file's summary.
func (s *Summary) merge(o Summary) {
	if o.Rows > 0 {
		if s.Rows == 0 {
			s.First, s.Last, s.FirstReceived, s.LastReceived = o.First, o.Last, o.FirstReceived, o.LastReceived
		}
		s.First, s.Last = min(s.First, o.First), max(s.Last, o.Last)
		s.FirstReceived, s.LastReceived = min(s.FirstReceived, o.FirstReceived), max(s.LastReceived, o.LastReceived)
	}
	s.Rows += o.Rows
	s.tallies(o)
	if s.more = s.more || o.Services == nil; s.more {
		s.Services = nil
		return
	}
	s.addServices(o.Services)
}

// tallies adds what was left out of another file.
func (s *Summary) tallies(o Summary) {
	s.Duplicates, s.Faulty, s.Malformed, s.Lost = s.Duplicates+o.Duplicates, s.Faulty+o.Faulty, s.Malformed+o.Malformed, s.Lost+o.Lost
}
