package migrations

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every version is one file for both databases, or one for each of them where the SQL differs. So versions without a gap are the
// same versions on both.
func TestMigrationFiles(t *testing.T) {
	t.Parallel()
	files, err := FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]map[string]string{} // SQL by version and kind; for both databases the kind is empty
	for _, f := range files {
		text, err := FS.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		version, kind, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".sql"), ".")
		if versions[version] == nil {
			versions[version] = map[string]string{}
		}
		versions[version][kind] = string(text)
	}
	for version, sql := range versions {
		if _, both := sql[""]; both && len(sql) == 1 {
			continue
		}
		if diff := cmp.Diff([]string{"postgres", "sqlite"}, slices.Sorted(maps.Keys(sql))); diff != "" {
			t.Errorf("kinds of %s (-want +got):\n%s", version, diff)
		}
		if sql["postgres"] == sql["sqlite"] {
			t.Errorf("%s is the same for both databases: make it one file", version)
		}
	}
}
