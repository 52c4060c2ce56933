package store_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// What keeps an acknowledged report is read back from the connections that write, whatever asked for it.
func TestSettings(t *testing.T) {
	t.Parallel()
	postgres := storetest.Postgres(t) // whose cluster does without what survives a crash, for speed
	weak := []store.Setting{{Name: "fsync", Value: "off"}, {Name: "full_page_writes", Value: "off"}}
	for name, c := range map[string]struct {
		database string
		want     []store.Setting
	}{
		"sqlite":   {storetest.SQLite(t), []store.Setting{{Name: "synchronous", Value: "2", Ours: true, Holds: true}}},
		"postgres": {postgres, append(weak[:2:2], store.Setting{Name: "synchronous_commit", Value: "on", Ours: true, Holds: true})},
		"set by the URL": {
			postgres + "&synchronous_commit=off", append(weak[:2:2], store.Setting{Name: "synchronous_commit", Value: "off", Ours: true}),
		},
		"synchronous on more servers": {
			postgres + "&synchronous_commit=remote_apply",
			append(weak[:2:2], store.Setting{Name: "synchronous_commit", Value: "remote_apply", Ours: true, Holds: true}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := store.Options{Database: c.database}
			s, err := store.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			checked, err := store.Check(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string][]store.Setting{"opened": s.Settings(), "checked": checked} {
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

// A check changes nothing: it makes no file and no table.
func TestCheckTouchesNothing(t *testing.T) {
	t.Parallel()
	for name, newDatabase := range newDatabases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := store.Options{Database: newDatabase(t)}
			if _, err := store.Check(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if path, ok := strings.CutPrefix(o.Database, "sqlite:"); ok {
				if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
					t.Errorf("left %v, %v", left, err)
				}
			}
			f := storetest.NewFixture(t, storetest.SQLite(t))
			if err := restore(t, o.Database, backup(t, f.Database)); err != nil { // only where there is no table
				t.Error(err)
			}
		})
	}
}

// A user who may make no tables cannot bring a schema up to date.
func TestCheckPrivileges(t *testing.T) {
	t.Parallel()
	cluster := storetest.SharedCluster(t)
	database, err := cluster.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	const reader = "reader_of_settings"
	confine := "CREATE ROLE " + reader + " LOGIN; REVOKE CREATE ON SCHEMA public FROM public"
	if err := cluster.Exec(t.Context(), u.Path[1:], confine); err != nil {
		t.Fatal(err)
	}
	u.User = url.User(reader)
	_, err = store.Check(t.Context(), store.Options{Database: u.String()})
	if err == nil || !strings.Contains(err.Error(), "may make no tables") {
		t.Errorf("check: %v", err)
	}
}
