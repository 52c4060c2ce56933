package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/minute"
)

// imported is how far the import of another system has come.
type imported struct {
	Source        string `gorm:"primaryKey"`
	ImportedUntil Instant
	UsageUntil    Instant
	RunningAt     Instant // when it said last that it runs; zero: it does not
	Follower      string  // the process that follows the system; empty: none does
	FollowedUntil Instant // until when it is, or was, that one, by the clock of the database; zero: none was
}

// TableName implements [gorm.io/gorm/schema.Tabler].
func (imported) TableName() string { return "imports" }

// ImportedUntil returns up to when the data of another system is here; zero: nothing is, or not all of its past.
func (s *Store) ImportedUntil(ctx context.Context, source string) (time.Time, error) {
	var found imported
	if err := s.db.Lookups.WithContext(ctx).Where("source = ?", source).Limit(1).Find(&found).Error; err != nil {
		return time.Time{}, fmt.Errorf("read how far %s is imported: %w", source, err)
	}
	return found.ImportedUntil.Time, nil
}

// SetImportedUntil notes up to when the data of another system is here: usage, and everything, which is no later.
func (s *Store) SetImportedUntil(ctx context.Context, source string, usage, all time.Time) error {
	row := imported{Source: source, ImportedUntil: At(all), UsageUntil: At(usage)}
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		return db.Clauses(updating("imported_until", "usage_until")).Create(&row).Error
	})
	if err != nil {
		return fmt.Errorf("note how far %s is imported: %w", source, err)
	}
	return nil
}

// updating makes a row that is there take over some columns.
func updating(columns ...string) clause.OnConflict {
	return clause.OnConflict{Columns: []clause.Column{{Name: "source"}}, DoUpdates: clause.AssignmentColumns(columns)}
}

// Follow makes a process the one that follows another system, for some time from now on, by the clock of the database; it repeats that
// while it follows. Another one that does keeps it from that.
func (s *Store) Follow(ctx context.Context, source, follower string, term time.Duration) (follows bool, err error) {
	err = s.db.InQuietTransaction(ctx, func(tx *gorm.DB) error {
		now, err := s.db.Now(tx, s.clock)
		if err != nil {
			return err
		}
		row := imported{Source: source, Follower: follower, FollowedUntil: At(now.Add(term))}
		free := updating("follower", "followed_until")
		free.Where = clause.Where{Exprs: []clause.Expression{
			gorm.Expr("imports.follower = ? OR imports.followed_until <= ?", follower, At(now)),
		}}
		made := tx.Clauses(free).Create(&row)
		follows = made.RowsAffected > 0
		return made.Error
	})
	if err != nil {
		return false, fmt.Errorf("note that %s is followed: %w", source, err)
	}
	return follows, nil
}

// EndFollowing notes that a process follows no longer, so that another one may at once. If the process was told to end, the system does not
// count as followed any more, and days wait for a day only until another process follows it.
func (s *Store) EndFollowing(ctx context.Context, source, follower string, told bool) error {
	err := s.db.InQuietTransaction(ctx, func(tx *gorm.DB) error {
		until, err := s.db.Now(tx, s.clock)
		if err != nil {
			return err
		}
		if told {
			until = until.Add(importPatience - followPatience)
		}
		return tx.Exec(
			`UPDATE imports SET follower = '', followed_until = ? WHERE source = ? AND follower = ?`, At(until), source, follower,
		).Error
	})
	if err != nil {
		return fmt.Errorf("note that %s is no longer followed: %w", source, err)
	}
	return nil
}

// Followed is another system that is followed, or was a day ago.
type Followed struct {
	Source            string
	UsageUntil, Until time.Time // up to when usage is here, and everything; zero: its past is being imported
}

// forgetFollowed is how long a system counts as followed that nobody follows: until then it may be a fault.
const forgetFollowed = 24 * time.Hour

