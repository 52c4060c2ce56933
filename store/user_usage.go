package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// UserUsage is what one user did in a window.
type UserUsage struct {
	UserID    uuid.UUID
	Username  string
	Place     string // among others by name, as [PlaceOf]
	AvatarURL string
	Kind      string      // as [User.Kind]
	Deleted   bool        // is not in the catalog any more
	Templates []uuid.UUID // that the user was active in, ascending
	Minutes   int64       // distinct minutes with any activity
	Days      int         // intervals of the window with any activity
	Median    float64     // of the minutes in those intervals; of activity alone, as the next
	Apps      []UserApp   // most minutes first
}

// UserApp is the use of one entry of [TemplateInsights] by one user.
type UserApp struct {
	Builtin     bool
	DisplayName string
	Slug        string
	Minutes     int64 // distinct minutes
	Together    int   // how many people it is told of at least, and never of this one alone; 0: it is told of each
}

// Latency is how quick connections were.
type Latency struct {
	P50, P95  float64 // milliseconds; -1 without samples
	Samples   int64
	Rating    minute.Rating // of the median
	RatingP95 minute.Rating
}

// UserLatency is how quick the connections of one user were in a window.
type UserLatency struct {
	UserUsage
	Latency
}

// ActivityTotal is what is known of the activity of all users of a question together.
type ActivityTotal struct {
	Estimated bool         // some of it is an estimate taken over from another system
	Others    []OtherActor // that the question leaves out
}

// UserActivity lists the users with any activity that are some actors, most minutes first, then by id.
func (s *Store) UserActivity(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window,
) (users []UserUsage, total ActivityTotal, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, total, err
	}
	channels, tally, err := s.countEntries(ctx, x, actors, w, func(*appChannels) minute.Detail { return minute.IntervalMinutes })
	if err != nil {
		return nil, total, err
	}
	users, tallies, err := s.usersOf(ctx, x, tally)
	if err != nil {
		return nil, total, err
	}
	for i, apps := range channels.userApps(tallies) {
		users[i].Median, users[i].Apps = median(tallies[i].IntervalMinutes), apps
	}
	users = sorted(users, func(a, b *UserUsage) int {
		return cmp.Or(cmp.Compare(b.Minutes, a.Minutes), bytes.Compare(a.UserID[:], b.UserID[:]))
	})
	return users, ActivityTotal{tally.Estimated, together(tally.Others)}, nil
}

// sorted returns a list in order. Its items are large: each is moved once.
func sorted[T any](list []T, compare func(a, b *T) int) []T {
	order := make([]*T, len(list))
	for i := range list {
		order[i] = &list[i]
	}
	slices.SortFunc(order, compare)
	ordered := make([]T, len(list))
	for i, item := range order {
		ordered[i] = *item
	}
	return ordered
}

// median sorts a list in place; of an even number it is halfway between the two in the middle, of none 0.
func median(list []int64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return float64(list[(len(list)-1)/2]+list[len(list)/2]) / 2
}

// LatencyTotal is what is known of the latency of all users of a question together.
type LatencyTotal struct {
	Latency

	Others []OtherActor // that the question leaves out, by their activity
}

// UserLatency lists the users with any activity that are some actors, the highest P95 first, then by id.
func (s *Store) UserLatency(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window,
) (users []UserLatency, total LatencyTotal, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, total, err
	}
	// Who was active and how quick connections were are two passes over different pages.
	var active []UserUsage
	var tallies []minute.UserTally
	of, err := s.population(ctx, actors)
	if err != nil {
		return nil, total, err
	}
	counter := minute.NewLatencyCounter(w, of)
	passes, ctx := errgroup.WithContext(ctx)
	passes.Go(func() error {
		tally, err := s.usage.Count(ctx, x, of, w, anyUsage, minute.Users)
		if err == nil {
			total.Others = together(tally.Others)
			active, tallies, err = s.usersOf(ctx, x, tally)
		}
		return err
	})
	passes.Go(func() error { return usage.EachDay(ctx, s.usage, x, w, usage.Latencies, counter.Add) })
	if err := passes.Wait(); err != nil {
		return nil, total, err
	}
	users = make([]UserLatency, len(active))
	people := make([]int64, len(active))
	for i, u := range active {
		people[i] = tallies[i].Person
		users[i] = UserLatency{u, latencyOf(counter, people[i])}
	}
	users = sorted(users, func(a, b *UserLatency) int {
		return cmp.Or(cmp.Compare(b.P95, a.P95), bytes.Compare(a.UserID[:], b.UserID[:]))
	})
	total.Latency = latencyOf(counter.Together(people), 0)
	return users, total, nil
}

func latencyOf(c *minute.LatencyCounter, person int64) Latency {
	return Latency{
		P50: c.Percentile(person, 0.5), P95: c.Percentile(person, 0.95), Samples: c.Samples(person),
		Rating: c.Rating(person, 50), RatingP95: c.Rating(person, 95),
	}
}

// usersOf are the users of a tally and, in the same order, what was counted of them. A person without a user is left out.
func (s *Store) usersOf(ctx context.Context, x usage.Index, tally minute.Tally) ([]UserUsage, []minute.UserTally, error) {
	people, err := s.people(ctx, tally.Users)
	if err != nil {
		return nil, nil, err
	}
	users, tallies := make([]UserUsage, 0, len(tally.Users)), make([]minute.UserTally, 0, len(tally.Users))
	for i, t := range tally.Users {
		person := people[i]
		if person.ID == uuid.Nil {
			continue
		}
		users = append(users, UserUsage{
			UserID: person.ID, Username: person.Username, Place: person.Place, AvatarURL: person.AvatarURL, Kind: person.Kind,
			Deleted: person.DeletedAt != 0, Templates: x.Of(t.Templates), Minutes: t.Minutes, Days: t.Intervals,
		})
		tallies = append(tallies, t)
	}
	return users, tallies, nil
}
