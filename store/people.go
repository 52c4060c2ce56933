package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/minute"
)

// personRow is the number of the person that a user is.
type personRow struct {
	Person int64
	UserID uuid.UUID
}

// TableName implements the naming of GORM.
func (personRow) TableName() string { return "people" }

// Visit is a user at a workspace. uuid.Nil is no workspace that is known.
type Visit struct{ User, Workspace uuid.UUID }

// Subjects returns the numbers under which the usage of visits is kept. A user seen for the first time becomes a person with a random
// number, and gets a seat at each workspace. It does not ask whether users and workspaces exist, but a user who was erased gets no number,
// and nobody gets one at a workspace that was erased with its owner.
func (s *Store) Subjects(ctx context.Context, visits []Visit) (map[Visit]int64, error) {
	subjects, err := s.KnownSubjects(ctx, visits)
	if err != nil {
		return nil, err
	}
	unknown := slices.DeleteFunc(slices.Clone(visits), func(v Visit) bool { return subjects[v] != 0 })
	if len(unknown) == 0 {
		return subjects, nil
	}
	var given map[Visit]int64
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		visits, err := s.unerased(tx, unknown)
		if err != nil {
			return err
		}
		people, err := s.makePeople(tx, visits)
		if err != nil {
			return err
		}
		if err := makeSeats(tx, visits, people); err != nil {
			return err
		}
		if given, err = readSeats(tx, visits, people); err != nil {
			return err
		}
		for _, v := range visits {
			if person, known := people[v.User]; known && given[v] == 0 {
				given[v] = minute.SubjectOf(person, 0) // all numbers of seats are taken
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d visits: %w", len(visits), err)
	}
	maps.Copy(subjects, given)
	return subjects, nil
}

// KnownSubjects returns the numbers of the visits that have one.
func (s *Store) KnownSubjects(ctx context.Context, visits []Visit) (subjects map[Visit]int64, err error) {
	lookups := s.db.Lookups.WithContext(ctx)
	people, err := s.knownPeople(lookups, usersOf(visits))
	if err == nil {
		subjects, err = readSeats(lookups, visits, people)
	}
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d visits: %w", len(visits), err)
	}
	return subjects, nil
}

// unerased are the visits at workspaces that were not erased. Until the transaction ends nobody is erased: whoever erases waits for all who
// read tombstones.
func (s *Store) unerased(tx *gorm.DB, visits []Visit) ([]Visit, error) {
	var workspaces []uuid.UUID
	for _, v := range visits {
		if v.Workspace != uuid.Nil {
			workspaces = append(workspaces, v.Workspace)
		}
	}
	erased, err := s.erased(tx, workspaces)
	return slices.DeleteFunc(slices.Clone(visits), func(v Visit) bool { return erased[v.Workspace] }), err
}

func usersOf(visits []Visit) []uuid.UUID {
	users := make(map[uuid.UUID]bool, len(visits))
	for _, v := range visits {
		users[v.User] = true
	}
	return slices.SortedFunc(maps.Keys(users), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
}

// makePeople returns the persons that the users of visits are, also those who become one only now.
func (s *Store) makePeople(tx *gorm.DB, visits []Visit) (map[uuid.UUID]int64, error) {
	users := usersOf(visits)
	ids, err := s.idsToKeep(tx, users)
	if err != nil {
		return nil, err
	}
	var fresh []personRow
	for _, user := range users {
		if id, may := ids[user]; may {
			fresh = append(fresh, personRow{1 + rand.Int64N(minute.MaxPerson), id})
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	slices.SortFunc(fresh, func(a, b personRow) int { return bytes.Compare(a.UserID[:], b.UserID[:]) })
	// No conflict target: a number that is taken already is not given twice either.
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(fresh, writeBatch).Error; err != nil {
		return nil, err
	}
	people, err := s.knownPeople(tx, users)
	for _, user := range users {
		if _, may := ids[user]; may && err == nil && people[user] == 0 {
			err = fmt.Errorf("person of user %s: the random number is taken: %w", user, ErrConflict)
		}
	}
	return people, err
}

// knownPeople are the persons that users are, of those who are one.
func (s *Store) knownPeople(tx *gorm.DB, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	kept, err := s.keptAs(tx, users)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(users))
	for i, user := range users {
		ids[i] = idIn(kept, user)
	}
	known := make(map[uuid.UUID]int64, len(users))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []personRow
		if err := tx.Raw(`SELECT person, user_id FROM people WHERE user_id IN ?`, batch).Scan(&found).Error; err != nil {
			return nil, err
		}
		for _, f := range found {
			known[f.UserID] = f.Person
		}
	}
	people := make(map[uuid.UUID]int64, len(known))
	for i, user := range users {
		if person, ok := known[ids[i]]; ok {
			people[user] = person
		}
	}
	return people, nil
}
