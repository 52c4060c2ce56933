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
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// RecordStatusChanges keeps when users got which status, and makes the newest the user's own. A change that is known
// already is written over; one of a user who was erased is not kept.
func (s *Store) RecordStatusChanges(ctx context.Context, changes []UserStatusChange) error {
	if len(changes) > 0 {
		defer s.accessChanges.Add(1) // who is suspended may not call
	}
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		var users []uuid.UUID
		for _, c := range changes {
			users = append(users, c.UserID)
		}
		ids, err := s.idsToKeep(tx, users)
		if err != nil {
			return err
		}
		var kept []UserStatusChange
		for _, c := range slices.Backward(changes) { // of two of one moment the later counts
			if id, may := ids[c.UserID]; may {
				c.UserID = id
				kept = append(kept, c)
			}
		}
		slices.SortStableFunc(kept, compareStatusChanges)
		kept = slices.CompactFunc(kept, func(a, b UserStatusChange) bool { return compareStatusChanges(a, b) == 0 })
		if len(kept) == 0 {
			return nil
		}
		if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(kept, writeBatch).Error; err != nil {
			return err
		}
		for batch := range slices.Chunk(slices.Collect(maps.Values(ids)), readBatch) {
			err := tx.Exec(`UPDATE users SET status = (SELECT status FROM user_status_changes WHERE user_id = users.id
				ORDER BY at DESC LIMIT 1) WHERE id IN ?`, batch).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record %d status changes: %w", len(changes), err)
	}
	return nil
}

// compareStatusChanges is the order of the table's key.
func compareStatusChanges(a, b UserStatusChange) int {
	return cmp.Or(bytes.Compare(a.UserID[:], b.UserID[:]), a.At.Compare(b.At.Time))
}

// userStatus is a change of the status of a user who may be deleted.
type userStatus struct {
	UserID          uuid.UUID
	At              Instant
	Status          string
	OrganizationIDs []uuid.UUID `gorm:"serializer:json"`
	DeletedAt       Instant
	Kind            string
}

// StatusCounts counts the users that are some actors with each status as of several moments, ascending; a change at a moment counts.
// A status that none of them had before the end is absent. Users whose organizations includes does not want and users without any
// change do not count, deleted users count until they were deleted. The others would have counted at some of the moments.
func (s *Store) StatusCounts(
	ctx context.Context, actors minute.Actors, moments []time.Time, end time.Time, includes func(organizations []uuid.UUID) bool,
) (counts map[string][]int64, others []OtherActor, err error) {
	var changes []userStatus
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT user_status_changes.user_id, user_status_changes.at, user_status_changes.status,
			users.organization_ids, users.deleted_at, users.kind
		FROM user_status_changes JOIN users ON users.id = user_status_changes.user_id
		WHERE user_status_changes.at < ? ORDER BY user_status_changes.user_id, user_status_changes.at`,
		At(end)).Scan(&changes).Error
	if err != nil {
		return nil, nil, fmt.Errorf("read status changes: %w", err)
	}
	counts = map[string][]int64{}
	left := map[minute.Actor]map[uuid.UUID]bool{}
	for i, c := range changes {
		if !includes(c.OrganizationIDs) {
			continue
		}
		actor := ActorOf(c.Kind)
		counted := actors.Has(actor)
		if counted && counts[c.Status] == nil {
			counts[c.Status] = make([]int64, len(moments))
		}
		until := end
		if i+1 < len(changes) && changes[i+1].UserID == c.UserID {
			until = changes[i+1].At.Time
		}
		if !c.DeletedAt.IsZero() && c.DeletedAt.Before(until) {
			until = c.DeletedAt.Time
		}
		from, _ := slices.BinarySearchFunc(moments, c.At.Time, time.Time.Compare)
		for ; from < len(moments) && moments[from].Before(until); from++ {
			if counted {
				counts[c.Status][from]++
				continue
			}
			if left[actor] == nil {
				left[actor] = map[uuid.UUID]bool{}
			}
			left[actor][c.UserID] = true
		}
	}
	for _, actor := range actors.Others().List() {
		if n := len(left[actor]); n > 0 {
			others = append(others, OtherActor{Actor: actor, Actors: n})
		}
	}
	return counts, others, nil
}

// EligibleUsers are those that are some actors and could have used the templates of a scope before a moment: those in the organizations
// of the templates, or all with a scope of everything, who had been created, and were neither deleted by then nor are suspended.
func (s *Store) EligibleUsers(
	ctx context.Context, scope access.Scope, actors minute.Actors, end time.Time,
) (map[uuid.UUID]bool, error) {
	within, err := s.organizationsOfScope(ctx, scope)
	if err != nil {
		return nil, err
	}
	var people []User
	err = s.db.Reads.WithContext(ctx).Select("id", "organization_ids").
		Where(
			"kind IN ? AND status <> 'suspended' AND created_at < ? AND (deleted_at = 0 OR deleted_at >= ?)", kindsOf(actors), At(end),
			At(end),
		).Find(&people).Error
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	eligible := map[uuid.UUID]bool{}
	for _, p := range people {
		if scope.All() || slices.ContainsFunc(p.OrganizationIDs, func(id uuid.UUID) bool { return within[id] }) {
			eligible[p.ID] = true
		}
	}
	return eligible, nil
}
