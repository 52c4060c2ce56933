package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// What workspaces were started with comes from memory until it changes, whoever changes it: each answer is that of a store which remembers
// nothing.
func TestParametersFollowChanges(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		version, other := uuid.New(), storetest.Open(t, f.Database, storetest.Now)
		const secret = "AKIAIOSFODNN7EXAMPLE"
		start := func(user int, number int64, size string) store.Build {
			return store.Build{
				ID: uuid.New(), At: store.At(storetest.Now), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0],
				TemplateVersionID: version, Number: number, Transition: "start", Status: "succeeded",
				CreatedAt:  store.At(storetest.Now.Add(time.Duration(number) * time.Minute)),
				Parameters: []store.BuildParameter{{Name: "size", Value: size}, {Name: "key", Value: secret}},
			}
		}
		builds := []store.Build{start(0, 1, "small"), start(1, 1, "big"), start(2, 1, "huge")}
		apply := func(c store.Catalog) error {
			_, err := other.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
			return err
		}
		newest := func(id uuid.UUID, at time.Time, parameters ...store.Parameter) error {
			return apply(store.Catalog{Versions: []store.TemplateVersion{
				{ID: id, TemplateID: f.Templates[0], CreatedAt: store.At(at), Parameters: parameters},
			}})
		}
		user := func(kind string) error {
			return apply(store.Catalog{Users: []store.User{{
				ID: f.Users[0], Username: "user0", Kind: kind, Status: "active", OrganizationIDs: []uuid.UUID{f.Organization},
			}}})
		}
		ask := func(s *store.Store) []store.ParameterUsage {
			t.Helper()
			found, err := s.ParameterUsage(
				t.Context(), f.Everything, minute.People, storetest.Now, storetest.Now.Add(time.Hour), store.Floor{})
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		size, key := store.Parameter{Name: "size", Type: "string"}, store.Parameter{Name: "key", Type: "string"}
		before := ask(f.Store)
		for _, step := range []struct {
			name   string
			change func() error
		}{
			{"the version comes", func() error {
				if err := newest(version, storetest.Now, size, key); err != nil {
					return err
				}
				return other.RecordBuilds(t.Context(), builds)
			}},
			{"a newer start", func() error { return other.RecordBuilds(t.Context(), []store.Build{start(0, 2, "medium")}) }},
			{"a correction", func() error {
				b := builds[1]
				b.At, b.Status = store.At(storetest.Now.Add(time.Second)), "failed"
				return other.RecordBuilds(t.Context(), []store.Build{b})
			}},
			{"the version changes", func() error {
				size.Description = "of the machine"
				return newest(version, storetest.Now, size, key)
			}},
			{"a newer version", func() error {
				sized := size
				sized.Options = []store.ParameterOption{{Name: "Huge", Value: "huge"}}
				return newest(uuid.New(), storetest.Now.Add(time.Second), sized, key)
			}},
			{"released", func() error {
				_, err := other.SetParameterRelease(t.Context(), f.Templates[0], "key", true)
				return err
			}},
			{"taken back", func() error {
				_, err := other.SetParameterRelease(t.Context(), f.Templates[0], "key", false)
				return err
			}},
			{"no person any more", func() error { return user("service") }},
			{"a person again", func() error { return user("human") }},
			{"erased", func() error { return other.EraseUser(t.Context(), f.Users[0]) }},
			{"free text goes", func() error {
				if _, err := other.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyPseudonym); err != nil {
					return err
				}
				return other.Treat(t.Context())
			}},
			{"expired", func() error {
				_, err := other.Expire(t.Context(), store.Horizons{Usage: storetest.Now.Add(48 * time.Hour)})
				return err
			}},
		} {
			if err := step.change(); err != nil {
				t.Fatal(step.name, err)
			}
			got := ask(f.Store)
			if cmp.Equal(before, got) {
				t.Errorf("%s: the answer is as before: %v", step.name, got)
			}
			if diff := cmp.Diff(ask(storetest.Open(t, f.Database, storetest.Now)), got); diff != "" {
				t.Errorf("%s (-fresh +remembered):\n%s", step.name, diff)
			}
			before = got
		}
		if err := f.RecordBuilds(t.Context(), []store.Build{start(1, 3, "")}); err != nil {
			t.Fatal(err)
		}
		before = ask(f.Store)
		if err := f.ExecForTest(`DELETE FROM builds`); err != nil { // past the store
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, ask(f.Store)); len(before) == 0 || diff != "" {
			t.Errorf("builds were read again though nothing changed (-before +after):\n%s", diff)
		}
		if err := f.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(before, ask(f.Store)) {
			t.Error("what is forgotten is told")
		}
	})
}

// A parameter whose display name is its name in one version, and is missing in another, is one parameter.
func TestParametersWithoutDisplayNames(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		for i, name := range []string{"", "size"} {
			version := uuid.New()
			_, err := f.ApplyCatalog(t.Context(), store.Catalog{Versions: []store.TemplateVersion{{
				ID: version, TemplateID: f.Templates[0], CreatedAt: store.At(storetest.Now),
				Parameters: []store.Parameter{{Name: "size", Type: "string", DisplayName: name}},
			}}}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.RecordBuilds(t.Context(), []store.Build{{
				ID: uuid.New(), At: store.At(storetest.Now), WorkspaceID: f.Workspaces[0][i], TemplateID: f.Templates[0],
				TemplateVersionID: version, Number: 1, Transition: "start", Status: "succeeded", CreatedAt: store.At(storetest.Now),
				Parameters: []store.BuildParameter{{Name: "size", Value: "big"}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
		found, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, storetest.Now, storetest.Now.Add(time.Hour), store.Floor{})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Definition.DisplayName != "size" || len(found[0].Values) != 1 || found[0].Values[0].Count != 2 {
			t.Errorf("parameters: %v", found)
		}
	})
}
