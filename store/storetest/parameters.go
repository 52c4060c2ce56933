package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

func parametersOfLatestBuilds(t *testing.T, f *Fixture) {
	version := uuid.New()
	size := store.Parameter{Name: "size", Type: "string", Options: []store.ParameterOption{{Name: "Big", Value: "big"}}}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{{
		ID: version, TemplateID: f.Templates[0],
		Parameters: []store.Parameter{size, {Name: "secret", Type: "string", Sensitive: true}, {Name: "unused"}},
	}}})
	build := func(user int, number int64, value string) store.Build {
		return store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0], TemplateVersionID: version, Number: number,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
			Parameters: []store.BuildParameter{{Name: "size", Value: value}, {Name: "secret", Value: "hunter2"}},
		}
	}
	builds := []store.Build{build(0, 1, "small"), build(0, 2, "big"), build(1, 7, "big"), build(2, 1, "small")}
	// Builds that change nothing, each newer than all others of its workspace.
	for i, other := range []struct{ transition, status string }{
		{"stop", "succeeded"},
		{"delete", "succeeded"},
		{"start", "failed"},
		{"start", "canceled"},
		{"start", "canceling"},
		{"start", "running"},
		{"start", "pending"},
	} {
		b := build(i%3, int64(10+i), "never")
		b.Transition, b.Status = other.transition, other.status
		builds = append(builds, b)
	}
	same := build(2, 1, "big") // of the same number as another one, with a lower id
	same.ID = uuid.UUID{15: 1}
	builds = append(builds, same)
	for range 2 { // events are repeated
		if err := f.RecordBuilds(t.Context(), builds); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now.Add(time.Minute), store.Floor{})
	if err != nil {
		t.Fatal(err)
	}
	want := []store.ParameterUsage{
		{
			Templates: f.Templates[:1], Definition: store.Parameter{Name: "secret", Type: "string", Sensitive: true},
			Values: []store.ParameterValue{{Value: "", Count: 3}},
		},
		{
			Templates: f.Templates[:1], Definition: size,
			Values: []store.ParameterValue{{Value: "big", Count: 2}, {Value: "small", Count: 1, Orphan: true}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	// What was sensitive when the workspaces were built is not there to be shown later.
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: version, TemplateID: f.Templates[0], Parameters: []store.Parameter{{Name: "secret", Type: "string"}}},
	}})
	if got, err = f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now.Add(time.Minute), store.Floor{}); err != nil {
		t.Fatal(err)
	}
	want = []store.ParameterUsage{{
		Templates: f.Templates[:1], Definition: store.Parameter{Name: "secret", Type: "string"},
		Values: []store.ParameterValue{{Value: "", Count: 3}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters, no longer sensitive (-want +got):\n%s", diff)
	}
}

// Values and options are seen in the light of what the newest versions offer.
func parametersOfNewestVersions(t *testing.T, f *Fixture) {
	options := func(values ...string) (list []store.ParameterOption) {
		for _, v := range values {
			list = append(list, store.ParameterOption{Name: strings.ToUpper(v), Value: v})
		}
		return list
	}
	old, current := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: old, TemplateID: f.Templates[0], CreatedAt: store.At(Now.Add(-time.Hour)), Parameters: []store.Parameter{
			{Name: "gone", Type: "string"},
			{Name: "later secret", Type: "string"},
			{Name: "region", Type: "string", Options: options("eu", "us", "mars")},
			{Name: "tools", Type: "list(string)", Options: options("go", "git", "vi")},
			{Name: "zone", Type: "string"},
		}},
		{ID: current, TemplateID: f.Templates[0], CreatedAt: store.At(Now), Parameters: []store.Parameter{
			{Name: "later secret", Type: "string", Sensitive: true, DefaultValue: "hunter1"},
			{Name: "region", Type: "string", Options: options("eu", "us")},
			{Name: "tools", Type: "list(string)", Options: options("go", "git")},
			{Name: "zone", Type: "string", DefaultValue: "b"},
		}},
	}})
	build := func(user int, values ...string) store.Build {
		b := store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0], TemplateVersionID: old, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		}
		for i, name := range []string{"region", "tools", "zone", "gone", "later secret"} {
			b.Parameters = append(b.Parameters, store.BuildParameter{Name: name, Value: values[i]})
		}
		return b
	}
	err := f.RecordBuilds(t.Context(), []store.Build{
		build(0, "eu", `["go","git"]`, "a", "x", "hunter2"), build(1, "mars", `["go","vi"]`, "b", "x", "hunter3"),
		build(2, "eu", "not a list", "b", "x", "hunter3"),
	})
	if err != nil {
		t.Fatal(err)
	}
	usage, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now.Add(time.Minute), store.Floor{})
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Values  []store.ParameterValue
		Unused  []string
		Default string
	}
	got := map[string]entry{}
	for _, u := range usage {
		got[u.Definition.Name] = entry{u.Values, u.Unused, u.Default}
	}
	want := map[string]entry{
		"gone":         {[]store.ParameterValue{{Value: "x", Count: 3, Orphan: true}}, nil, ""},
		"later secret": {[]store.ParameterValue{{Count: 3}}, nil, ""},
		"region":       {[]store.ParameterValue{{Value: "eu", Count: 2}, {Value: "mars", Count: 1, Orphan: true}}, []string{"us"}, ""},
		"tools": {[]store.ParameterValue{
			{Value: `["go","git"]`, Count: 1},
			{Value: `["go","vi"]`, Count: 1, Orphan: true},
			{Value: "not a list", Count: 1, Orphan: true},
		}, nil, ""},
		"zone": {[]store.ParameterValue{{Value: "a", Count: 1}, {Value: "b", Count: 2}}, nil, "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

// hiddenValues: values that look like credentials are counted together, but for what the template offers, what five owners chose, and
// what was released in the template.
func hiddenValues(t *testing.T, f *Fixture) {
	const token, url, git = "ghp_0123456789abcdefghijABCDEFGHIJ012345", "https://ada:hunter2@acme.io/x", "https://acme.io/x"
	offered := store.Parameter{
		Name: "offered", Type: "string", Options: []store.ParameterOption{{Name: "URL", Value: url}, {Name: "B", Value: "b"}},
	}
	old, version, elsewhere := uuid.New(), uuid.New(), uuid.New()
	change := store.Catalog{Versions: []store.TemplateVersion{
		{ID: old, TemplateID: f.Templates[0], CreatedAt: store.At(Now.Add(-time.Hour)), Parameters: []store.Parameter{offered}},
	}}
	offered.DefaultValue = token
	parameters := []store.Parameter{offered, {Name: "text", Type: "string"}, {
		Name: "list", Type: "list(string)", Options: []store.ParameterOption{{Name: "A", Value: "a"}, {Name: "B", Value: "b"}},
	}}
	change.Versions = append(change.Versions,
		store.TemplateVersion{ID: version, TemplateID: f.Templates[0], CreatedAt: store.At(Now), Parameters: parameters},
		store.TemplateVersion{ID: elsewhere, TemplateID: f.Templates[1], CreatedAt: store.At(Now), Parameters: parameters},
	)
	var more [6]uuid.UUID // workspaces of five owners
	for i := range more {
		more[i] = uuid.New()
		owner := uuid.UUID{15: byte(min(i+1, 5))}
		if i < 5 {
			change.Users = append(change.Users, store.User{ID: owner, Username: fmt.Sprint("owner", i), Kind: "human", Status: "active"})
		}
		change.Workspaces = append(change.Workspaces, store.Workspace{ID: more[i], OwnerID: owner, TemplateID: f.Templates[0]})
	}
	f.apply(t, change)
	number := int64(0)
	start := func(workspace, template, version uuid.UUID, values ...string) {
		t.Helper()
		number++
		b := store.Build{
			ID: uuid.New(), WorkspaceID: workspace, TemplateID: template, TemplateVersionID: version, Number: number,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		}
		for i := 0; i < len(values); i += 2 {
			b.Parameters = append(b.Parameters, store.BuildParameter{Name: values[i], Value: values[i+1]})
		}
		if err := f.RecordBuilds(t.Context(), []store.Build{b}); err != nil {
			t.Fatal(err)
		}
	}
	// usage is what is told of a parameter, where all is told and where each atom of one person is.
	usage := func(name string) string {
		t.Helper()
		day := []minute.Window{today()}
		var answers [2]string
		PublishAnew(t, f.Store, f.Database, dayOfNow(1))
		for i, floor := range []store.Floor{{}, {People: 1, Days: day, Zone: time.UTC}} {
			all, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now.Add(24*time.Hour), floor)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range all {
				for _, v := range u.Values {
					if u.Definition.Name == name {
						answers[i] += strings.TrimSuffix(fmt.Sprintf("%s:%d:%v ", v.Value, v.Count, v.Hidden), "false ")
					}
				}
			}
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: told is %q, and published %q", name, answers[0], answers[1])
		}
		return answers[0]
	}
	check := func(what, name, want string) {
		t.Helper()
		if got := usage(name); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	release := func(template uuid.UUID, name string, released, before bool) {
		t.Helper()
		if previous, err := f.SetParameterRelease(t.Context(), template, name, released); err != nil || previous != before {
			t.Errorf("release of %s: %v before, %v", name, previous, err)
		}
	}
	start(f.Workspaces[0][0], f.Templates[0], version, "text", token, "offered", token, "list", `["a","`+url+`"]`)
	start(f.Workspaces[0][1], f.Templates[0], version, "text", url, "offered", url, "list", `["a","b"]`)
	start(f.Workspaces[0][2], f.Templates[0], version, "text", git, "offered", git)
	start(f.Workspaces[1][0], f.Templates[1], elsewhere, "text", store.HiddenValue, "offered", url+"?")
	check("free text", "text", "(hidden):1:(hidden):2:true "+git+":1:")
	check("what is offered", "offered", "(hidden):1:true "+token+":1:"+git+":1:"+url+":1:")
	check("within lists", "list", `(hidden):1:true ["a","b"]:1:`)

	// A list is one whatever its parameter is, and whichever parameter had it first. JSON may write its members differently.
	const key = `["a","https:\/\/ada:hunter2@acme.io"]`
	start(f.Workspaces[0][2], f.Templates[0], version, "text", key, "list", key, "offered", git)
	check("a list in free text", "text", "(hidden):1:(hidden):3:true ")
	check("the same list in a list", "list", `(hidden):2:true ["a","b"]:1:`)
	start(f.Workspaces[0][2], f.Templates[0], version, "text", git, "offered", git)

	start(f.Workspaces[0][1], f.Templates[0], old, "offered", token)
	check("what the newest version offers", "offered", "(hidden):1:true "+token+":2:"+git+":1:")

	start(f.Workspaces[1][0], f.Templates[1], elsewhere, "text", token)
	release(f.Templates[1], "list", true, false)
	check("another parameter is released", "text", "(hidden):2:true "+git+":1:")
	release(f.Templates[1], "text", true, false)
	release(f.Templates[1], "text", true, true)
	check("released in one template", "text", "(hidden):1:true "+token+":1:"+git+":1:")
	release(f.Templates[1], "text", false, true)
	release(f.Templates[1], "text", false, false)
	check("no longer released", "text", "(hidden):2:true "+git+":1:")
	for _, unknown := range []struct {
		template uuid.UUID
		name     string
	}{{f.Templates[0], "nothing"}, {uuid.New(), "text"}} {
		if _, err := f.SetParameterRelease(t.Context(), unknown.template, unknown.name, true); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("release of what is not there: %v", err)
		}
	}

	// Five workspaces of four owners.
	for _, w := range append(more[:3:3], more[4:]...) {
		start(w, f.Templates[0], version, "text", url)
	}
	check("chosen by four", "text", "(hidden):7:true "+git+":1:")
	start(more[3], f.Templates[0], version, "text", url)
	check("chosen by five", "text", "(hidden):2:true "+git+":1:"+url+":6:")
}

// hiddenValuesTakeTime: a question about values that are long to look at ends with its deadline.
func hiddenValuesTakeTime(t *testing.T, f *Fixture) {
	version := store.TemplateVersion{ID: uuid.New(), TemplateID: f.Templates[0]}
	var builds []store.Build
	for _, workspace := range f.Workspaces[0] {
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: workspace, TemplateID: f.Templates[0], TemplateVersionID: version.ID, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		})
	}
	const marks = "gl cio oy2 npm_ hf_ sk- :// == xox AT[AC]TT3 ATBB ASIA AIza pat shp key- -us SK dp. b. s. eyJ _auth secret_ " +
		"token= k_live_ "
	for i := range 60 {
		name := fmt.Sprint("p", i)
		version.Parameters = append(version.Parameters, store.Parameter{Name: name, Type: "string"})
		for j := range builds {
			value := strings.Repeat(marks, 8<<10/len(marks)) + fmt.Sprint(i, j)
			builds[j].Parameters = append(builds[j].Parameters, store.BuildParameter{Name: name, Value: value})
		}
	}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{version}})
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := f.ParameterUsage(ctx, f.Everything, minute.People, Now, Now.Add(time.Minute), store.Floor{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline a question ends with %v", err)
	}
}

