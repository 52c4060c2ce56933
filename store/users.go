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

// CatalogUser returns what the catalog holds of a user, under the name that is shown. One that it does not hold is ErrUnknown.
func (s *Store) CatalogUser(ctx context.Context, id uuid.UUID) (user User, err error) {
	tx := s.db.Lookups.WithContext(ctx).Where("id = ?", id).Limit(1).Find(&user)
	switch {
	case tx.Error != nil:
		return user, fmt.Errorf("read user %s: %w", id, tx.Error)
	case tx.RowsAffected == 0:
		return user, fmt.Errorf("user %s %w", id, ErrUnknown)
	}
	return user, nil
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

// publishedStatus is how many users that are an actor, in the same organizations, had a status when a day ended. None of these numbers is
// told by itself: answers are their sums, rounded down.
type publishedStatus struct {
	Status        string       `json:"status"`
	Actor         minute.Actor `json:"actor"`
	Organizations []uuid.UUID  `json:"organizations,omitempty"` // ascending
	Users         int64        `json:"users"`
}

// statusesAt counts users by status as of a moment, as StatusCounts does.
func (s *Store) statusesAt(ctx context.Context, at time.Time) (statuses []publishedStatus, err error) {
	var users []userStatus
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT newest.user_id, newest.status, users.organization_ids, users.kind
		FROM user_status_changes AS newest JOIN users ON users.id = newest.user_id
		WHERE newest.at <= ? AND (users.deleted_at = 0 OR users.deleted_at > ?) AND NOT EXISTS (
			SELECT 1 FROM user_status_changes AS later WHERE later.user_id = newest.user_id AND later.at > newest.at AND later.at <= ?)`,
		At(at), At(at), At(at)).Scan(&users).Error
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	alike := map[string]int{}
	for _, u := range users {
		slices.SortFunc(u.OrganizationIDs, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
		key := fmt.Sprint(u.Status, ActorOf(u.Kind), u.OrganizationIDs)
		i, known := alike[key]
		if !known {
			i = len(statuses)
			alike[key] = i
			statuses = append(statuses, publishedStatus{Status: u.Status, Actor: ActorOf(u.Kind), Organizations: u.OrganizationIDs})
		}
		statuses[i].Users++
	}
	return statuses, nil
}

// PublishedStatusCounts is StatusCounts of people, for midnights of the floor's zone, as it stood when the day was published that ends with
// each. Numbers are rounded down to a multiple of the floor, of the others the greatest of any midnight.
func (s *Store) PublishedStatusCounts(
	ctx context.Context, floor Floor, midnights []time.Time, includes func(organizations []uuid.UUID) bool,
) (counts map[string][]int64, others []OtherActor, err error) {
	of := map[int32]int{} // midnights by the day that ends with them
	for i, at := range midnights {
		of[minute.DateOf(at.In(floor.Zone))-1] = i
	}
	counts = map[string][]int64{}
	most := map[minute.Actor]int64{}
	err = s.eachPublishedRow(ctx, "template_id = ?", []any{uuid.Nil}, slices.Sorted(maps.Keys(of)),
		func(row publishedDay, atoms publishedAtoms) error {
			multiple, left := int64(max(floor.People, row.Floor)), map[minute.Actor]int64{}
			for _, p := range atoms.Statuses {
				switch {
				case !includes(p.Organizations):
				case p.Actor != minute.Person:
					left[p.Actor] += p.Users
				default:
					if counts[p.Status] == nil {
						counts[p.Status] = make([]int64, len(midnights))
					}
					counts[p.Status][of[row.Day]] += p.Users
				}
			}
			for _, count := range counts {
				count[of[row.Day]] -= count[of[row.Day]] % multiple
			}
			for actor, n := range left {
				most[actor] = max(most[actor], n-n%multiple)
			}
			return nil
		})
	for _, actor := range minute.People.Others().List() {
		if n := most[actor]; n > 0 {
			others = append(others, OtherActor{Actor: actor, Actors: int(n)})
		}
	}
	return counts, others, err
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

// UserCounts counts the users that are not deleted, and are no accounts of the control plane, by kind and status.
type UserCounts struct {
	Kind, Status string
	Users        int64
}

// UserCounts counts users.
func (s *Store) UserCounts(ctx context.Context) ([]UserCounts, error) {
	var counts []UserCounts
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT kind, status, COUNT(*) AS users FROM users WHERE deleted_at = 0 AND kind <> 'system'
		GROUP BY kind, status`).Scan(&counts).Error
	if err != nil {
		return nil, fmt.Errorf("count users: %w", err)
	}
	return counts, nil
}
