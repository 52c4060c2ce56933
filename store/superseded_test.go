package store_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// startsOf makes starts of a template with a parameter, and returns how many workspaces have each value of it.
func startsOf(t *testing.T, f *storetest.Fixture) (
	start func(workspace uuid.UUID, number int64, size string) store.Build, sizes func() map[string]int64,
) {
	t.Helper()
	version := uuid.New()
	_, err := f.ApplyCatalog(t.Context(), store.Catalog{Versions: []store.TemplateVersion{
		{ID: version, TemplateID: f.Templates[0], Parameters: []store.Parameter{{Name: "size", Type: "string"}}},
	}}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	start = func(workspace uuid.UUID, number int64, size string) store.Build {
		return store.Build{
			ID: uuid.New(), At: store.At(storetest.Now), WorkspaceID: workspace, TemplateID: f.Templates[0], TemplateVersionID: version,
			Number: number, Transition: "start", Status: "succeeded",
			CreatedAt:  store.At(storetest.Now.Add(time.Duration(number) * time.Minute)),
			Parameters: []store.BuildParameter{{Name: "size", Value: size}},
		}
	}
	sizes = func() map[string]int64 {
		t.Helper()
		usage, err := f.ParameterUsage(
			t.Context(), f.Everything, minute.People, storetest.Now, storetest.Now.Add(time.Hour), store.Floor{})
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, u := range usage {
			for _, v := range u.Values {
				counts[v.Value] += v.Count
			}
		}
		return counts
	}
	return start, sizes
}

// One server corrects a start while another one records an earlier start that comes late: after whichever statement of one of them the
// other one comes, the workspace counts with what is left.
func TestSupersededByWhatIsCorrectedMeanwhile(t *testing.T) {
	t.Parallel()
	const statements = 5 // at most so many has recording a build
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		second := storetest.Open(t, f.Database, storetest.Now)
		start, sizes := startsOf(t, f)
		var reach func()
		if err := f.AfterWrite(func() { reach() }); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{}
		for _, correctsFirst := range []bool{true, false} {
			for pause := 1; pause <= statements; pause++ {
				workspace := uuid.New()
				reach = func() {}
				late, corrected := start(workspace, 1, "late"), start(workspace, 2, "corrected")
				if err := f.RecordBuilds(t.Context(), []store.Build{corrected}); err != nil {
					t.Fatal(err)
				}
				corrected.At, corrected.Status = store.At(storetest.Now.Add(time.Second)), "failed"
				first, other := late, corrected
				if correctsFirst {
					first, other = corrected, late
				}
				done, n := make(chan error, 1), 0
				reach = func() {
					if n++; n != pause {
						return
					}
					go func() { done <- second.RecordBuilds(t.Context(), []store.Build{other}) }()
					select {
					case err := <-done:
						done <- err
					case <-time.After(200 * time.Millisecond): // it waits for this transaction
					}
				}
				if err := f.RecordBuilds(t.Context(), []store.Build{first}); err != nil {
					t.Fatal(err)
				}
				if n < pause {
					continue
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				want["late"]++
				if diff := cmp.Diff(want, sizes()); diff != "" {
					t.Fatalf("corrects first: %t, after statement %d (-want +got):\n%s", correctsFirst, pause, diff)
				}
			}
		}
	})
}

// A build stays in its workspace: whatever an event says, it does not go on to hide a start of a workspace that it left.
func TestBuildsStayInTheirWorkspaces(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		start, sizes := startsOf(t, f)
		first, second := start(f.Workspaces[0][0], 1, "first"), start(f.Workspaces[0][0], 2, "second")
		moved := second
		moved.WorkspaceID, moved.At = f.Workspaces[0][1], store.At(storetest.Now.Add(time.Second))
		moved.Parameters = []store.BuildParameter{{Name: "size", Value: "moved"}}
		if err := f.RecordBuilds(t.Context(), []store.Build{first, second, moved}); err != nil {
			t.Fatal(err)
		}
		if got, want := sizes(), map[string]int64{"second": 1}; !maps.Equal(got, want) {
			t.Errorf("workspaces by size: %v, want %v", got, want)
		}
	})
}
