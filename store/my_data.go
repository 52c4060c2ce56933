package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

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
	Regions       []MyRegion // oldest first
}

// MyRegion is through which relay somebody reached a workspace from a time on.
type MyRegion struct {
	At        time.Time
	Workspace uuid.UUID
	Region    string
}

// MyUsage is the use of one app in one template on one UTC day, whether or not it counts behind the connection gate.
type MyUsage struct {
	Day      time.Time
	Template uuid.UUID // uuid.Nil: none
	App      string
	Minutes  int64       // distinct minutes
	At       []uuid.UUID // the workspaces that are known, ascending
}

// LoginApp is what sign-ins are called among apps.
const LoginApp = "login"

// MyLatency is how quick connections in one template were on one UTC day.
type MyLatency struct {
	Day      time.Time
	Template uuid.UUID
	At       []uuid.UUID // as of usage
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
	own, regions, err := s.ownUsage(db, user)
	if err != nil {
		return d, err
	}
	for _, r := range regions {
		d.Regions = append(d.Regions, MyRegion{time.Unix(int64(r.HalfHour)*1800, 0).UTC(), own.seats[r.Subject], r.Region})
	}
	if d.Usage, err = own.usage(ctx); err != nil {
		return d, err
	}
	if d.Latency, err = own.latency(ctx); err != nil {
		return d, err
	}
	return d, nil
}

// date is the day of a place as a time.
func date(at usage.Place) time.Time { return time.Unix(int64(at.Day)*86400, 0).UTC() }

// ownUsage reads what is stored of the usage of one user.
type ownUsage struct {
	store  *Store
	people []int64             // that the user is, first the one as whom all are counted
	seats  map[int64]uuid.UUID // workspaces by subject
}

// ownUsage finds the seats of a user, and their regions, oldest first.
func (s *Store) ownUsage(tx *gorm.DB, user uuid.UUID) (o ownUsage, regions []SeatRegion, err error) {
	o = ownUsage{store: s, seats: map[int64]uuid.UUID{}}
	err = tx.Model(&personRow{}).Where("user_id = ?", user).Order("counted_as IS NOT NULL, person").Pluck("person", &o.people).Error
	if err != nil {
		return o, nil, fmt.Errorf("read persons: %w", err)
	}
	for _, person := range o.people {
		first, last := minute.SubjectOf(person, 0), minute.SubjectOf(person, minute.MaxSeat)
		var seats []seatRow
		if err := tx.Where("subject BETWEEN ? AND ?", first, last).Find(&seats).Error; err != nil {
			return o, nil, fmt.Errorf("read seats: %w", err)
		}
		for _, seat := range seats {
			o.seats[seat.Subject] = seat.WorkspaceID
		}
		var own []SeatRegion
		if err := tx.Table("seat_regions").Where("subject BETWEEN ? AND ?", first, last).Find(&own).Error; err != nil {
			return o, nil, fmt.Errorf("read regions of seats: %w", err)
		}
		regions = append(regions, own...)
	}
	slices.SortFunc(regions, func(a, b SeatRegion) int {
		return cmp.Or(cmp.Compare(a.HalfHour, b.HalfHour), cmp.Compare(a.Subject, b.Subject))
	})
	return o, regions, nil
}

// workspaces are those of the rows of an app, or of all rows.
func (o ownUsage) workspaces(rows []minute.Row, of func(minute.Row) bool) (at []uuid.UUID) {
	for _, r := range rows {
		if workspace, known := o.seats[r.Subject]; known && of(r) && !slices.Contains(at, workspace) {
			at = append(at, workspace)
		}
	}
	slices.SortFunc(at, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return at
}

func (o ownUsage) usage(ctx context.Context) (used []MyUsage, err error) {
	rows, err := usage.RowsOf(ctx, o.store.usage, o.people, usage.Minutes)
	if err != nil {
		return nil, err
	}
	type part struct {
		app      string
		halfHour int32
	}
	appOf := func(r minute.Row) string {
		if r.Kind == minute.Login {
			return LoginApp
		}
		return r.App
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), usage.ComparePlaces) {
		masks := map[part]minute.Mask{}
		for _, r := range rows[at] {
			masks[part{appOf(r), r.HalfHour}] |= r.Minutes
		}
		minutes := map[string]int64{}
		for p, mask := range masks {
			minutes[p.app] += int64(mask.Count())
		}
		for _, app := range slices.Sorted(maps.Keys(minutes)) {
			used = append(used, MyUsage{
				date(at), at.Template, app, minutes[app], o.workspaces(rows[at], func(r minute.Row) bool { return appOf(r) == app }),
			})
		}
	}
	return used, nil
}

func (o ownUsage) latency(ctx context.Context) (latency []MyLatency, err error) {
	rows, err := usage.RowsOf(ctx, o.store.usage, o.people, usage.Latencies)
	if err != nil {
		return nil, err
	}
	of := minute.Population{Counted: minute.Everybody, CountedAs: map[int64]int64{}}
	for _, person := range o.people {
		of.CountedAs[person] = o.people[0]
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), usage.ComparePlaces) {
		counter := minute.NewLatencyCounter(minute.NewWindow(date(at), date(at).AddDate(0, 0, 1)), of)
		if err := counter.Add(at.Day, []minute.Source[*minute.LatencyTable]{{Table: minute.LatencyTableOf(at.Day, rows[at])}}); err != nil {
			return nil, fmt.Errorf("count latencies: %w", err)
		}
		workspaces := o.workspaces(rows[at], func(minute.Row) bool { return true })
		latency = append(latency, MyLatency{date(at), at.Template, workspaces, latencyOf(counter, o.people[0])})
	}
	return latency, nil
}
