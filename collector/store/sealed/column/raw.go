package column

import (
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// RawGroup is a row group as it lies in the file: bytes Start to End are its pages and Bloom filters.
type RawGroup struct {
	Meta       format.RowGroup
	Start, End int64
	Bounds     []byte                  // its column indexes
	Pages      [][]format.PageLocation // by column
}

// Raw are all row groups, for a copy.
func (r *Reader) Raw() ([]RawGroup, error) {
	raw, err := readFooter(r.f, r.size)
	if err != nil {
		return nil, err
	}
	meta, err := parseMeta(raw, r.size)
	if err != nil {
		return nil, err
	}
	var f format.FileMetaData
	if err := thrift.Unmarshal(compact, raw, &f); err != nil {
		return nil, damaged("footer: %v", err)
	}
	var out []RawGroup
	for i := range f.RowGroups {
		g := &meta.Groups[i]
		places, _, err := readLocations(r.f, g)
		if err != nil {
			return nil, err
		}
		bounds, err := g.readBlock(r.f, g.bounds, g.sums[0])
		if err != nil {
			return nil, err
		}
		pages := make([][]format.PageLocation, len(places))
		for c, column := range places {
			for _, p := range column {
				pages[c] = append(pages[c], format.PageLocation{Offset: p.at, CompressedPageSize: p.size, FirstRowIndex: int64(p.first)})
			}
		}
		out = append(out, RawGroup{f.RowGroups[i], g.start, g.end, bounds, pages})
	}
	return out, nil
}

// ReadRaw reads bytes of the file.
func (r *Reader) ReadRaw(buf []byte, off int64) error { return readFull(r.f, buf, off) }
