package sealed

import (
	"context"
	"errors"
	"fmt"

	"weft/collector/signal"
	"weft/collector/store/sealed/index"
	"weft/collector/store/sealed/rows"
	"weft/internal/wal"
)

// Check proves a published file: that every page can be read and is within its bounds, that rows are in order and as many
// as the summary says, and that the index holds what follows from them and nothing else.
func Check(ctx context.Context, fs wal.FS, path string) error {
	f, err := Open(fs, path, NewCache(0))
	if err != nil {
		return err
	}
	return errors.Join(f.check(ctx), f.Close())
}

func (f *File) check(ctx context.Context) error {
	r, err := f.reader("")
	if err != nil {
		return err
	}
	if r.Rows != f.Rows {
		return fmt.Errorf("%w: %s has %d rows, its summary says %d", ErrDamaged, f.path, r.Rows, f.Rows)
	}
	if r.FooterSum != f.ids.Footer {
		return fmt.Errorf("%w: %s is of a file with another footer", ErrIndex, IndexPath(f.path))
	}
	var faults []error
	for g := range r.Groups {
		for col := range r.Columns {
			if err := ctx.Err(); err != nil {
				return err
			}
			faults = append(faults, r.CheckChunk(g, col))
		}
		r.Group = g
		faults = append(faults, checkOrder(r))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return f.checkIndex()
}

// checkOrder checks that the rows of a group ascend by trace, then by time.
func checkOrder(r *rows.Reader) error {
	when := rows.ColStart
	if r.Schema.Signal == rows.Logs {
		when = rows.ColTime
	}
	var last signal.TraceID
	lastTime := int64(0)
	for row := range r.Groups[r.Group].Rows {
		trace, time := r.Trace(row), r.Int(when, row)
		if err := r.Take(); err != nil {
			return err
		}
		if c := compareIDs(last, trace); row > 0 && (c > 0 || c == 0 && !trace.IsZero() && time < lastTime) {
			return fmt.Errorf("%w: row group %d, row %d is out of order", ErrDamaged, r.Group, row)
		}
		last, lastTime = trace, time
	}
	return nil
}

func compareIDs(a, b signal.TraceID) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// checkIndex compares the index with one made anew.
func (f *File) checkIndex() error {
	want, _, _, err := f.index()
	if err != nil {
		return err
	}
	have := make(map[index.Stored]int, len(want))
	for _, e := range want {
		have[e.Stored()]++
	}
	err = f.ids.Each(func(e index.Stored) error {
		if have[e]--; have[e] < 0 {
			return fmt.Errorf("%w: %s: row %d has no such ID", ErrIndex, IndexPath(f.path), e.Row)
		}
		return nil
	})
	if err == nil && f.ids.Entries() != len(want) {
		err = fmt.Errorf("%w: %s has %d entries, not %d", ErrIndex, IndexPath(f.path), f.ids.Entries(), len(want))
	}
	if err != nil {
		return err
	}
	for _, e := range want {
		if ok, err := f.ids.Maybe(e.Key); err != nil || !ok {
			return errors.Join(fmt.Errorf("%w: %s: its filter does not know row %d", ErrIndex, IndexPath(f.path), e.Row), err)
		}
	}
	return nil
}
