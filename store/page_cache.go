package store

import (
	"container/list"
	"sync"

	"github.com/google/uuid"
)

// pageKey names one part of a page as one fold left it. What it names never changes: each fold gives a page another
// version, and one that was deleted begins again with a version that it never had.
type pageKey struct {
	template uuid.UUID
	day      int32
	version  int64
	column   pageColumn
}

// pageCache keeps the tables of the pages that questions read last, ready to be counted, up to a size in bytes. Those of
// versions that are no longer asked for leave as those do that nobody asks for.
type pageCache struct {
	limit int

	mu    sync.Mutex
	size  int
	pages map[pageKey]*list.Element
	used  *list.List // of *cachedPage, the one that was used last in front
}

type cachedPage struct {
	key   pageKey
	table table
}

func newPageCache(limit int) *pageCache {
	return &pageCache{limit: limit, pages: map[pageKey]*list.Element{}, used: list.New()}
}

// get returns a table, or nil.
func (c *pageCache) get(key pageKey) table {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.pages[key]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*cachedPage).table
}

// put keeps a table and lets go of those that were not used for the longest time, as far as it takes.
func (c *pageCache) put(key pageKey, t table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages[key] != nil || t.Size() > c.limit {
		return // another question was quicker, or all others would have to leave
	}
	c.pages[key] = c.used.PushFront(&cachedPage{key, t})
	for c.size += t.Size(); c.size > c.limit; {
		last := c.used.Remove(c.used.Back()).(*cachedPage)
		delete(c.pages, last.key)
		c.size -= last.table.Size()
	}
}
