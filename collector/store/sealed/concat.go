package sealed

import (
	"errors"
	"fmt"
	"slices"

	"weft/collector/store/sealed/column"
	"weft/internal/wal"
)

// Concat writes the rows of files, which lie in path's order of time, into one, under temporary names. When their
// columns are the same and their row groups large, those are copied as they are; else the rows are written anew (Copy).
func Concat(fs wal.FS, path string, files []*File) (Summary, error) {
	alike, err := canJoin(files)
	if err != nil {
		return Summary{}, err
	}
	if !alike {
		return Copy(fs, path, files, func(Row) bool { return true })
	}
	first, err := files[0].reader("")
	if err != nil {
		return Summary{}, err
	}
	o, err := create(fs, path, first.Columns)
	if err != nil {
		return Summary{}, err
	}
	s := &schema{signal: first.schema.signal, attributes: slices.Clone(first.schema.attributes)}
	for _, f := range files {
		if err := o.join(f, s); err != nil {
			return Summary{}, errors.Join(fmt.Errorf("join %s: %w", f.path, err), o.abandon())
		}
	}
	return o.finish(s)
}

// smallGroup is the number of rows below which a row group is not worth keeping: its pages and footer cost too much.
const smallGroup = 1 << 15

func canJoin(files []*File) (bool, error) {
	if len(files) == 0 {
		return false, errors.New("no files to join")
	}
	var first *rowReader
	for i, f := range files {
		r, err := f.reader("")
		if err != nil {
			return false, err
		}
		if i == 0 {
			first = r
		}
		if r.schema.signal != first.schema.signal {
			return false, fmt.Errorf("%s holds %s, not %s", f.path, r.schema.signal, first.schema.signal)
		}
		if !r.Same(first.Meta) || !slices.EqualFunc(r.schema.attributes, first.schema.attributes, sameAttribute) ||
			slices.ContainsFunc(r.Groups, func(g column.Group) bool { return g.Rows < smallGroup }) {
			return false, nil
		}
	}
	return true, nil
}

func sameAttribute(a, b Attribute) bool { return a.Column == b.Column && a.Key == b.Key }

// join copies a file's row groups and enters their rows in the index.
func (o *output) join(f *File, s *schema) error {
	if err := o.w.Copy(f.rows); err != nil {
		return err
	}
	r, err := f.reader("")
	if err != nil {
		return err
	}
	for g := range r.Groups {
		entries, damaged := r.entries(g)
		if o.sum.Lost += damaged; r.err != nil {
			return r.err
		}
		if err := o.add(entries, r.Groups[g].Rows); err != nil {
			return err
		}
	}
	s.merge(r.schema)
	o.sum.merge(f.Summary)
	return nil
}

// merge adds what another file says of its columns.
func (s *schema) merge(o *schema) {
	for i := range s.attributes {
		s.attributes[i].Elsewhere = s.attributes[i].Elsewhere || o.attributes[i].Elsewhere
	}
	s.rest = append(s.rest, o.rest...)
	slices.Sort(s.rest)
	s.rest = slices.Compact(s.rest)
	s.many = s.many || o.many || len(s.rest) > maxRest
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
