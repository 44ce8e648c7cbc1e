package column

import (
	"container/list"
	"sync"
)

// Cache keeps what many questions need of files, footers, places of pages and dictionaries, within a bound. What was not
// asked for longest goes first.
type Cache struct {
	limit int

	mu    sync.Mutex
	bytes int
	order *list.List // of *cached, the newest in front
	items map[cacheKey]*list.Element
}

type cacheKey struct {
	file          *Reader
	what          byte
	group, column int
}

type cached struct {
	key   cacheKey
	value any
	bytes int
}

// NewCache makes a cache of about limit bytes.
func NewCache(limit int) *Cache {
	return &Cache{limit: limit, order: list.New(), items: map[cacheKey]*list.Element{}}
}

// Bytes is how much it holds, about.
func (c *Cache) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

func (c *Cache) get(key cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true
}

const cacheEntry = 200 // bytes of an entry itself

func (c *Cache) put(key cacheKey, value any, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok {
		return
	}
	bytes += cacheEntry
	c.items[key] = c.order.PushFront(&cached{key, value, bytes})
	for c.bytes += bytes; c.bytes > c.limit && c.order.Len() > 1; {
		c.remove(c.order.Back())
	}
}

func (c *Cache) remove(e *list.Element) {
	old := c.order.Remove(e).(*cached)
	delete(c.items, old.key)
	c.bytes -= old.bytes
}

// forget drops everything of a file.
func (c *Cache) forget(file *Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*cached).key.file == file {
			c.remove(e)
		}
		e = next
	}
}
