package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/minute"
)

// UnstoredCatalog returns the items of a change that the catalog does not hold as they are: who imports the same again writes
// nothing. What is to be deleted is not looked at.
func (s *Store) UnstoredCatalog(ctx context.Context, c Catalog) (Catalog, error) {
	tx := s.lookups.WithContext(ctx)
	workspaces := slices.Clone(c.Workspaces)
	for i := range workspaces {
		workspaces[i].ChangedAt = Instant{} // when it was written does not matter
	}
	fresh := Catalog{Deleted: c.Deleted}
	err := errors.Join(
		into(&fresh.Organizations)(unstored(tx, "id", c.Organizations, func(x Organization) uuid.UUID { return x.ID })),
		into(&fresh.Templates)(unstored(tx, "id", c.Templates, func(x Template) uuid.UUID { return x.ID })),
		into(&fresh.Versions)(unstored(tx, "id", c.Versions, func(x TemplateVersion) uuid.UUID { return x.ID })),
		into(&fresh.Users)(unstored(tx, "id", c.Users, func(x User) uuid.UUID { return x.ID })),
		into(&fresh.Groups)(unstoredGroups(tx, c.Groups)),
		into(&fresh.Workspaces)(unstored(tx.Omit("changed_at"), "id", workspaces, func(x Workspace) uuid.UUID { return x.ID })),
		into(&fresh.Agents)(unstored(tx, "id", c.Agents, func(x Agent) uuid.UUID { return x.ID })),
		into(&fresh.Apps)(unstored(tx, "agent_id", c.Apps, func(x App) uuid.UUID { return x.AgentID })),
	)
	if err != nil {
		return Catalog{}, fmt.Errorf("compare with the catalog: %w", err)
	}
	return fresh, nil
}

// into keeps a list and passes its error on.
func into[T any](to *[]T) func([]T, error) error {
	return func(items []T, err error) error {
		*to = items
		return err
	}
}

// unstored returns the items of which no row is the same. A column holds what key returns.
func unstored[T any](tx *gorm.DB, column string, items []T, key func(T) uuid.UUID) ([]T, error) {
	var fresh []T
	for batch := range slices.Chunk(items, readBatch) {
		keys := make([]uuid.UUID, len(batch))
		for i, item := range batch {
			keys[i] = key(item)
		}
		var rows []T
		if err := tx.Session(&gorm.Session{}).Where(column+" IN ?", keys).Find(&rows).Error; err != nil {
			return nil, err
		}
		known := make(map[uuid.UUID][]T, len(rows))
		for _, r := range rows {
			known[key(r)] = append(known[key(r)], r)
		}
		for _, item := range batch {
			if !slices.ContainsFunc(known[key(item)], func(r T) bool { return reflect.DeepEqual(r, item) }) {
				fresh = append(fresh, item)
			}
		}
	}
	return fresh, nil
}

// unstoredGroups returns the groups that are not there with the same name and members, in whatever order.
func unstoredGroups(tx *gorm.DB, groups []Group) ([]Group, error) {
	var members []GroupMember
	bare := make([]Group, len(groups))
	for i, g := range groups {
		for _, user := range g.UserIDs {
			members = append(members, GroupMember{g.ID, user})
		}
		bare[i] = g
		bare[i].UserIDs = nil
	}
	changed, err := unstored(tx, "id", bare, func(g Group) uuid.UUID { return g.ID })
	if err != nil {
		return nil, err
	}
	added, err := unstored(tx, "group_id", members, func(m GroupMember) uuid.UUID { return m.GroupID })
	if err != nil {
		return nil, err
	}
	stale := map[uuid.UUID]bool{}
	for _, g := range changed {
		stale[g.ID] = true
	}
	for _, m := range added {
		stale[m.GroupID] = true
	}
	for batch := range slices.Chunk(groups, readBatch) {
		ids := make([]uuid.UUID, len(batch))
		for i, g := range batch {
			ids[i] = g.ID
		}
		var counts []struct {
			GroupID uuid.UUID
			Members int
		}
		if err := tx.Model(&GroupMember{}).Select("group_id, COUNT(*) AS members").Where("group_id IN ?", ids).Group("group_id").Scan(&counts).Error; err != nil {
			return nil, err
		}
		for _, c := range counts {
			i := slices.Index(ids, c.GroupID)
			stale[c.GroupID] = stale[c.GroupID] || c.Members != len(batch[i].UserIDs)
		}
	}
	return slices.DeleteFunc(slices.Clone(groups), func(g Group) bool { return !stale[g.ID] }), nil
}