// Followed returns the systems that are followed.
func (s *Store) Followed(ctx context.Context) ([]Followed, error) {
	lookups := s.db.Lookups.WithContext(ctx)
	now, err := s.db.Now(lookups, s.clock)
	var rows []imported
	if err == nil {
		err = lookups.Where("followed_until > ?", At(now.Add(-forgetFollowed))).Order("source").Find(&rows).Error
	}
	if err != nil {
		return nil, fmt.Errorf("look which systems are followed: %w", err)
	}
	followed := make([]Followed, len(rows))
	for i, r := range rows {
		followed[i] = Followed{Source: r.Source}
		if r.RunningAt.IsZero() || r.FollowedUntil.Before(now) { // an import that ended in the middle is late like others
			followed[i].UsageUntil, followed[i].Until = r.UsageUntil.Time, r.ImportedUntil.Time
		}
	}
	return followed, nil
}

// BeginImport notes that an import of another system runs: until EndImport, or for a day in which ContinueImport is not called, nothing is
// published. One that runs already is not prolonged: an import that fails again and again does not keep days from being published.
func (s *Store) BeginImport(ctx context.Context, source string) error {
	row := imported{Source: source, RunningAt: At(s.clock())}
	begin := updating("running_at")
	begin.Where = clause.Where{Exprs: []clause.Expression{gorm.Expr("imports.running_at = 0")}}
	err := s.db.Write(ctx, func(db *gorm.DB) error { return db.Clauses(begin).Create(&row).Error })
	if err != nil {
		return fmt.Errorf("note that %s is being imported: %w", source, err)
	}
	return nil
}

// ContinueImport notes that an import goes on, if one runs.
func (s *Store) ContinueImport(ctx context.Context, source string) error {
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		return db.Exec(`UPDATE imports SET running_at = ? WHERE source = ? AND running_at <> 0`, At(s.clock()), source).Error
	})
	if err != nil {
		return fmt.Errorf("note that the import of %s goes on: %w", source, err)
	}
	return nil
}

// EndImport notes that an import ended, so that the days that it brought are published, each once.
func (s *Store) EndImport(ctx context.Context, source string, from, until time.Time) error {
	var days []map[string]any
	for day := minute.DateOf(from.UTC()) - 1; day <= minute.DateOf(until.UTC())+1; day++ { // those of any zone
		days = append(days, map[string]any{"day": day, "published": false})
	}
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec(`UPDATE imports SET running_at = 0 WHERE source = ?`, source).Error; err != nil {
			return err
		}
		again := clause.OnConflict{
			Columns: []clause.Column{{Name: "day"}}, DoUpdates: clause.AssignmentColumns([]string{"published"}),
		}
		return tx.Table("publications").Clauses(again).CreateInBatches(days, writeBatch).Error
	})
	if err != nil {
		return fmt.Errorf("note that %s is imported: %w", source, err)
	}
	return nil
}

// firstImport is the action by which the audit trail knows when the first import of another system began.
const firstImport = "first import"

// BeginFirstImport notes that the first import of another system begins.
func (s *Store) BeginFirstImport(ctx context.Context, source string) error {
	return s.RecordAudit(ctx, KindCommandLine, uuid.Nil, firstImport, "source="+source)
}

// FirstImportSince returns when the newest first import of another system began that did so since a moment; zero: none did.
func (s *Store) FirstImportSince(ctx context.Context, since time.Time) (time.Time, error) {
	begun, err := s.AuditEvents(ctx, AuditFilter{Start: since, PrincipalKind: KindCommandLine, Actions: []string{firstImport}, Limit: 1})
	if err != nil || len(begun) == 0 {
		return time.Time{}, err
	}
	return begun[0].At.Time, nil
}

