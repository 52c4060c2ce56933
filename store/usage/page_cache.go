package usage

import (
	"math"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// pageKey names one part of a page as one fold left it. What it names never changes: each fold gives a page another
// version, and one that was deleted begins again with a version that it never had.
type pageKey struct {
	template uuid.UUID
	day      int32
	version  int64
	column   pageColumn
}

// pageCache keeps the tables of the pages that questions read last, with their sums, up to a size in bytes. Those of
// versions that are no longer asked for leave as those do that nobody asks for.
type pageCache struct {
	limit int

	mu    sync.Mutex
	size  int
	pages *simplelru.LRU[pageKey, table]
}

// pageFrame is about what a page takes besides its rows and sums, in bytes: the frame of its file, its table, and its place in the cache.
// Most pages of a deployment with many templates are of a few people.
const pageFrame = 2500

func sizeOf(t table) int { return pageFrame + t.Size() }

func newPageCache(limit int) *pageCache {
	pages, err := simplelru.NewLRU[pageKey, table](math.MaxInt, nil) // put bounds the bytes; the number has no bound of its own
	if err != nil {
		panic(err) // it fails for a number that is not positive
	}
	return &pageCache{limit: limit, pages: pages}
}

// get returns a table, or nil.
func (c *pageCache) get(key pageKey) table {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, _ := c.pages.Get(key)
	return t
}

// put keeps a table, which nobody else knows yet, with its sums, and lets go of those that were not used for the longest time, as far
// as it takes.
func (c *pageCache) put(key pageKey, t table) {
	if sizeOf(t) > c.limit || c.get(key) != nil {
		return // all others would have to leave, or another question was quicker
	}
	t.Sum()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages.Contains(key) || sizeOf(t) > c.limit {
		return // another question was quicker meanwhile, or sums are too much
	}
	c.pages.Add(key, t)
	for c.size += sizeOf(t); c.size > c.limit; {
		_, last, _ := c.pages.RemoveOldest()
		c.size -= sizeOf(last)
	}
}