// GroupsOf returns the ids of the groups of an organization.
func (s *Store) GroupsOf(ctx context.Context, organization uuid.UUID) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	if err := s.lookups.WithContext(ctx).Model(&Group{}).Where("organization_id = ?", organization).Pluck("id", &ids).Error; err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return ids, nil
}

// UnstoredBuilds returns the builds of which no event as new as theirs is kept.
func (s *Store) UnstoredBuilds(ctx context.Context, builds []Build) ([]Build, error) {
	newest := make(map[uuid.UUID]Instant, len(builds))
	for batch := range slices.Chunk(builds, readBatch) {
		ids := make([]uuid.UUID, len(batch))
		for i, b := range batch {
			ids[i] = b.ID
		}
		var rows []Build
		if err := s.lookups.WithContext(ctx).Select("id", "at").Where("id IN ?", ids).Find(&rows).Error; err != nil {
			return nil, fmt.Errorf("compare builds: %w", err)
		}
		for _, r := range rows {
			newest[r.ID] = r.At
		}
	}
	return slices.DeleteFunc(slices.Clone(builds), func(b Build) bool {
		at, known := newest[b.ID]
		return known && !at.Before(b.At.Time)
	}), nil
}

// UnstoredStatusChanges returns the changes that are not kept.
func (s *Store) UnstoredStatusChanges(ctx context.Context, changes []UserStatusChange) ([]UserStatusChange, error) {
	fresh, err := unstored(s.lookups.WithContext(ctx), "user_id", changes, func(c UserStatusChange) uuid.UUID { return c.UserID })
	if err != nil {
		return nil, fmt.Errorf("compare status changes: %w", err)
	}
	return fresh, nil
}

// UnstoredUsage returns the rows that add minutes, samples or an open gate to what is known, in whichever place it lies. An
// estimate adds nothing where its kind was measured, and only once.
func (s *Store) UnstoredUsage(ctx context.Context, rows []OpenRow) ([]OpenRow, error) {
	rows = distinct(rows)
	if len(rows) == 0 {
		return nil, nil
	}
	var x templateIndex
	for _, r := range rows {
		x.ids = append(x.ids, r.Template)
	}
	slices.SortFunc(x.ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	x.ids = slices.Compact(x.ids)
	x = x.number()
	const day = minute.HalfHoursPerDay * minute.MinutesPerHalfHour
	w := minute.Window{
		Start: int64(rows[0].HalfHour/minute.HalfHoursPerDay) * day, End: int64(rows[len(rows)-1].HalfHour/minute.HalfHoursPerDay+1) * day,
	}
	k := knownUsage{rows: rows, stored: make([]bool, len(rows)), index: x}
	err := eachDay(ctx, s, x, w, usageTables, func(day int32, sources []minute.Source[*minute.Table]) error {
		markStored(&k, day, sources)
		return nil
	})
	if err == nil {
		err = eachDay(ctx, s, x, w, latencyTables, func(day int32, sources []minute.Source[*minute.LatencyTable]) error {
			markStored(&k, day, sources)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("compare usage: %w", err)
	}
	fresh := rows[:0]
	for i, r := range rows {
		if !k.stored[i] {
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

// knownUsage marks the rows that are stored already.
type knownUsage struct {
	rows   []OpenRow
	stored []bool
	index  templateIndex
}

// markStored looks at the rows of a day.
func markStored[T table](k *knownUsage, day int32, sources []minute.Source[T]) {
	type place struct {
		template int
		subject  int64
		halfHour int32
		kind     minute.Kind
	}
	type key struct {
		place
		app string
	}
	known, measured := map[key]minute.Row{}, map[place]bool{}
	for _, source := range sources {
		for _, r := range source.Table.Rows() {
			at := place{source.Template, r.Subject, r.HalfHour, r.Kind}
			known[key{at, r.App}], measured[at] = r, true
		}
	}
	from, _ := slices.BinarySearchFunc(k.rows, day*minute.HalfHoursPerDay, func(r OpenRow, first int32) int { return int(r.HalfHour - first) })
	for i := from; i < len(k.rows) && k.rows[i].HalfHour < (day+1)*minute.HalfHoursPerDay; i++ {
		r := k.rows[i]
		at := place{k.index.numbers[r.Template], r.Subject, r.HalfHour, r.Kind}
		is, found := known[key{at, r.App}]
		if of, estimate := r.Kind.Measured(); estimate {
			at.kind = of
			k.stored[i] = k.stored[i] || found || measured[at]
			continue
		}
		k.stored[i] = k.stored[i] || found && r.Minutes&^is.Minutes == 0 && (is.Connected || !r.Connected)
	}
}
