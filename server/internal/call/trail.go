package call

import (
	"context"
	"slices"
	"strings"
)

type trailKey struct{}

// WithTrail returns the context of a call that may have to write itself into the audit trail.
func WithTrail(ctx context.Context, record func(context.Context) error) context.Context {
	return context.WithValue(ctx, trailKey{}, record)
}

// NoteInTrail writes a call into the audit trail, unless it is there already. An answer must not leave if that fails.
func NoteInTrail(ctx context.Context) error {
	if record, ok := ctx.Value(trailKey{}).(func(context.Context) error); ok {
		return record(ctx)
	}
	return nil
}

// cutRequest is a question that says what tells its figures apart and what narrows them.
type cutRequest interface {
	GetDimensions() []string
	GetFilters() []string
}

// NamesPeople reports whether a question tells single persons or their workspaces apart, or narrows figures to some.
func NamesPeople(r cutRequest) bool {
	return slices.ContainsFunc(r.GetDimensions(), IsPersonal) || slices.ContainsFunc(r.GetFilters(), func(filter string) bool {
		dimension, _, _ := CutFilter(filter)
		return IsPersonal(dimension)
	})
}

// IsPersonal reports whether the values of a dimension are single persons or their workspaces.
func IsPersonal(dimension string) bool { return dimension == "user" || dimension == "workspace" }

// CutFilter takes a filter apart: DIMENSION=VALUE or DIMENSION!=VALUE. Without an equals sign it has no value.
func CutFilter(filter string) (dimension, value string, not bool) {
	dimension, value, _ = strings.Cut(filter, "=")
	dimension, not = strings.CutSuffix(dimension, "!")
	return dimension, value, not
}
