package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// Publish publishes all days that are due.
func Publish(t testing.TB, s *store.Store, p store.Publication) {
	t.Helper()
	for {
		published, err := s.Publish(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if !published {
			return
		}
	}
}

// PublishAnew is Publish as if no day had been published yet.
func PublishAnew(t testing.TB, s *store.Store, database string, p store.Publication) {
	t.Helper()
	d := OpenDB(t, database)
	for _, table := range []string{"published_days", "publications"} {
		if err := d.Writes.WithContext(t.Context()).Exec(`DELETE FROM ` + table).Error; err != nil {
			t.Fatal(err)
		}
	}
	Publish(t, s, p)
}

// dayOfNow is a publication for which the day of Now is over.
func dayOfNow(floor int) store.Publication {
	return store.Publication{Floor: floor, Zone: time.UTC, After: -24 * time.Hour}
}

// told is what is told of the day of Now from so many people on: how many people, and the minutes of the apps that are told of each of some
// templates, in whichever.
type told struct {
	Users   int
	Minutes map[int]int64
}

func (f *Fixture) told(t testing.TB, floor int, templates ...uuid.UUID) told {
	t.Helper()
	answer, err := f.TemplateInsights(t.Context(), f.Everything, minute.People, today(), store.Floor{
		People: floor, Days: []minute.Window{today()}, Zone: time.UTC,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := told{answer.ActiveUsers, map[int]int64{}}
	for _, a := range answer.Entries() {
		for _, id := range a.Templates {
			got.Minutes[slices.Index(templates, id)] += a.Minutes
		}
	}
	return got
}

// published: what was published of a day stays, whatever comes later, until retention or a stricter floor takes it.
func published(t *testing.T, f *Fixture) {
	third := uuid.New()
	f.apply(t, store.Catalog{Templates: []store.Template{{ID: third, OrganizationID: f.Organization, Name: "third"}}})
	inThird := func(user int) store.OpenRow {
		r := f.Row(0, user, 9, 1)
		r.Template = third
		return r
	}
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 3), f.Row(0, 2, 8, 1), f.Row(1, 0, 8, 1))
	nothing, first := told{0, map[int]int64{}}, told{2, map[int]int64{0: 4}}
	check := func(what string, floor int, want told) {
		t.Helper()
		if diff := cmp.Diff(want, f.told(t, floor, f.Templates[0], f.Templates[1], third)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("not published", 2, nothing)
	Publish(t, f.Store, store.Publication{Floor: 2, Zone: time.UTC})
	check("not over", 2, nothing)
	must(f.BeginImport(t.Context(), "coder"))
	Publish(t, f.Store, dayOfNow(2))
	check("while an import runs", 2, nothing)
	must(f.EndImport(t.Context(), "coder", Now, Now))
	if follows, err := f.Follow(t.Context(), "followed", "a", time.Hour); err != nil || !follows {
		t.Fatal(follows, err)
	}
	Publish(t, f.Store, dayOfNow(2))
	check("a system that is followed told nothing yet", 2, nothing)
	must(f.SetImportedUntil(t.Context(), "followed", Now, Now))
	must(f.EndFollowing(t.Context(), "followed", "a", false))
	Publish(t, f.Store, dayOfNow(2))
	check("it fell silent during the day", 2, nothing)
	must(f.SetImportedUntil(t.Context(), "followed", Now.Truncate(24*time.Hour).AddDate(0, 0, 1), Now))
	Publish(t, f.Store, dayOfNow(2))
	check("published", 2, first)

	f.MustMerge(t, f.Row(0, 0, 10, 7), f.Row(1, 1, 8, 1), f.Row(1, 2, 8, 1), inThird(0), inThird(1))
	f.apply(t, store.Catalog{Users: []store.User{{ID: f.Users[0], Username: "user0", Kind: "service", Status: "active"}}})
	Publish(t, f.Store, dayOfNow(2))
	check("late reports and kinds", 2, first)
	must(f.EndImport(t.Context(), "coder", Now, Now))
	f.apply(t, store.Catalog{Users: []store.User{{ID: f.Users[0], Username: "user0", Kind: "human", Status: "active"}}})
	Publish(t, f.Store, dayOfNow(2))
	check("a template that an import brought", 2, told{2, map[int]int64{0: 6, 2: 6}})
	check("a stricter floor", 3, told{3, map[int]int64{0: 4}})
	check("a floor for more than there are", 4, nothing)

	_, err := f.Expire(t.Context(), store.Horizons{Usage: Now.Add(24 * time.Hour)})
	must(err)
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 3))
	Publish(t, f.Store, dayOfNow(2))
	check("after retention", 2, nothing)
}

// publishedStatuses: users by status are told as they stood when the day was published, rounded down, of the organizations that may be
// read.
func publishedStatuses(t *testing.T, f *Fixture) {
	other := uuid.New()
	var c store.Catalog
	var changes []store.UserStatusChange
	add := func(kind, status string, organizations ...uuid.UUID) {
		u := store.User{ID: uuid.New(), Username: uuid.NewString(), Kind: kind, Status: "active", OrganizationIDs: organizations}
		c.Users = append(c.Users, u)
		changes = append(changes, store.UserStatusChange{UserID: u.ID, At: store.At(Now.AddDate(0, 0, -9)), Status: status})
	}
	for range 3 {
		add("human", "active", f.Organization)
	}
	add("human", "active", f.Organization, other)
	add("human", "active", other)
	add("human", "dormant", other)
	add("service", "active", other)
	add("service", "active", other)
	gone := store.User{ID: uuid.New(), Username: "gone", Kind: "human", OrganizationIDs: []uuid.UUID{other}, DeletedAt: store.At(Now)}
	c.Users = append(c.Users, gone)
	changes = append(changes,
		store.UserStatusChange{UserID: gone.ID, At: store.At(Now.AddDate(0, 0, -9)), Status: "dormant"},
		store.UserStatusChange{UserID: c.Users[0].ID, At: store.At(Now.AddDate(0, 0, 2)), Status: "dormant"}) // after the day
	f.apply(t, c)
	if err := f.RecordStatusChanges(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	f.MustMerge(t, f.Row(0, 0, 8, 1))
	Publish(t, f.Store, dayOfNow(2))
	day := Now.Truncate(24 * time.Hour)
	midnights := []time.Time{day, day.AddDate(0, 0, 1), day.AddDate(0, 0, 2)} // the second ends the day of Now
	check := func(what string, floor int, within uuid.UUID, want map[string]int64, others int) {
		t.Helper()
		counts, left, err := f.PublishedStatusCounts(t.Context(), store.Floor{People: floor, Zone: time.UTC}, midnights,
			func(organizations []uuid.UUID) bool {
				return within == uuid.Nil || slices.Contains(organizations, within)
			})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for status, of := range counts {
			if of[1] > 0 {
				got[status] = of[1]
			}
			if of[2] != 0 {
				t.Errorf("%s: %v of a day that is not published", what, of)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || others == 0 && len(left) > 0 ||
			others > 0 && (len(left) != 1 || left[0].Actors != others) {
			t.Errorf("%s: others %v (-want +got):\n%s", what, left, diff)
		}
	}
	check("all", 2, uuid.Nil, map[string]int64{"active": 4}, 2)
	check("one organization", 2, f.Organization, map[string]int64{"active": 4}, 0)
	check("another organization", 2, other, map[string]int64{"active": 2}, 2)
	check("a stricter floor", 5, uuid.Nil, map[string]int64{"active": 5}, 0)
	check("a laxer floor", 1, uuid.Nil, map[string]int64{"active": 4}, 2)
	for range 2 {
		add("human", "active", f.Organization)
	}
	c.Users[5].Kind = "service"
	f.apply(t, c)
	if err := f.RecordStatusChanges(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	Publish(t, f.Store, dayOfNow(2))
	check("late changes", 2, uuid.Nil, map[string]int64{"active": 4}, 2)
}

// publishedQueries: cuts are made of atoms of enough people, people of those of any use and time of those of apps.
func publishedQueries(t *testing.T, f *Fixture) {
	zed := func(user int) store.OpenRow {
		r := f.Row(0, user, 8, 3)
		r.App = "zed"
		return r
	}
	ofOne := f.Row(0, 0, 9, 1) // no row tells of a template with one person
	ofOne.Template = uuid.New()
	f.apply(t, store.Catalog{Templates: []store.Template{{ID: ofOne.Template, OrganizationID: f.Organization, Name: "of one"}}})
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 3), f.Row(0, 2, 8, 1), f.Row(1, 0, 8, 1), f.Row(1, 1, 8, 1), zed(2), ofOne)
	Publish(t, f.Store, dayOfNow(2))
	second := f.Templates[1].String()
	for _, tt := range []struct {
		name   string
		by     []string
		filter *store.QueryFilter
		apps   bool
		want   map[string][4]int64 // people, days, minutes, launches by keys; of all without
	}{
		{"all", nil, nil, false, map[string][4]int64{"": {2, 2}}},
		{"templates", []string{store.ByTemplate}, nil, false, map[string][4]int64{
			"": {2, 2}, f.Templates[0].String(): {2, 2}, second: {2, 2},
		}},
		{"one template", nil, &store.QueryFilter{By: store.ByTemplate, Values: []string{second}}, false, map[string][4]int64{"": {2, 2}}},
		{
			"no template", nil, &store.QueryFilter{By: store.ByTemplate, Values: []string{uuid.NewString()}}, false,
			map[string][4]int64{"": {}},
		},
		{"families", []string{store.ByFamily}, nil, true, map[string][4]int64{"": {0, 0, 6, 5}, "vscode": {0, 0, 6, 5}}},
		{
			"families by template",
			[]string{store.ByFamily, store.ByTemplate},
			&store.QueryFilter{By: store.ByTemplate, Values: []string{second}, Not: true}, true,
			map[string][4]int64{
				"": {0, 0, 4, 3}, "vscode " + f.Templates[0].String(): {0, 0, 4, 3},
			},
		},
		{"apps", []string{store.ByApp}, nil, true, map[string][4]int64{"": {0, 0, 6, 5}}},
		{
			"other families", nil, &store.QueryFilter{By: store.ByFamily, Values: []string{"vscode"}, Not: true}, true,
			map[string][4]int64{"": {}},
		},
	} {
		q := store.Query{Scope: f.Everything, By: tt.by}
		if tt.filter != nil {
			q.Filters = []store.QueryFilter{*tt.filter}
		}
		floor := store.Floor{People: 2, Days: []minute.Window{today()}, Zone: time.UTC}
		result, err := f.PublishedQuery(t.Context(), q, floor, tt.apps)
		if err != nil {
			t.Fatal(err)
		}
		figures := func(of *store.Figures) [4]int64 { return [4]int64{of.People, of.Days, of.Minutes, of.Launches} }
		got := map[string][4]int64{"": figures(&result.Whole)}
		for _, r := range result.Rows {
			var keys []string
			for _, k := range r.Keys {
				keys = append(keys, k.Value)
			}
			got[strings.Join(keys, " ")] = figures(r.Figures)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// publishedFloor: an atom of fewer people than the floor of its time is not told under a laxer one either, nor are numbers of people told
// more exactly.
func publishedFloor(t *testing.T, f *Fixture) {
	zed := f.Row(0, 0, 8, 1)
	zed.App = "zed"
	other := f.Row(0, 1, 8, 1)
	other.App = "zed"
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 3), f.Row(0, 2, 8, 1), f.Row(1, 0, 8, 1), f.Row(1, 1, 8, 1), zed, other)
	version := store.TemplateVersion{
		ID: uuid.New(), TemplateID: f.Templates[0], Parameters: []store.Parameter{{Name: "region", Type: "string"}},
	}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{version}})
	for user := range 2 {
		err := f.RecordBuilds(t.Context(), []store.Build{{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0], TemplateVersionID: version.ID, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
			Parameters: []store.BuildParameter{{Name: "region", Value: "eu"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		then, now int
		want      told
		values    int
	}{
		{2, 2, told{2, map[int]int64{0: 8, 1: 6}}, 1},
		{3, 2, told{3, map[int]int64{0: 4}}, 0},
		{2, 3, told{3, map[int]int64{0: 4}}, 0},
		{1, 2, told{2, map[int]int64{0: 8, 1: 6}}, 1},
	} {
		PublishAnew(t, f.Store, f.Database, dayOfNow(tt.then))
		if diff := cmp.Diff(tt.want, f.told(t, tt.now, f.Templates[0], f.Templates[1])); diff != "" {
			t.Errorf("floor %d after %d (-want +got):\n%s", tt.now, tt.then, diff)
		}
		floor := store.Floor{People: tt.now, Days: []minute.Window{today()}, Zone: time.UTC}
		cut, err := f.PublishedQuery(t.Context(), store.Query{Scope: f.Everything}, floor, false)
		if err != nil || cut.Whole.People != int64(tt.want.Users) {
			t.Errorf("floor %d after %d: %d people in a cut, %v; want %d", tt.now, tt.then, cut.Whole.People, err, tt.want.Users)
		}
		values, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now, floor)
		if err != nil || len(values) != tt.values {
			t.Errorf("floor %d after %d: values %v, %v", tt.now, tt.then, values, err)
		}
	}
}

// publishedMachines: who is no person is told of in numbers that the floor of the time and that of the question allow.
func publishedMachines(t *testing.T, f *Fixture) {
	for _, user := range f.Users[1:] {
		f.apply(t, store.Catalog{Users: []store.User{{ID: user, Username: user.String(), Kind: "service", Status: "active"}}})
	}
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 1), f.Row(0, 2, 8, 1))
	for _, tt := range []struct{ then, now, want int }{{2, 2, 2}, {1, 2, 2}, {3, 2, 0}, {2, 3, 0}} {
		PublishAnew(t, f.Store, f.Database, dayOfNow(tt.then))
		answer, err := f.TemplateInsights(t.Context(), f.Everything, minute.People, today(), store.Floor{
			People: tt.now, Days: []minute.Window{today()}, Zone: time.UTC,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, o := range answer.Others {
			got += o.Actors
		}
		if got != tt.want {
			t.Errorf("floor %d after %d: %d machines, want %d", tt.now, tt.then, got, tt.want)
		}
	}
}

// publicationInOrder: days are published one after the other from the first on, and none that is not over.
func publicationInOrder(t *testing.T, f *Fixture) {
	yesterday := f.Row(0, 0, 8-minute.HalfHoursPerDay, 1)
	f.MustMerge(t, yesterday, f.Row(0, 1, 8, 1))
	today := minute.DateOf(Now)
	for want := today - 2; want <= today; want++ {
		published, err := f.Publish(t.Context(), dayOfNow(2))
		if date, _, _ := f.PublishedUntil(t.Context()); err != nil || !published || date != want+1 {
			t.Errorf("published %v until %d, want %d: %v", published, date, want+1, err)
		}
	}
	if published, err := f.Publish(t.Context(), dayOfNow(2)); err != nil || published {
		t.Errorf("published a day that is not over: %v", err)
	}
}

// publicationGivesWay: a day that was counted before an import began is not published while it runs, until it is taken for dead.
func publicationGivesWay(t *testing.T, f *Fixture) {
	f.MustMerge(t, f.Row(0, 0, 8, 1), f.Row(0, 1, 8, 1))
	Publish(t, f.Store, store.Publication{Floor: 2, Zone: time.UTC})
	today := minute.DateOf(Now)
	var published bool
	counted := make(chan error)
	err := OpenDB(t, f.Database).Writes.WithContext(t.Context()).Transaction(func(tx *gorm.DB) error {
		for text, value := range map[string]any{
			`INSERT INTO publications (day, published) VALUES (?, FALSE)`:                     today, // is waited for
			`INSERT INTO imports (source, imported_until, running_at) VALUES ('coder', 0, ?)`: store.At(Now),
		} {
			if err := tx.Exec(text, value).Error; err != nil {
				return err
			}
		}
		go func() {
			var err error
			published, err = f.Publish(t.Context(), dayOfNow(2))
			counted <- err
		}()
		time.Sleep(time.Second / 2) // it counts meanwhile
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-counted; err != nil || published {
		t.Errorf("published %v: %v", published, err)
	}
	if date, _, err := f.PublishedUntil(t.Context()); err != nil || date != today {
		t.Errorf("published until %d, want %d: %v", date, today, err)
	}
	dayLater := Open(t, f.Database, Now.Add(25*time.Hour))
	if published, err := dayLater.Publish(t.Context(), dayOfNow(2)); err != nil || !published {
		t.Errorf("an import that has not gone on for a day holds up what is due: published %v, %v", published, err)
	}
}
