package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// UserUsage is what one user did in a window.
type UserUsage struct {
	UserID    uuid.UUID
	Username  string
	AvatarURL string
	Templates []uuid.UUID // that the user was active in, ascending
	Minutes   int64       // distinct minutes with any activity
}

// UserLatency is how quick the connections of one user were in a window.
type UserLatency struct {
	UserUsage
	P50, P95 float64 // milliseconds; -1 without samples
}

// UserActivity lists the users with any activity, most minutes first, then by name.
func (s *Store) UserActivity(ctx context.Context, scope access.Scope, w minute.Window) ([]UserUsage, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	users, _, err := s.activeUsers(ctx, x, w)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(users, func(a, b UserUsage) int {
		return cmp.Or(cmp.Compare(b.Minutes, a.Minutes), cmp.Compare(a.Username, b.Username), slices.Compare(a.UserID[:], b.UserID[:]))
	})
	return users, nil
}

// UserLatency lists the users with any activity, the highest P95 first, then by name.
func (s *Store) UserLatency(ctx context.Context, scope access.Scope, w minute.Window) ([]UserLatency, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	// Who was active and how quick connections were are two passes over different pages.
	var active []UserUsage
	var subjects []int64
	counter := minute.NewLatencyCounter(w)
	passes, ctx := errgroup.WithContext(ctx)
	passes.Go(func() (err error) {
		active, subjects, err = s.activeUsers(ctx, x, w)
		return err
	})
	passes.Go(func() error { return s.countLatency(ctx, x, w, counter) })
	if err := passes.Wait(); err != nil {
		return nil, err
	}
	users := make([]UserLatency, len(active))
	for i, u := range active {
		users[i] = UserLatency{u, counter.Percentile(subjects[i], 0.5), counter.Percentile(subjects[i], 0.95)}
	}
	slices.SortFunc(users, func(a, b UserLatency) int {
		return cmp.Or(cmp.Compare(b.P95, a.P95), cmp.Compare(a.Username, b.Username), slices.Compare(a.UserID[:], b.UserID[:]))
	})
	return users, nil
}

// countLatency runs one counting pass over the latencies of a window.
func (s *Store) countLatency(ctx context.Context, x templateIndex, w minute.Window, counter *minute.LatencyCounter) error {
	return s.eachDay(ctx, x, w, latencyColumn, func(day int32, templates []usageDay) error {
		sources := make([]minute.LatencySource, len(templates))
		for i, u := range templates {
			table, err := u.latencyTable(x, day)
			if err != nil {
				return err
			}
			sources[i] = minute.LatencySource{Template: u.template, Table: table}
		}
		return counter.Add(day, sources)
	})
}

// activeUsers are the users with any activity and, in the same order, their subjects. A subject without a person is
// left out.
func (s *Store) activeUsers(ctx context.Context, x templateIndex, w minute.Window) ([]UserUsage, []int64, error) {
	tally, err := s.count(ctx, x, w, 0, func(int, minute.Kind, string) int { return -1 })
	if err != nil {
		return nil, nil, err
	}
	people, err := s.people(ctx, tally.Users)
	if err != nil {
		return nil, nil, err
	}
	users, subjects := make([]UserUsage, 0, len(tally.Users)), make([]int64, 0, len(tally.Users))
	for _, t := range tally.Users {
		person, ok := people[t.Subject]
		if !ok {
			continue
		}
		users = append(users, UserUsage{person.ID, person.Username, person.AvatarURL, x.of(t.Templates), t.Minutes})
		subjects = append(subjects, t.Subject)
	}
	return users, subjects, nil
}

// person is who a subject is.
type person struct {
	Subject   int64
	ID        uuid.UUID
	Username  string
	AvatarURL string
}

func (s *Store) people(ctx context.Context, users []minute.UserTally) (map[int64]person, error) {
	people := make(map[int64]person, len(users))
	for batch := range slices.Chunk(users, readBatch) {
		subjects := make([]int64, len(batch))
		for i, u := range batch {
			subjects[i] = u.Subject
		}
		rows, err := s.reads.WithContext(ctx).Raw(`SELECT subjects.subject, users.id, users.username, users.avatar_url
			FROM subjects JOIN users ON users.id = subjects.user_id WHERE subjects.subject IN ?`, subjects).Rows()
		if err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
		for rows.Next() {
			var p person
			if err = rows.Scan(&p.Subject, &p.ID, &p.Username, &p.AvatarURL); err != nil {
				break
			}
			people[p.Subject] = p
		}
		if err := cmp.Or(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
	}
	return people, nil
}