// UnstoredCatalog returns the items of a change that differ from the catalog, so that an importer that sends the same change again
// writes nothing. It compares the catalog with an item as the privacy modes let the store keep the item. The answer has no items of
// erased users, and has the deletions of the change as they are.
func (s *Store) UnstoredCatalog(ctx context.Context, c Catalog) (Catalog, error) {
	tx := s.db.Lookups.WithContext(ctx)
	c, err := s.withoutThoseErased(tx, c)
	if err != nil {
		return Catalog{}, fmt.Errorf("compare with the catalog: %w", err)
	}
	kept, err := s.asKept(tx, c)
	if err != nil {
		return Catalog{}, fmt.Errorf("compare with the catalog: %w", err)
	}
	fresh := Catalog{Deleted: c.Deleted}
	err = errors.Join(
		pick(&fresh.Organizations, c.Organizations)(unstored(tx, "id", kept.Organizations, func(x Organization) uuid.UUID { return x.ID })),
		pick(&fresh.Templates, c.Templates)(unstored(tx, "id", kept.Templates, func(x Template) uuid.UUID { return x.ID })),
		pick(&fresh.Versions, c.Versions)(unstored(tx, "id", kept.Versions, func(x TemplateVersion) uuid.UUID { return x.ID })),
		pick(&fresh.Users, c.Users)(unstored(tx, "id", kept.Users, func(x User) uuid.UUID { return x.ID })),
		pick(&fresh.Groups, c.Groups)(unstoredGroups(tx, kept.Groups, At(s.clock()))),
		pick(&fresh.Workspaces, c.Workspaces)(
			unstored(tx.Omit("changed_at"), "id", kept.Workspaces, func(x Workspace) uuid.UUID { return x.ID }),
		),
		pick(&fresh.Agents, c.Agents)(unstored(tx, "id", kept.Agents, func(x Agent) uuid.UUID { return x.ID })),
		pick(&fresh.Apps, c.Apps)(unstored(tx, "agent_id", kept.Apps, func(x App) uuid.UUID { return x.AgentID })),
	)
	if err != nil {
		return Catalog{}, fmt.Errorf("compare with the catalog: %w", err)
	}
	return fresh, nil
}

// withoutThoseErased removes erased users, and their workspaces, agents and apps, from a change.
func (s *Store) withoutThoseErased(tx *gorm.DB, c Catalog) (Catalog, error) {
	ids := members(c.Groups)
	for _, u := range c.Users {
		ids = append(ids, u.ID)
	}
	for _, w := range c.Workspaces {
		ids = append(ids, w.ID, w.OwnerID)
	}
	for _, a := range c.Agents {
		ids = append(ids, a.ID, a.WorkspaceID)
	}
	for _, a := range c.Apps {
		ids = append(ids, a.AgentID)
	}
	erased, err := s.erased(tx, ids)
	if err != nil || len(erased) == 0 {
		return c, err
	}
	c.Users = slices.DeleteFunc(slices.Clone(c.Users), func(u User) bool { return erased[u.ID] })
	c.Groups = slices.Clone(c.Groups)
	for i, g := range c.Groups {
		c.Groups[i] = g.without(erased)
	}
	c.Workspaces = slices.DeleteFunc(slices.Clone(c.Workspaces), func(w Workspace) bool { return erased[w.ID] || erased[w.OwnerID] })
	c.Agents = slices.DeleteFunc(slices.Clone(c.Agents), func(a Agent) bool { return erased[a.ID] || erased[a.WorkspaceID] })
	c.Apps = slices.DeleteFunc(slices.Clone(c.Apps), func(a App) bool { return erased[a.AgentID] })
	return c, nil
}

// asKept returns the items of a change with the ids and names under which the privacy modes let the catalog keep them.
func (s *Store) asKept(tx *gorm.DB, c Catalog) (Catalog, error) {
	kept, e, err := s.enter(tx, c)
	if err != nil {
		return Catalog{}, err
	}
	templates := make([]uuid.UUID, len(kept.Workspaces))
	for i, w := range kept.Workspaces {
		templates[i] = w.TemplateID
	}
	organizations, err := parents(tx, "templates", "organization_id", templates)
	if err != nil {
		return Catalog{}, err
	}
	kept.Workspaces = slices.Clone(kept.Workspaces)
	for i := range kept.Workspaces {
		w := &kept.Workspaces[i]
		e.nameWorkspace(w, organizations[w.TemplateID])
		w.ChangedAt = Instant{} // two equal workspaces are equal whenever they were written
	}
	return kept, nil
}

