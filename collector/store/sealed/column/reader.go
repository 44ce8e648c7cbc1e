package column

import (
	"errors"
	"fmt"
	"sort"

	"weft/internal/wal"
)

// Reader reads one file. It keeps nothing in memory but what its cache keeps.
type Reader struct {
	f     wal.File
	size  int64
	path  string
	cache *Cache
	facts Facts
}

// Facts reads what an owner has put into the footer; it is kept with it. It returns the bytes it takes, about.
type Facts func(*Meta) (facts any, bytes int, err error)

// NewReader reads f; Close closes it.
func NewReader(f wal.File, path string, cache *Cache, facts Facts) (*Reader, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return &Reader{f: f, size: size, path: path, cache: cache, facts: facts}, nil
}

// Size is that of the file.
func (r *Reader) Size() int64 { return r.size }

// Close closes the file.
func (r *Reader) Close() error {
	r.cache.forget(r)
	return r.f.Close()
}

// Forget drops what the cache keeps of the file.
func (r *Reader) Forget() { r.cache.forget(r) }

const (
	whatMeta = iota
	whatLocations
	whatDict
	whatBounds
)

// Meta is the footer.
func (r *Reader) Meta() (*Meta, error) {
	c := Cursor{r: r}
	return c.readMeta()
}

// PageError is damage to some rows of one column.
type PageError struct {
	Path        string
	Column      string
	Group       int
	First, Rows int // in the group
	Err         error
}

func (e *PageError) Error() string {
	return fmt.Sprintf("%s: column %s, row group %d, rows %d to %d: %v", e.Path, e.Column, e.Group, e.First, e.First+e.Rows, e.Err)
}

func (e *PageError) Unwrap() error { return e.Err }

// Cursor reads pages for one question. It is not for concurrent use.
type Cursor struct {
	*Meta
	Bytes int64 // read from the file
	r     *Reader
	group int
	pages []*Page      // the current page of each column of the group
	bad   []*PageError // or what is wrong with it
}

// Cursor begins to read.
func (r *Reader) Cursor() (*Cursor, error) {
	c := &Cursor{r: r, group: -1}
	m, err := c.readMeta()
	if err != nil {
		return nil, err
	}
	c.Meta, c.pages, c.bad = m, make([]*Page, len(m.Columns)), make([]*PageError, len(m.Columns))
	return c, nil
}

