package insights

import (
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
)

// An organization that calls itself by the id of another one is not found by it.
func TestSearchByOrganization(t *testing.T) {
	t.Parallel()
	acme := store.Organization{ID: uuid.New(), Name: "Acme"}
	other := store.Organization{ID: uuid.New(), Name: acme.ID.String()}
	for text, want := range map[string][2]bool{
		acme.ID.String(): {true, false}, "acme": {true, false}, other.ID.String(): {false, true}, "nobody": {}, uuid.NewString(): {},
	} {
		if got := [2]bool{isOrganization(acme, text), isOrganization(other, text)}; got != want {
			t.Errorf("%q: the organization and the one that is named like its id: %v, want %v", text, got, want)
		}
	}
}
