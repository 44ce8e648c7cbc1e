package sealed

import (
	"context"
	"errors"

	"weft/collector/signal"
	"weft/collector/signal/search"
	"weft/collector/store/key"
	"weft/collector/store/sealed/rows"
)

// run calls fn with rows that belong together, beginning with one that the index names, until fn says no. Rows that
// cannot be read are counted. from says where the run must begin; it is false for a row that only has the same hash.
type run struct {
	*rows.Reader
	read *search.Cost
}

// each follows the index: for each row that key leads to it calls fn.
func (f *File) each(ctx context.Context, kind rows.Signal, key key.Key, fn func(run, int) bool) (read search.Cost, err error) {
	rows, n, err := f.ids.Rows(key)
	read.Bytes = n
	if err != nil || len(rows) == 0 {
		return read, err
	}
	r, err := f.reader(kind)
	if err != nil {
		return read, err
	}
	defer func() {
		read.Bytes += r.Bytes
		r.Release()
	}()
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return read, err
		}
		group, local, ok := groupOf(r.Meta, int64(row))
		if !ok {
			return read, errors.Join(ErrIndex, errors.New("it names rows beyond the file's"))
		}
		r.Group = group
		more := fn(run{r, &read}, local)
		if err := r.Take(); err != nil {
			if !errors.Is(err, ErrDamaged) {
				return read, err
			}
			read.Damaged++
		} else if !more {
			break
		}
	}
	return read, nil
}

// follow calls fn with row and those behind it for as long as they are in the run; in also says whether fn wants the row.
func (r run) follow(row int, in func(row int) bool, fn func(row int) (more bool, err error)) bool {
	for ; row < r.Groups[r.Group].Rows && in(row); row++ {
		more, err := fn(row)
		if err != nil {
			if r.Err = err; !errors.Is(err, ErrDamaged) {
				return false
			}
			r.Err = nil
			r.read.Damaged++
			continue
		}
		if !more {
			return false
		}
	}
	return r.Err == nil
}

// ofTrace says which rows are of a trace.
func (r run) ofTrace(id signal.TraceID) func(int) bool {
	return func(row int) bool { return r.Trace(row) == id && r.Err == nil }
}

// HasTrace says whether there is a span of a trace.
func (f *File) HasTrace(ctx context.Context, id signal.TraceID) (found bool, cost search.Cost, err error) {
	cost, err = f.each(ctx, rows.Spans, key.OfTrace(id), func(r run, row int) bool {
		found = r.ofTrace(id)(row)
		return !found
	})
	return found, cost, err
}

// SpansOf calls fn with every span of a trace, in order of start, until it says no.
func (f *File) SpansOf(ctx context.Context, id signal.TraceID, fn func(*signal.Span) bool) (search.Cost, error) {
	return f.each(ctx, rows.Spans, key.OfTrace(id), func(r run, row int) bool {
		r.Prefetch(r.Group, row)
		return r.follow(row, r.ofTrace(id), func(row int) (bool, error) {
			s, err := r.Span(row)
			if err != nil {
				return true, err
			}
			r.read.Rows++
			return fn(&s), nil
		})
	})
}

// TracesOf calls fn with every trace that has a span with this ID as its request ID, client request ID or client trace
// ID, until it says no. A request ID that is the trace's own ID in hex is not looked for.
func (f *File) TracesOf(ctx context.Context, id string, fn func(signal.TraceID) bool) (search.Cost, error) {
	id = signal.Valid(id)
	return f.each(ctx, rows.Spans, key.OfText(id), func(r run, row int) bool {
		if !r.Has(row, id) || r.Err != nil {
			return r.Err == nil || errors.Is(r.Err, ErrDamaged)
		}
		r.read.Rows++
		return fn(r.Trace(row))
	})
}

// EachLog is called with a log record and its row group. Records that are equal in every field are as many as the row
// group has that holds most of them: groups are joined without looking for what is in two of them.
type EachLog func(group int, l *signal.Log) (more bool)

// LogsOfTrace calls fn with every record of a trace, in each row group in order of time, until it says no.
func (f *File) LogsOfTrace(ctx context.Context, id signal.TraceID, fn EachLog) (search.Cost, error) {
	return f.each(ctx, rows.Logs, key.OfTrace(id), func(r run, row int) bool {
		r.Prefetch(r.Group, row)
		return r.follow(row, r.ofTrace(id), r.logs(fn))
	})
}

func (r run) logs(fn EachLog) func(int) (bool, error) {
	return func(row int) (bool, error) {
		l, err := r.Log(row)
		if err != nil {
			return true, err
		}
		r.read.Rows++
		return fn(r.Group, &l), nil
	}
}

// LogsOf calls fn with every record that has this ID as its request ID, client request ID or client trace ID, whether or
// not it is in a trace, until it says no.
func (f *File) LogsOf(ctx context.Context, id string, fn EachLog) (search.Cost, error) {
	id = signal.Valid(id)
	stopped := false
	keys := []key.Key{key.OfText(id)}
	if trace, ok := signal.ParseTraceID(id); ok {
		keys = append(keys, key.OfTrace(trace))
	}
	var read search.Cost
	for _, key := range keys {
		part, err := f.each(ctx, rows.Logs, key, func(r run, row int) bool {
			r.Prefetch(r.Group, row)
			logs := r.logs(func(group int, l *signal.Log) bool {
				stopped = !fn(group, l)
				return !stopped
			})
			return r.follow(row, r.together(row), func(row int) (bool, error) {
				if has := r.Has(row, id); r.Err != nil || !has {
					return true, r.Take()
				}
				return logs(row)
			})
		})
		if read.Add(part); err != nil || stopped {
			return read, err
		}
	}
	return read, nil
}

// together says which rows belong with the first: those of its trace or, without one, of its request ID.
func (r run) together(first int) func(int) bool {
	trace, request := r.Trace(first), r.View(rows.ColRequest, first)
	return func(row int) bool {
		if r.Err != nil || r.Trace(row) != trace {
			return false
		}
		return row == first || !trace.IsZero() || request != "" && r.View(rows.ColRequest, row) == request
	}
}
