package usage

import (
	"slices"

	"github.com/google/uuid"
)

// Index numbers the templates of a question in ascending order of their ids.
type Index struct {
	IDs []uuid.UUID // by number
	All bool        // it holds every template: statements need no list

	numbers map[uuid.UUID]int
}

// NewIndex returns the index of templates; all says that there are no others.
func NewIndex(templates []uuid.UUID, all bool) Index {
	x := Index{IDs: slices.Clone(templates), All: all}
	slices.SortFunc(x.IDs, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	x.IDs = slices.Compact(x.IDs)
	return x.number()
}

func (x Index) number() Index {
	x.numbers = make(map[uuid.UUID]int, len(x.IDs))
	for i, id := range x.IDs {
		x.numbers[id] = i
	}
	return x
}

// WithLogins adds the place where logins, which belong to no template, are kept.
func (x Index) WithLogins() Index {
	x.IDs = append([]uuid.UUID{uuid.Nil}, x.IDs...)
	return x.number()
}

// Number is that of a template; false: it is not in the index.
func (x Index) Number(template uuid.UUID) (int, bool) {
	number, ok := x.numbers[template]
	return number, ok
}

// Where adds the templates of the question to a statement that ends in a condition.
func (x Index) Where(condition string, args ...any) (string, []any) {
	return x.WhereColumn("template_id", condition, args...)
}

// WhereColumn is Where for a statement of several tables: it says which column holds the template.
func (x Index) WhereColumn(column, condition string, args ...any) (string, []any) {
	if x.All {
		return condition, args
	}
	return condition + " AND " + column + " IN ?", append(args, x.IDs)
}

// Of maps numbers back to ids.
func (x Index) Of(numbers []int) []uuid.UUID {
	ids := make([]uuid.UUID, len(numbers))
	for i, n := range numbers {
		ids[i] = x.IDs[n]
	}
	return ids
}
