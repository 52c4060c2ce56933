package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Who was deleted is gone from the whole database once everything of them is beyond retention, whoever is there stays, and of their
// builds that are beyond it no values are left.
func TestRetentionLeavesNothing(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCanaries(t, open(t))
			deleted := store.Deleted{Users: c.Users[:1], Workspaces: []uuid.UUID{c.Workspaces[0][0], c.Workspaces[1][0]}}
			c.applyAll(t, store.Catalog{Deleted: deleted}, 0)
			day := func(n int) time.Time { return storetest.Now.Truncate(24*time.Hour).AddDate(0, 0, n) }
			for _, h := range []store.Horizons{{}, {Usage: day(0), Latency: day(0), Audit: day(0)}} {
				expired, err := c.Expire(t.Context(), h)
				if err != nil {
					t.Fatal(err)
				}
				for kind, n := range expired {
					if !slices.Contains(store.ExpiredKinds, kind) || n > 0 {
						t.Errorf("%d %s are gone too early", n, kind)
					}
				}
			}
			// A new database holds what a backup does, and nothing of pages that are free.
			left := func() []string {
				t.Helper()
				database := newDatabases[kind](t)
				if err := restore(t, database, backup(t, c.Database)); err != nil {
					t.Fatal(err)
				}
				return storetest.Traces(t, database, c.words)
			}
			if found := left(); len(found) < len(c.words)-2 {
				t.Fatalf("of %d words only %q are left", len(c.words), found)
			}
			if _, err := c.Expire(t.Context(), store.Horizons{Usage: day(1), Latency: day(1), Audit: day(1)}); err != nil {
				t.Fatal(err)
			}
			gone, alive := c.catalog.Users[0].Username, c.catalog.Users[1].Username
			var want []string
			for what := range c.words {
				if strings.HasSuffix(what, alive) && !strings.HasPrefix(what, "pseudonym") {
					want = append(want, what)
				}
			}
			found := left()
			slices.Sort(want)
			slices.Sort(found)
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("beyond the retention of %s (-want +got):\n%s", gone, diff)
			}
			data, err := c.MyData(t.Context(), c.Users[1])
			if err != nil || len(data.Usage) != 0 || len(data.Latency) != 0 || len(data.StatusChanges) != 1 || len(data.Builds) != 1 ||
				len(data.Builds[0].Parameters) != 0 {
				t.Errorf("of who is there: %+v, %v", data, err)
			}
			tokens, err := c.Tokens(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				if token.PrincipalKind == access.KindUser && token.PrincipalID == c.Users[0] || token.PrincipalID == c.Agents[0][0] {
					t.Errorf("a token of who is gone: %+v", token)
				}
			}
			n, err := c.Expire(t.Context(), store.Horizons{Usage: day(1), Latency: day(1), Audit: day(1)})
			if err != nil || n[store.ExpiredCatalog]+n[store.ExpiredBuilds]+n[store.ExpiredUsage] != 0 {
				t.Errorf("again: %v, %v", n, err)
			}
		})
	}
}
