package access

import (
	"maps"
	"slices"
)

// AllRoles lists the roles that grant something, sorted.
func AllRoles() []Role { return slices.Sorted(maps.Keys(grants)) }
