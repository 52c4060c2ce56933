package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// templateIndex numbers the templates of a question in ascending order of their ids.
type templateIndex struct {
	ids     []uuid.UUID
	numbers map[uuid.UUID]int
	all     bool // the scope holds every template; statements need no list
}

// index resolves a scope to the templates that it holds, deleted ones too.
func (s *Store) index(ctx context.Context, scope access.Scope) (templateIndex, error) {
	x := templateIndex{all: scope.All()}
	if x.all {
		if err := s.reads.WithContext(ctx).Model(&Template{}).Pluck("id", &x.ids).Error; err != nil {
			return x, fmt.Errorf("read templates: %w", err)
		}
	} else {
		x.ids = scope.Templates()
	}
	slices.SortFunc(x.ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return x.number(), nil
}

// number assigns the numbers.
func (x templateIndex) number() templateIndex {
	x.numbers = make(map[uuid.UUID]int, len(x.ids))
	for i, id := range x.ids {
		x.numbers[id] = i
	}
	return x
}

// withLogins adds the place where logins, which belong to no template, are kept.
func (x templateIndex) withLogins() templateIndex {
	x.ids = append([]uuid.UUID{uuid.Nil}, x.ids...)
	return x.number()
}

// where adds the templates of the question to a statement that ends in a condition.
func (x templateIndex) where(condition string, args ...any) (string, []any) {
	return x.whereColumn("template_id", condition, args...)
}

// whereColumn is where for a statement of several tables: it says which column holds the template.
func (x templateIndex) whereColumn(column, condition string, args ...any) (string, []any) {
	if x.all {
		return condition, args
	}
	return condition + " AND " + column + " IN ?", append(args, x.ids)
}

// of maps indexes back to ids.
func (x templateIndex) of(numbers []int) []uuid.UUID {
	ids := make([]uuid.UUID, len(numbers))
	for i, n := range numbers {
		ids[i] = x.ids[n]
	}
	return ids
}
