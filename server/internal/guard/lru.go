package guard

import lru "github.com/hashicorp/golang-lru/v2"

// newLRU makes a cache of a size above zero, which cannot fail.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err)
	}
	return cache
}
