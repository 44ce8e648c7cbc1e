package sealed

import (
	"errors"
	"fmt"

	"weft/collector/signal"
	"weft/collector/store/sealed/build"
	"weft/collector/store/sealed/column"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

// Row is a row that Copy may keep. What is asked for is read. A field that cannot be read counts the row as lost.
type Row struct {
	r   *rows.Reader
	row int
}

// Trace is the trace ID, zero when there is none.
func (w Row) Trace() signal.TraceID { return w.r.Trace(w.row) }

// Service is the service's name.
func (w Row) Service() string { return w.r.Text(rows.ColService, w.row) }

// RequestID is the request ID, empty when there is none.
func (w Row) RequestID() string { return w.r.Request(w.row, w.Trace()) }

// Has says whether the row has an ID: as its request ID, client request ID or client trace ID.
func (w Row) Has(id string) bool { return w.r.Has(w.row, signal.Valid(id)) }

// Failed says whether a span's status is error.
func (w Row) Failed() bool { return w.r.View(rows.ColStatus, w.row) == signal.StatusError.String() }

// Duration is a span's, in nanoseconds.
func (w Row) Duration() int64 { return w.r.Int(rows.ColDuration, w.row) }

// SeverityNumber is a log record's.
func (w Row) SeverityNumber() int32 { return int32(w.r.Int(rows.ColSeverityNumber, w.row)) }

// Received is when the row's batch came, Unix nanoseconds.
func (w Row) Received() int64 { return w.r.Int(rows.ColReceived, w.row) }

// groupRows is how many rows a row group is filled with.
const groupRows = 1 << 18

// Copy writes the rows of files that keep wants into one file, under temporary names. Row groups are filled anew, in the
// order of the files. Of the rows for one of them, a span is kept once, and a log record as often as the row group that it
// comes from has it, or the one of several that has it most often.
func Copy(fs wal.FS, path string, files []*File, keep func(Row) bool) (Summary, error) {
	readers, err := readersOf(files)
	if err != nil {
		return Summary{}, err
	}
	g := &gatherer{}
	g.schema, g.defs = build.Union(readers)
	o, err := create(fs, path, g.defs)
	if err != nil {
		return Summary{}, err
	}
	for i, f := range files {
		g.hint = min(groupRows, g.hint+int(f.Rows))
		o.sum.tallies(f.Summary)
		if err := o.copy(readers[i], g, keep); err != nil {
			return Summary{}, errors.Join(fmt.Errorf("copy %s: %w", f.path, err), o.abandon())
		}
	}
	if err := o.writeGathered(g); err != nil {
		return Summary{}, errors.Join(fmt.Errorf("write %s: %w", path, err), o.abandon())
	}
	return o.finish(g.schema)
}

// readersOf begins to read files that hold the same signal.
func readersOf(files []*File) (out []*rows.Reader, err error) {
	if len(files) == 0 {
		return nil, errors.New("no files")
	}
	for _, f := range files {
		r, err := f.reader("")
		if err != nil {
			return nil, err
		}
		if out = append(out, r); r.Schema.Signal != out[0].Schema.Signal {
			return nil, fmt.Errorf("%s holds %s, not %s", f.path, r.Schema.Signal, out[0].Schema.Signal)
		}
	}
	return out, nil
}

func (o *output) copy(r *rows.Reader, c *gatherer, keep func(Row) bool) error {
	for g := range r.Groups {
		r.Group = g
		for row := range r.Groups[g].Rows {
			if wanted := keep(Row{r, row}); r.Err == nil && wanted {
				if c.full() && !c.copier.Continues(r, row) {
					if err := o.writeGathered(c); err != nil {
						return err
					}
				}
				c.next().Add(r, row)
			}
			if err := r.Take(); errors.Is(err, ErrDamaged) {
				o.sum.Lost++
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// gatherer fills row groups.
type gatherer struct {
	schema *rows.Schema
	defs   []column.Def
	hint   int
	copier *build.Copier // nil when there is nothing yet
}

func (g *gatherer) next() *build.Copier {
	if g.copier == nil {
		g.copier = build.NewCopier(g.schema, g.defs, g.hint)
	}
	return g.copier
}

func (g *gatherer) full() bool { return g.copier != nil && g.copier.Len() >= groupRows }

func (o *output) writeGathered(g *gatherer) error {
	if g.copier == nil {
		return nil
	}
	all := g.copier.Rows()
	g.copier = nil
	return o.write(all)
}
