package column

import (
	"slices"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Same says whether two files have the same columns, so that row groups of one fit the other.
func (m *Meta) Same(o *Meta) bool { return slices.Equal(m.Columns, o.Columns) }

// Copy copies all row groups of a file with the same columns, byte for byte: only what says where things are changes.
func (w *Writer) Copy(r *Reader) error {
	raw, err := readFooter(r.f, r.size)
	if err != nil {
		return err
	}
	meta, err := parseMeta(raw, r.size)
	if err != nil {
		return err
	}
	var f format.FileMetaData
	if err := thrift.Unmarshal(compact, raw, &f); err != nil {
		return damaged("footer: %v", err)
	}
	for i := range f.RowGroups {
		if err := w.copyGroup(r, &meta.Groups[i], &f.RowGroups[i]); err != nil {
			return err
		}
	}
	w.meta.NumRows += f.NumRows
	return nil
}

func (w *Writer) copyGroup(r *Reader, g *Group, out *format.RowGroup) error {
	places, _, err := readLocations(r.f, g)
	if err != nil {
		return err
	}
	bounds, err := g.readBlock(r.f, g.bounds, g.sums[0])
	if err != nil {
		return err
	}
	shift := w.offset() - g.start
	buf := make([]byte, bufSize)
	for at := g.start; at < g.end; {
		n := min(int64(len(buf)), g.end-at)
		if err := readFull(r.f, buf[:n], at); err != nil {
			return err
		}
		if err := w.append(buf[:n]); err != nil {
			return err
		}
		at += n
	}
	pages := make([][]format.PageLocation, len(places))
	for i, column := range places {
		for _, p := range column {
			pages[i] = append(pages[i], format.PageLocation{Offset: p.at + shift, CompressedPageSize: p.size, FirstRowIndex: int64(p.first)})
		}
	}
	move := func(offset *int64) {
		if *offset > 0 {
			*offset += shift
		}
	}
	for i := range out.Columns {
		c := &out.Columns[i]
		move(&c.FileOffset)
		move(&c.MetaData.DataPageOffset)
		move(&c.MetaData.DictionaryPageOffset)
		move(&c.MetaData.BloomFilterOffset)
	}
	out.FileOffset += shift
	out.Ordinal = int16(len(w.meta.RowGroups))
	w.meta.RowGroups = append(w.meta.RowGroups, *out)
	w.bounds, w.places = append(w.bounds, bounds), append(w.places, pages)
	return nil
}
