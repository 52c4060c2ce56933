// Package label compares what people call things. Names that differ in upper and lower case, or in the form in which Unicode writes
// a letter, are alike: whoever looks for one finds the other, and lists show them side by side.
//
// The package is pure: it does no I/O.
package label

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/cases"
	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the form that names which are alike share: without differences of case and of Unicode form. Folding it again
// changes nothing.
func Fold(name string) string {
	if isFolded(name) {
		return name
	}
	// Twice, because the compatible form of a letter may have a case, and that of a folded one another form.
	for range 2 {
		name = norm.NFKC.String(cases.Fold().String(norm.NFKD.String(name)))
	}
	return name
}

// isFolded reports whether a name consists of what most names consist of, which folding leaves alone.
func isFolded(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// Contains reports whether a part occurs in a name, case and Unicode form aside.
func Contains(name, part string) bool { return part == "" || strings.Contains(Fold(name), Fold(part)) }

// collator makes keys. It serves one goroutine at a time.
type collator struct {
	*collate.Collator

	buffer collate.Buffer
}

// collators are those that nobody uses at present.
var collators = sync.Pool{New: func() any {
	return &collator{Collator: collate.New(language.Und, collate.IgnoreCase, collate.IgnoreWidth)}
}}

// Key returns a string whose bytes are in the order of names, that of the Unicode collation algorithm: ä stands beside a. Names that are
// alike have one key. It is no text to show: its bytes are any.
func Key(name string) string {
	c := collators.Get().(*collator)
	defer collators.Put(c)
	c.buffer.Reset()
	return string(c.KeyFromString(&c.buffer, Fold(name)))
}

// Sort orders a list by the names of its items; items whose names are alike stay in their order.
func Sort[T any](list []T, nameOf func(T) string) {
	type keyed struct {
		key  string
		item T
	}
	items := make([]keyed, len(list))
	for i, item := range list {
		items[i] = keyed{Key(nameOf(item)), item}
	}
	slices.SortStableFunc(items, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	for i, k := range items {
		list[i] = k.item
	}
}
