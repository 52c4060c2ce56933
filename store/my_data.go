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

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
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
	Groups        []Group // with no other member
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
	db := s.reads.WithContext(ctx)
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
	for i := range d.Groups {
		d.Groups[i].UserIDs = []uuid.UUID{user}
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

// templateDay is a part of what a subject did.
type templateDay struct {
	template uuid.UUID
	day      int32
}

func compareTemplateDays(a, b templateDay) int {
	return cmp.Or(cmp.Compare(a.day, b.day), bytes.Compare(a.template[:], b.template[:]))
}

// date is the day as a time.
func (d templateDay) date() time.Time { return time.Unix(int64(d.day)*86400, 0).UTC() }

// rowsOf reads all rows of one subject that one part of pages holds, ever. It goes past the memory of pages, in which there is
// room for the questions of all.
func rowsOf[T interface {
	RowsOf(subject int64) []minute.Row
}](
	ctx context.Context, s *Store, subject int64, column pageColumn, chosen string, read func(day int32, page []byte) (T, error),
) (map[templateDay][]minute.Row, error) {
	var open []OpenRow
	query := s.reads.WithContext(ctx).Raw(`SELECT `+openColumns+` FROM usage_open WHERE subject = ? AND `+chosen, subject)
	err := s.dialect.read(query, func(r records) error {
		return r.eachOpen(func(row OpenRow) error {
			open = append(open, row)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read usage rows: %w", err)
	}
	rows := map[templateDay][]minute.Row{}
	err = s.dialect.read(s.reads.WithContext(ctx).Raw(`SELECT template_id, day, `+string(column)+` FROM usage_day`), func(r records) error {
		var at templateDay
		var page []byte
		return r.each(func() error {
			t, err := read(at.day, slices.Clone(page))
			if err != nil {
				return fmt.Errorf("%s page of template %s, day %d: %w", column, at.template, at.day, err)
			}
			if own := t.RowsOf(subject); len(own) > 0 {
				rows[at] = own
			}
			return nil
		}, r.id(&at.template), &at.day, r.bytes(&page))
	})
	if err != nil {
		return nil, fmt.Errorf("read usage pages: %w", err)
	}
	for _, r := range open {
		at := templateDay{r.Template, r.HalfHour / minute.HalfHoursPerDay}
		rows[at] = minute.Union(rows[at], []minute.Row{r.Row})
	}
	return rows, nil
}

func (s *Store) usageOf(ctx context.Context, subject int64) (usage []MyUsage, err error) {
	rows, err := rowsOf(ctx, s, subject, usageColumn, usageTables.open, minute.ReadUsage)
	if err != nil {
		return nil, err
	}
	type part struct {
		app      string
		halfHour int32
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), compareTemplateDays) {
		used := map[part]minute.Mask{}
		for _, r := range rows[at] {
			if r.Kind == minute.Login {
				r.App = LoginApp
			}
			used[part{r.App, r.HalfHour}] |= r.Minutes
		}
		minutes := map[string]int64{}
		for p, mask := range used {
			minutes[p.app] += int64(mask.Count())
		}
		for _, app := range slices.Sorted(maps.Keys(minutes)) {
			usage = append(usage, MyUsage{at.date(), at.template, app, minutes[app]})
		}
	}
	return usage, nil
}

func (s *Store) latencyOf(ctx context.Context, subject int64) (latency []MyLatency, err error) {
	rows, err := rowsOf(ctx, s, subject, latencyColumn, latencyTables.open, minute.ReadLatency)
	if err != nil {
		return nil, err
	}
	for _, at := range slices.SortedFunc(maps.Keys(rows), compareTemplateDays) {
		counter := minute.NewLatencyCounter(minute.NewWindow(at.date(), at.date().AddDate(0, 0, 1)))
		if err := counter.Add(at.day, []minute.Source[*minute.LatencyTable]{{Table: minute.LatencyTableOf(at.day, rows[at])}}); err != nil {
			return nil, fmt.Errorf("count latencies: %w", err)
		}
		latency = append(latency, MyLatency{at.date(), at.template, latencyOf(counter, subject)})
	}
	return latency, nil
}
