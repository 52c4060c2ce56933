package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// Person is who was active.
type Person struct {
	ID       uuid.UUID
	Username string
	Kind     string        // as [User.Kind]
	Deleted  bool          // is not in the catalog any more
	Roles    []access.Role // within the scope that was asked about, ascending; members have none of their own
}

// Active is the minutes of one user in one part of a window.
type Active struct {
	UserID  uuid.UUID
	Minutes int64 // distinct minutes
}

// Activity is who was active in each of several windows, and who they are.
type Activity struct {
	Windows [][]Active // as the windows were named, in no order within one
	People  map[uuid.UUID]Person
	Others  []OtherActor // that the question leaves out
}

// Activity counts what a category includes of some actors in windows that follow one another without overlap. Logins belong to no
// template and count only with a scope of everything.
func (s *Store) Activity(
	ctx context.Context, scope access.Scope, actors minute.Actors, windows []minute.Window,
	includes func(kind minute.Kind, app string) bool,
) (Activity, error) {
	activity := Activity{Windows: make([][]Active, len(windows)), People: map[uuid.UUID]Person{}}
	if len(windows) == 0 {
		return activity, nil
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return activity, err
	}
	if x.All {
		x = x.WithLogins()
	}
	tallies, err := s.countEach(ctx, x, actors, windows, func(_ int, kind minute.Kind, app string, _ bool) (channel, within int) {
		if includes(kind, app) {
			return minute.NoChannel, minute.NoChannel
		}
		return minute.Ignored, minute.NoChannel
	})
	if err != nil {
		return activity, err
	}
	all := map[int64]minute.UserTally{}
	for _, t := range tallies {
		for _, u := range t.Users {
			all[u.Person] = u
		}
	}
	users := slices.Collect(maps.Values(all))
	found, err := s.people(ctx, users)
	if err != nil {
		return activity, err
	}
	people := make(map[int64]*person, len(users))
	for i, u := range users {
		people[u.Person] = found[i]
	}
	var others []minute.OtherTally
	for i, t := range tallies {
		others = append(others, t.Others...)
		for _, u := range t.Users {
			if p := people[u.Person]; p.ID != uuid.Nil {
				activity.Windows[i] = append(activity.Windows[i], Active{p.ID, u.Minutes})
				activity.People[p.ID] = Person{ID: p.ID, Username: p.Username, Kind: p.Kind, Deleted: p.DeletedAt != 0}
			}
		}
	}
	activity.Others = together(others)
	return activity, s.addRoles(ctx, scope, activity.People)
}

// countEach runs one counting pass for all windows.
func (s *Store) countEach(
	ctx context.Context, x usage.Index, actors minute.Actors, windows []minute.Window, channelOf minute.ChannelOf,
) ([]minute.Tally, error) {
	of, err := s.population(ctx, actors)
	if err != nil {
		return nil, err
	}
	counters := make([]*minute.Counter, len(windows))
	for i, w := range windows {
		counters[i] = minute.NewCounter(w, of, len(x.IDs), channelOf, minute.Users)
	}
	whole := minute.Window{Start: windows[0].Start, End: windows[len(windows)-1].End}
	err = usage.EachDay(ctx, s.usage, x, whole, usage.Minutes, func(day int32, sources []minute.Source[*minute.Table]) error {
		for i, w := range windows {
			if first, last := w.Days(); first <= day && day <= last {
				if err := counters[i].Add(day, sources); err != nil {
					return err
				}
			}
		}
		return nil
	})
	tallies := make([]minute.Tally, len(windows))
	for i, c := range counters {
		tallies[i] = c.Tally()
	}
	return tallies, err
}

// addRoles looks up the roles that people hold themselves: everywhere, or for the templates of a scope or their organizations.
func (s *Store) addRoles(ctx context.Context, scope access.Scope, people map[uuid.UUID]Person) error {
	if len(people) == 0 {
		return nil
	}
	within, err := s.organizationsOfScope(ctx, scope)
	if err != nil {
		return err
	}
	within[uuid.Nil] = true
	for batch := range slices.Chunk(slices.Collect(maps.Keys(people)), readBatch) {
		var held []RoleBinding
		err := s.db.Reads.WithContext(ctx).Where("principal_kind = ? AND principal_id IN ?", access.KindUser, batch).Find(&held).Error
		if err != nil {
			return fmt.Errorf("read roles of users: %w", err)
		}
		for _, b := range held {
			if !scope.All() && (!within[b.OrganizationID] || b.TemplateID != uuid.Nil && !scope.Contains(b.TemplateID)) {
				continue
			}
			p := people[b.PrincipalID]
			if i, found := slices.BinarySearch(p.Roles, b.Role); !found {
				p.Roles = slices.Insert(p.Roles, i, b.Role)
			}
			people[b.PrincipalID] = p
		}
	}
	return nil
}