// Whatever builds there were, corrected and in whatever order, a workspace counts with its newest start of the window. What is left of
// erased people counts as before.
func parametersOfRandomBuilds(t *testing.T, f *Fixture) {
	version, size := uuid.New(), store.Parameter{Name: "size", Type: "string"}
	for i := range 20 {
		size.Options = append(size.Options, store.ParameterOption{Value: fmt.Sprint(i)})
	}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: version, TemplateID: f.Templates[0], Parameters: []store.Parameter{size}},
	}})
	r := rand.New(rand.NewPCG(24, 30))
	minutes := func(n int) store.Instant { return store.At(Now.Add(time.Duration(n) * time.Minute)) }
	var ids []uuid.UUID
	builds := map[uuid.UUID]store.Build{} // as their newest events say
	check := func(what string, of map[uuid.UUID]store.Build, start, end int) {
		t.Helper()
		got, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, minutes(start).Time, minutes(end).Time, store.Floor{})
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]int64{}
		for _, u := range got {
			for _, v := range u.Values {
				values[v.Value] = v.Count
			}
		}
		if diff := cmp.Diff(valuesOfNewestStarts(of, minutes(start), minutes(end)), values); diff != "" {
			t.Fatalf("%s, minutes %d to %d (-want +got):\n%s", what, start, end, diff)
		}
	}
	for round := range 60 {
		var events []store.Build
		for range 1 + r.IntN(5) {
			number := 1 + r.IntN(12)
			b := store.Build{
				ID: uuid.New(), At: minutes(round), WorkspaceID: f.Workspaces[0][r.IntN(3)], TemplateID: f.Templates[0],
				TemplateVersionID: version, Number: int64(number), Transition: []string{"start", "start", "start", "stop"}[r.IntN(4)],
				Status: []string{"succeeded", "succeeded", "succeeded", "failed"}[r.IntN(4)], CreatedAt: minutes(number),
				Parameters: []store.BuildParameter{{Name: "size", Value: fmt.Sprint(r.IntN(20))}},
			}
			if r.IntN(3) == 0 { // clocks differ
				b.CreatedAt = minutes(r.IntN(12))
			}
			if len(ids) > 0 && r.IntN(3) == 0 { // an event corrects another one
				b.ID = ids[r.IntN(len(ids))]
				b.WorkspaceID = builds[b.ID].WorkspaceID
			}
			ids, events = append(ids, b.ID), append(events, b)
			builds[b.ID] = b
		}
		if err := f.RecordBuilds(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			start := r.IntN(14)
			check(fmt.Sprint("round ", round), builds, start, start+r.IntN(14))
		}
	}
	left := map[uuid.UUID]store.Build{} // of each number one, so that new ids leave the order as it is
	for number := range 12 {
		b := store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], TemplateVersionID: version,
			Number: int64(number + 100), Transition: "start", Status: "succeeded", CreatedAt: minutes(number + 100),
			Parameters: []store.BuildParameter{{Name: "size", Value: fmt.Sprint(number)}},
		}
		left[b.ID] = b
	}
	if err := f.RecordBuilds(t.Context(), slices.Collect(maps.Values(left))); err != nil {
		t.Fatal(err)
	}
	if err := f.EraseUser(t.Context(), f.Users[0]); err != nil {
		t.Fatal(err)
	}
	for end := range 14 {
		check("erased", left, 100, 100+end)
	}
}

// valuesOfNewestStarts counts the workspaces of each value of the only parameter by their newest starts that were created in a window.
func valuesOfNewestStarts(builds map[uuid.UUID]store.Build, start, end store.Instant) map[string]int64 {
	newest := map[uuid.UUID]store.Build{}
	for _, b := range builds {
		if b.Transition != "start" || b.Status != "succeeded" || b.CreatedAt.Before(start.Time) || !b.CreatedAt.Before(end.Time) {
			continue
		}
		if n, known := newest[b.WorkspaceID]; !known || n.Number < b.Number || n.Number == b.Number && n.ID.String() < b.ID.String() {
			newest[b.WorkspaceID] = b
		}
	}
	values := map[string]int64{}
	for _, b := range newest {
		values[b.Parameters[0].Value]++
	}
	return values
}