// pick returns a function that appends the items at some positions to a list and returns the error that it gets.
func pick[T any](to *[]T, items []T) func(positions []int, err error) error {
	return func(positions []int, err error) error {
		for _, i := range positions {
			*to = append(*to, items[i])
		}
		return err
	}
}

// unstored returns the positions of the items that equal no row of their table. The column is the one that holds what key returns.
func unstored[T any](tx *gorm.DB, column string, items []T, key func(T) uuid.UUID) ([]int, error) {
	var fresh []int
	for first := 0; first < len(items); first += readBatch {
		batch := items[first:min(first+readBatch, len(items))]
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
		for i, item := range batch {
			if !slices.ContainsFunc(known[key(item)], func(r T) bool { return reflect.DeepEqual(r, item) }) {
				fresh = append(fresh, first+i)
			}
		}
	}
	return fresh, nil
}

// unstoredGroups returns the positions of the groups that the catalog does not have as they are, or with other members.
func unstoredGroups(tx *gorm.DB, groups []Group, now Instant) ([]int, error) {
	bare, ids := make([]Group, len(groups)), make([]uuid.UUID, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
		g.UserIDs, g.Members = nil, nil
		bare[i] = g
	}
	changed, err := unstored(tx, "id", bare, func(g Group) uuid.UUID { return g.ID })
	if err != nil {
		return nil, err
	}
	before, err := memberships(tx, ids)
	if err != nil {
		return nil, err
	}
	for i, g := range groups {
		if !before[g.ID].change(g, now).equal(before[g.ID]) {
			changed = append(changed, i)
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed), nil
}

// UnstoredBuilds returns the builds whose event is newer than the event that the store has of the same build, if it has any.
func (s *Store) UnstoredBuilds(ctx context.Context, builds []Build) ([]Build, error) {
	newest := make(map[uuid.UUID]Instant, len(builds))
	for batch := range slices.Chunk(builds, readBatch) {
		ids := make([]uuid.UUID, len(batch))
		for i, b := range batch {
			ids[i] = b.ID
		}
		var rows []Build
		if err := s.db.Lookups.WithContext(ctx).Select("id", "at").Where("id IN ?", ids).Find(&rows).Error; err != nil {
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

// UnstoredStatusChanges returns the changes that the store does not have, without the changes of erased users.
func (s *Store) UnstoredStatusChanges(ctx context.Context, changes []UserStatusChange) ([]UserStatusChange, error) {
	tx := s.db.Lookups.WithContext(ctx)
	users := make([]uuid.UUID, len(changes))
	for i, c := range changes {
		users[i] = c.UserID
	}
	erased, err := s.erased(tx, users)
	if err != nil {
		return nil, fmt.Errorf("compare status changes: %w", err)
	}
	ids, err := s.keptAs(tx, users)
	if err != nil {
		return nil, fmt.Errorf("compare status changes: %w", err)
	}
	changes = slices.DeleteFunc(slices.Clone(changes), func(c UserStatusChange) bool { return erased[c.UserID] })
	kept := slices.Clone(changes)
	for i, c := range changes {
		kept[i].UserID = idIn(ids, c.UserID)
	}
	var fresh []UserStatusChange
	err = pick(&fresh, changes)(unstored(tx, "user_id", kept, func(c UserStatusChange) uuid.UUID { return c.UserID }))
	if err != nil {
		return nil, fmt.Errorf("compare status changes: %w", err)
	}
	return fresh, nil
}
