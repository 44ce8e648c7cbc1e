package column

import (
	"encoding/binary"
)

// CheckChunk reads every page of a chunk and holds its values against the statistics.
func (c *Cursor) CheckChunk(group, column int) error {
	g := &c.Groups[group]
	k := &g.Chunks[column]
	bounds, err := c.Bounds(group, column)
	if err != nil {
		return err
	}
	firsts, err := c.Firsts(group, column)
	if err != nil {
		return err
	}
	nulls := 0
	for i, first := range firsts {
		p, err := c.checkPage(group, column, i, first)
		if err != nil {
			return err
		}
		n := p.nulls()
		nulls += n
		switch {
		case bounds == nil || n == p.End-p.First && bounds.Null[i]:
		case bounds.Null[i] || !p.within(bounds.Min[i], bounds.Max[i]):
			return c.fault(group, column, extent{first, p.End - first}, damaged("values are not within their bounds"))
		}
		if k.Min != nil && k.Max != nil && !p.within(k.Min, k.Max) {
			return c.fault(group, column, extent{first, p.End - first}, damaged("values are not within the chunk's bounds"))
		}
	}
	if nulls != k.Nulls {
		return c.fault(group, column, extent{0, g.Rows}, damaged("%d nulls, not %d", nulls, k.Nulls))
	}
	return nil
}

// checkPage reads a page, also of a chunk that is all null.
func (c *Cursor) checkPage(group, column, number, first int) (*Page, error) {
	g := &c.Groups[group]
	if g.Chunks[column].Nulls < g.Rows {
		return c.Page(group, column, first)
	}
	all, err := c.locations(group)
	if err != nil {
		return nil, err
	}
	p, err := g.Chunks[column].readPage(c.r.f, all[column][number], g.Rows, nil)
	if err != nil {
		return nil, c.fault(group, column, extent{0, g.Rows}, err)
	}
	return p, nil
}

func (p *Page) nulls() (n int) {
	if p.Places == nil {
		return p.End - p.First
	}
	for _, place := range p.Places {
		if place < 0 {
			n++
		}
	}
	return n
}

// within says whether all values are within bounds.
func (p *Page) within(low, high []byte) bool {
	for _, place := range p.Places {
		if place < 0 {
			continue
		}
		if v := p.stat(place); Compare(p.Kind, v, low) < 0 || Compare(p.Kind, v, high) > 0 {
			return false
		}
	}
	return true
}

// stat is a value as statistics hold it.
func (v *Values) stat(place int32) []byte {
	switch v.Kind {
	case Text, JSON:
		return v.data[v.offsets[place]:v.offsets[place+1]]
	case ID:
		return v.ID(place)
	case Bool:
		return []byte{byte(v.nums[place])}
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(v.nums[place]))
}