func (c *Cursor) readMeta() (*Meta, error) {
	key := cacheKey{file: c.r, what: whatMeta}
	if m, ok := c.r.cache.get(key); ok {
		return m.(*Meta), nil
	}
	raw, err := readFooter(c.r.f, c.r.size)
	if err == nil {
		var m *Meta
		if m, err = parseMeta(raw, c.r.size); err == nil {
			var bytes int
			m.Owner, bytes, err = c.r.facts(m)
			m.bytes += bytes
		}
		if err == nil {
			c.Bytes += int64(len(raw))
			c.r.cache.put(key, m, m.bytes)
			return m, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", c.r.path, err)
}

// Release ends the question. Pages, and views of what is in them, are not to be used any more.
func (c *Cursor) Release() {
	for _, p := range c.pages {
		if p != nil {
			p.release()
		}
	}
	clear(c.pages)
}

// at makes a row group the current one.
func (c *Cursor) at(group int) {
	if group != c.group {
		clear(c.pages)
		clear(c.bad)
		c.group = group
	}
}

// fault says where an error is.
func (c *Cursor) fault(group, column int, in extent, err error) *PageError {
	return &PageError{Path: c.r.path, Column: c.Columns[column].Name, Group: group, First: in.first, Rows: in.rows, Err: err}
}

// extent is rows of a group.
type extent struct{ first, rows int }

func (c *Cursor) locations(group int) (locations, error) {
	key := cacheKey{file: c.r, what: whatLocations, group: group}
	if l, ok := c.r.cache.get(key); ok {
		return l.(locations), nil
	}
	l, n, err := readLocations(c.r.f, &c.Groups[group])
	if err != nil {
		return nil, c.fault(group, 0, extent{0, c.Groups[group].Rows}, err)
	}
	c.Bytes += n
	pages := 0
	for _, column := range l {
		pages += len(column)
	}
	c.r.cache.put(key, l, 16*pages+24*len(l))
	return l, nil
}

// Dict is the dictionary of a chunk, nil when it has none.
func (c *Cursor) Dict(group, column int) (*Values, error) {
	k := &c.Groups[group].Chunks[column]
	if !k.Dict {
		return nil, nil
	}
	key := cacheKey{file: c.r, what: whatDict, group: group, column: column}
	if v, ok := c.r.cache.get(key); ok {
		return v.(*Values), nil
	}
	v, n, err := k.readDict(c.r.f)
	if err != nil {
		return nil, c.fault(group, column, extent{0, c.Groups[group].Rows}, err)
	}
	c.Bytes += n
	c.r.cache.put(key, v, cap(v.data)+4*cap(v.offsets)+8*cap(v.nums))
	return v, nil
}

// Page is the page of a column that holds a row, which is counted in the group.
func (c *Cursor) Page(group, column, row int) (*Page, error) {
	c.at(group)
	if p := c.pages[column]; p != nil && row >= p.First && row < p.End {
		return p, nil
	}
	if e := c.bad[column]; e != nil && row >= e.First && row < e.First+e.Rows {
		return nil, e
	}
	g := &c.Groups[group]
	if g.Chunks[column].Nulls == g.Rows {
		c.pages[column] = &Page{End: g.Rows}
		return c.pages[column], nil
	}
	all, err := c.locations(group)
	if err != nil {
		return nil, err
	}
	pages := all[column]
	i := pageOf(pages, row)
	end := g.Rows
	if i+1 < len(pages) {
		end = int(pages[i+1].first)
	}
	first := int(pages[i].first)
	dict, err := c.Dict(group, column)
	if err != nil {
		errors.As(err, &c.bad[column])
		return nil, err
	}
	p, err := g.Chunks[column].readPage(c.r.f, pages[i], end-first, dict)
	c.Bytes += int64(pages[i].size)
	if err != nil {
		c.bad[column] = c.fault(group, column, extent{first, end - first}, err)
		return nil, c.bad[column]
	}
	c.pages[column] = p
	return p, nil
}

// Prefetch lets the disk fetch the pages of all columns that hold a row, rather than one after the other. It is a hint: what
// is wrong with them is for Page to say.
func (c *Cursor) Prefetch(group, row int) {
	f, ok := c.r.f.(wal.Prefetcher)
	if !ok {
		return
	}
	c.at(group)
	all, err := c.locations(group)
	if err != nil {
		return
	}
	g := &c.Groups[group]
	for column, pages := range all {
		if p := c.pages[column]; g.Chunks[column].Nulls < g.Rows && (p == nil || row < p.First || row >= p.End) {
			i := pageOf(pages, row)
			f.Prefetch(pages[i].at, int64(pages[i].size))
		}
	}
}

// pageOf is the place of the page that holds a row.
func pageOf(pages []location, row int) int {
	return sort.Search(len(pages), func(i int) bool { return int(pages[i].first) > row }) - 1
}

// Firsts are the first rows of the pages of a chunk.
func (c *Cursor) Firsts(group, column int) ([]int, error) {
	all, err := c.locations(group)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(all[column]))
	for i, p := range all[column] {
		out[i] = int(p.first)
	}
	return out, nil
}

// Bounds are the bounds of a chunk's pages, nil when it has none.
func (c *Cursor) Bounds(group, column int) (*Bounds, error) {
	all, err := c.locations(group)
	if err != nil {
		return nil, err
	}
	g := &c.Groups[group]
	key := cacheKey{file: c.r, what: whatBounds, group: group}
	block, ok := c.r.cache.get(key)
	if !ok {
		raw, err := g.readBlock(c.r.f, g.bounds, g.sums[0])
		if err != nil {
			return nil, c.fault(group, column, extent{0, g.Rows}, err)
		}
		c.Bytes += int64(len(raw))
		c.r.cache.put(key, raw, len(raw))
		block = raw
	}
	b, err := g.parseBounds(block.([]byte), column, len(all[column]))
	if err != nil {
		return nil, c.fault(group, column, extent{0, g.Rows}, err)
	}
	return b, nil
}
