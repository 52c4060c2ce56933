package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// never is a time of a period that is not there.
const never = -1

// period is when somebody is in a group, in hours after Now.
type period struct{ from, to int }

func hoursLater(n int) store.Instant {
	if n == never {
		return store.Instant{}
	}
	return store.At(Now.Add(time.Duration(n) * time.Hour))
}

func (p period) of(user uuid.UUID) store.GroupMember {
	return store.GroupMember{UserID: user, FromAt: hoursLater(p.from), ToAt: hoursLater(p.to)}
}

// periodsOf are the periods of a user in the only group that the user is or was in.
func periodsOf(t *testing.T, s *store.Store, user uuid.UUID) (periods []period) {
	t.Helper()
	d, err := s.MyData(t.Context(), user)
	if err != nil || len(d.Groups) > 1 {
		t.Fatal(d.Groups, err)
	}
	hours := func(at store.Instant) int {
		if at.IsZero() {
			return never
		}
		return int(at.Sub(Now) / time.Hour)
	}
	for _, g := range d.Groups {
		for _, m := range g.Members {
			if m.UserID != user || m.GroupID != g.ID {
				t.Errorf("a period of somebody else: %+v", m)
			}
			periods = append(periods, period{hours(m.FromAt), hours(m.ToAt)})
		}
	}
	return periods
}

// groupsKeepTheirPast: whoever leaves a group was in it, roles are those of its members of the moment, and what was said already is not
// new.
func groupsKeepTheirPast(t *testing.T, f *Fixture) {
	group := uuid.New()
	users := func(of ...int) store.Catalog {
		g := store.Group{ID: group, OrganizationID: f.Organization, Name: "leads"}
		for _, u := range of {
			g.UserIDs = append(g.UserIDs, f.Users[u])
		}
		return store.Catalog{Groups: []store.Group{g}}
	}
	members := func(of ...store.GroupMember) store.Catalog {
		return store.Catalog{Groups: []store.Group{{ID: group, OrganizationID: f.Organization, Name: "leads", Members: of}}}
	}
	deleted := store.Catalog{Deleted: store.Deleted{Groups: []uuid.UUID{group, group}}}
	f.apply(t, users())
	if _, err := f.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: store.KindGroup, PrincipalID: group, Role: access.RoleAuditor,
	}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		hour   int
		change store.Catalog
		want   [3][]period
	}{
		{"two come", 0, users(0, 1), [3][]period{{{0, never}}, {{0, never}}, nil}},
		{"one leaves and another comes", 1, users(1, 2, 2), [3][]period{{{0, 1}}, {{0, never}}, {{1, never}}}},
		{"one comes back", 2, users(0, 1), [3][]period{{{0, 1}, {2, never}}, {{0, never}}, {{1, 2}}}},
		{"otherwise at the same moment", 2, users(1, 2), [3][]period{{{0, 1}}, {{0, never}}, {{1, never}}}},
		{"the group goes", 3, deleted, [3][]period{{{0, 1}}, {{0, 3}}, {{1, 3}}}},
		{"the group goes again", 4, deleted, [3][]period{{{0, 1}}, {{0, 3}}, {{1, 3}}}},
		{"the group comes back", 5, users(0), [3][]period{{{0, 1}, {5, never}}, {{0, 3}}, {{1, 3}}}},
		{
			"all times are told", 6, members(period{1, 4}.of(f.Users[0]), period{3, never}.of(f.Users[2]), period{never, 2}.of(f.Users[0])),
			[3][]period{{{never, 4}}, nil, {{3, never}}},
		},
		{"some who touch", 7, members(period{2, 3}.of(f.Users[1]), period{3, 4}.of(f.Users[1])), [3][]period{nil, {{2, 4}}, nil}},
		{"one comes after all", 8, users(2), [3][]period{nil, {{2, 4}}, {{8, never}}}},
		{"nobody stays", 9, users(), [3][]period{nil, {{2, 4}}, {{8, 9}}}},
	} {
		s := Open(t, f.Database, hoursLater(step.hour).Time)
		if refusals, err := s.ApplyCatalog(t.Context(), step.change, anyone); err != nil || len(refusals) > 0 {
			t.Fatal(step.name, refusals, err)
		}
		for u, user := range f.Users {
			got := periodsOf(t, s, user)
			if diff := cmp.Diff(step.want[u], got, cmp.AllowUnexported(period{})); diff != "" {
				t.Errorf("%s: periods of user %d (-want +got):\n%s", step.name, u, diff)
			}
			held, err := s.Holding(t.Context(), access.KindUser, user)
			if err != nil {
				t.Fatal(err)
			}
			if is := len(got) > 0 && got[len(got)-1].to == never; is != (len(held.Grants) > 0) {
				t.Errorf("%s: user %d is in the group: %v, and holds %v", step.name, u, is, held.Grants)
			}
		}
		fresh, err := s.UnstoredCatalog(t.Context(), step.change)
		fresh.Deleted = store.Deleted{}
		if diff := cmp.Diff(store.Catalog{}, fresh, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%s: what was just said is new: %s, %v", step.name, diff, err)
		}
	}
}

