package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// MyData is what is stored about one user, besides the audit trail.
type MyData struct {
	User          User
	Usage         []MyUsage   // oldest first
	Latency       []MyLatency // oldest first
	StatusChanges []UserStatusChange
	Workspaces    []Workspace
	Builds        []Build
	Tokens        []Token // newest first, without hashes
	Groups        []Group // of which the user is or was a member, with no other one
	RoleBindings  []RoleBinding
}

// MyUsage is the use of one app in one template on one UTC day, whether or not it counts behind the connection gate.
type MyUsage struct {
	Day      time.Time
	Template uuid.UUID // uuid.Nil: none
	App      string
	Minutes  int64 // distinct minutes
}

// LoginApp is what sign-ins are called among apps.
const LoginApp = "login"

// MyLatency is how quick connections in one template were on one UTC day.
type MyLatency struct {
	Day      time.Time
	Template uuid.UUID
	Latency
}

// MyData returns what is stored about a user. It fails with ErrUnknown for one who is not in the catalog.
func (s *Store) MyData(ctx context.Context, user uuid.UUID) (d MyData, err error) {
	db := s.db.Reads.WithContext(ctx)
	var users []User
	if err := db.Where("id = ?", user).Find(&users).Error; err != nil {
		return d, fmt.Errorf("read user: %w", err)
	}
	if len(users) == 0 {
		return d, fmt.Errorf("user %s %w", user, ErrUnknown)
	}
	d.User = users[0]
	for _, read := range []struct {
		into  any
		order string
		where string
		args  []any
	}{
		{&d.StatusChanges, "at", "user_id = ?", []any{user}},
		{&d.Workspaces, "created_at, id", "owner_id = ?", []any{user}},
		{&d.Builds, "created_at, id", "workspace_id IN (SELECT id FROM workspaces WHERE owner_id = ?)", []any{user}},
		{&d.Tokens, "created_at DESC, id", "principal_kind = ? AND principal_id = ?", []any{access.KindUser, user}},
		{&d.Groups, "name, id", "id IN (SELECT group_id FROM group_members WHERE user_id = ?)", []any{user}},
		{&d.RoleBindings, "created_at, id", "principal_kind = ? AND principal_id = ?", []any{access.KindUser, user}},
	} {
		if err := db.Where(read.where, read.args...).Order(read.order).Find(read.into).Error; err != nil {
			return d, fmt.Errorf("read what is stored of a user: %w", err)
		}
	}
	for i := range d.Tokens {
		d.Tokens[i].Hash = nil
	}
	ids := make([]uuid.UUID, len(d.Groups))
	for i, g := range d.Groups {
		ids[i] = g.ID
	}
	all, err := memberships(db.Where("user_id = ?", user), ids)
	if err != nil {
		return d, err
	}
	for i, g := range d.Groups {
		d.Groups[i].Members = all[g.ID].rows(g.ID)
	}
	var subjects []subjectRow
	if err := db.Where("user_id = ?", user).Find(&subjects).Error; err != nil {
		return d, fmt.Errorf("read subject: %w", err)
	}
	for _, row := range subjects {
		if d.Usage, err = s.usageOf(ctx, row.Subject); err != nil {
			return d, err
		}
		if d.Latency, err = s.latencyOf(ctx, row.Subject); err != nil {
			return d, err
		}
	}
	return d, nil
}

// date is the day of a place as a time.
func date(at usage.Place) time.Time { return time.Unix(int64(at.Day)*86400, 0).UTC() }

func (s *Store) usageOf(ctx context.Context, subject int64) (used []MyUsage, err error) {
	rows, err := usage.RowsOf(ctx, s.usage, subject, usage.Minutes)
	if err != nil {
		return nil, err
	}
	type part struct {
		app      string
		halfHour int32
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), usage.ComparePlaces) {
		masks := map[part]minute.Mask{}
		for _, r := range rows[at] {
			if r.Kind == minute.Login {
				r.App = LoginApp
			}
			masks[part{r.App, r.HalfHour}] |= r.Minutes
		}
		minutes := map[string]int64{}
		for p, mask := range masks {
			minutes[p.app] += int64(mask.Count())
		}
		for _, app := range slices.Sorted(maps.Keys(minutes)) {
			used = append(used, MyUsage{date(at), at.Template, app, minutes[app]})
		}
	}
	return used, nil
}

func (s *Store) latencyOf(ctx context.Context, subject int64) (latency []MyLatency, err error) {
	rows, err := usage.RowsOf(ctx, s.usage, subject, usage.Latencies)
	if err != nil {
		return nil, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), usage.ComparePlaces) {
		counter := minute.NewLatencyCounter(minute.NewWindow(date(at), date(at).AddDate(0, 0, 1)))
		if err := counter.Add(at.Day, []minute.Source[*minute.LatencyTable]{{Table: minute.LatencyTableOf(at.Day, rows[at])}}); err != nil {
			return nil, fmt.Errorf("count latencies: %w", err)
		}
		latency = append(latency, MyLatency{date(at), at.Template, latencyOf(counter, subject)})
	}
	return latency, nil
}
