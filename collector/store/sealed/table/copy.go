package table

import (
	"weft/collector/store/sealed/column"
)

// Copy copies all row groups of a file with the same columns, byte for byte: only what says where things are changes.
func (w *Writer) Copy(r *column.Reader) error {
	groups, err := r.Raw()
	if err != nil {
		return err
	}
	for i := range groups {
		if err := w.copyGroup(r, &groups[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) copyGroup(r *column.Reader, g *column.RawGroup) error {
	shift := w.offset() - g.Start
	buf := make([]byte, bufSize)
	for at := g.Start; at < g.End; {
		n := min(int64(len(buf)), g.End-at)
		if err := r.ReadRaw(buf[:n], at); err != nil {
			return err
		}
		if err := w.append(buf[:n]); err != nil {
			return err
		}
		at += n
	}
	for _, pages := range g.Pages {
		for i := range pages {
			pages[i].Offset += shift
		}
	}
	move := func(offset *int64) {
		if *offset > 0 {
			*offset += shift
		}
	}
	out := g.Meta
	for i := range out.Columns {
		c := &out.Columns[i]
		move(&c.FileOffset)
		move(&c.MetaData.DataPageOffset)
		move(&c.MetaData.DictionaryPageOffset)
		move(&c.MetaData.BloomFilterOffset)
	}
	out.FileOffset += shift
	out.Ordinal = int16(len(w.meta.RowGroups))
	w.meta.NumRows += out.NumRows
	w.meta.RowGroups = append(w.meta.RowGroups, out)
	w.bounds, w.places = append(w.bounds, g.Bounds), append(w.places, g.Pages)
	return nil
}