// timesOfMembers: somebody may come and leave a little later than now, and has the roles of the group in between. What is further ahead
// is refused for now.
func timesOfMembers(t *testing.T, f *Fixture) {
	group := store.Group{ID: uuid.New(), OrganizationID: f.Organization, Name: "leads"}
	f.apply(t, store.Catalog{Groups: []store.Group{group}})
	if _, err := f.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: store.KindGroup, PrincipalID: group.ID, Role: access.RoleAuditor,
	}); err != nil {
		t.Fatal(err)
	}
	ahead := func(minutes time.Duration) store.Instant { return store.At(Now.Add(minutes * time.Minute)) }
	for name, c := range map[string]struct {
		from, to store.Instant
		reason   string
		holds    [6]bool // by minutes after Now
	}{
		"from and to":      {ahead(1), ahead(3), "", [6]bool{1: true, 2: true}},
		"to":               {ahead(-1), ahead(5), "", [6]bool{true, true, true, true, true}},
		"from":             {ahead(5), store.Instant{}, "", [6]bool{5: true}},
		"from the future":  {ahead(6), store.Instant{}, "members[0].from: is in the future", [6]bool{}},
		"until the future": {ahead(-1), ahead(6), "members[0].to: is in the future", [6]bool{}},
	} {
		f.apply(t, store.Catalog{Groups: []store.Group{{ID: group.ID, OrganizationID: f.Organization, Members: []store.GroupMember{}}}})
		group.Members = []store.GroupMember{{UserID: f.Users[0], FromAt: c.from, ToAt: c.to}}
		refusals, err := f.ApplyCatalog(t.Context(), store.Catalog{Groups: []store.Group{group}}, anyone)
		if err != nil || len(refusals) > 1 {
			t.Fatal(name, refusals, err)
		}
		var reason string
		for _, r := range refusals {
			if reason = r.Reason; r.Permanent {
				t.Errorf("%s: refused for ever", name)
			}
		}
		if reason != c.reason {
			t.Errorf("%s: %q, want %q", name, reason, c.reason)
		}
		for minutes, want := range c.holds {
			held, err := Open(t, f.Database, ahead(time.Duration(minutes)).Time).Holding(t.Context(), access.KindUser, f.Users[0])
			if err != nil || len(held.Grants) > 0 != want {
				t.Errorf("%s: %d minutes later holds %v, want %v; %v", name, minutes, held.Grants, want, err)
			}
		}
	}
}

// pastOfGroupsExpires: members who left before the first day of which usage stays go, and so do groups that are gone since then.
func pastOfGroupsExpires(t *testing.T, f *Fixture) {
	midnight := Now.Truncate(24*time.Hour).AddDate(0, 0, -2)
	old, live := uuid.New(), uuid.New()
	member := func(user int, from, to time.Time) store.GroupMember {
		return store.GroupMember{UserID: f.Users[user], FromAt: store.At(from), ToAt: store.At(to)}
	}
	past := Open(t, f.Database, midnight)
	for _, c := range []store.Catalog{
		{Groups: []store.Group{{ID: old, OrganizationID: f.Organization, Name: "old", UserIDs: f.Users[:1]}}},
		{Deleted: store.Deleted{Groups: []uuid.UUID{old}}},
	} {
		if refusals, err := past.ApplyCatalog(t.Context(), c, anyone); err != nil || len(refusals) > 0 {
			t.Fatal(refusals, err)
		}
	}
	f.apply(t, store.Catalog{Groups: []store.Group{{ID: live, OrganizationID: f.Organization, Name: "live", Members: []store.GroupMember{
		member(0, time.Time{}, midnight), member(1, time.Time{}, midnight.Add(time.Hour)),
		member(2, midnight.AddDate(0, 0, -7), time.Time{}),
	}}}})
	if _, err := f.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleViewGroupInsights, GroupID: old,
	}); err != nil {
		t.Fatal(err)
	}
	if oldest, err := f.Oldest(t.Context()); err != nil || !oldest[store.ExpiredCatalog].Equal(midnight) {
		t.Errorf("oldest: %v, %v; want %v", oldest, err, midnight)
	}
	for _, c := range []struct {
		horizon time.Time
		gone    int64
		left    [3]int
		known   error
	}{
		{midnight.Add(-time.Minute), 0, [3]int{1, 1, 1}, nil},
		{Now.AddDate(0, 0, -2), 3, [3]int{0, 1, 1}, store.ErrUnknown}, // noon of the day: the day itself stays; a period, group and role
		{Now.AddDate(0, 0, -1), 1, [3]int{0, 0, 1}, store.ErrUnknown},
	} {
		expired, err := f.Expire(t.Context(), store.Horizons{Usage: c.horizon})
		if err != nil || expired[store.ExpiredCatalog] != c.gone {
			t.Errorf("before %v %v went: %v; want %d of the catalog", c.horizon, expired, err, c.gone)
		}
		for u, left := range c.left {
			if got := periodsOf(t, f.Store, f.Users[u]); len(got) != left {
				t.Errorf("before %v: user %d has %v, want %d", c.horizon, u, got, left)
			}
		}
		if _, err := f.FindPrincipal(t.Context(), store.KindGroup, old); !errors.Is(err, c.known) {
			t.Errorf("before %v the group that is gone is: %v, want %v", c.horizon, err, c.known)
		}
	}
}
