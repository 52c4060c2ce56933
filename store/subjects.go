package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// subjectRow is the number of a user.
type subjectRow struct {
	UserID  uuid.UUID
	Subject int64
}

// TableName implements the naming of GORM.
func (subjectRow) TableName() string { return "subjects" }

// Subjects returns the numbers under which the usage of users is kept; a user seen for the first time gets a random
// one, from 1 on. It does not ask whether the users exist, but one who was erased gets none.
func (s *Store) Subjects(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	subjects, err := s.KnownSubjects(ctx, users)
	if err != nil {
		return nil, err
	}
	unknown := slices.DeleteFunc(slices.Clone(users), func(id uuid.UUID) bool { return subjects[id] != 0 })
	if len(unknown) == 0 {
		return subjects, nil
	}
	var given map[uuid.UUID]int64
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		ids, err := s.idsToKeep(tx, unknown)
		if err != nil {
			return err
		}
		var fresh []subjectRow
		for _, user := range unknown {
			if id, may := ids[user]; may {
				fresh = append(fresh, subjectRow{id, 1 + rand.Int64N(math.MaxInt64)})
			}
		}
		if len(fresh) == 0 {
			return nil
		}
		slices.SortFunc(fresh, func(a, b subjectRow) int { return bytes.Compare(a.UserID[:], b.UserID[:]) })
		// No conflict target: a number that is taken already is not given twice either.
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(fresh, writeBatch).Error; err != nil {
			return err
		}
		given, err = s.readSubjects(tx, unknown)
		for _, user := range unknown {
			if _, may := ids[user]; may && err == nil && given[user] == 0 {
				err = fmt.Errorf("subject of user %s: the random number is taken: %w", user, ErrConflict)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d users: %w", len(users), err)
	}
	maps.Copy(subjects, given)
	return subjects, nil
}

// KnownSubjects returns the numbers of the users that have one.
func (s *Store) KnownSubjects(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	subjects, err := s.readSubjects(s.db.Lookups.WithContext(ctx), users)
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d users: %w", len(users), err)
	}
	return subjects, nil
}

func (s *Store) readSubjects(tx *gorm.DB, users []uuid.UUID) (map[uuid.UUID]int64, error) {
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
		var found []subjectRow
		if err := tx.Raw(`SELECT user_id, subject FROM subjects WHERE user_id IN ?`, batch).Scan(&found).Error; err != nil {
			return nil, err
		}
		for _, f := range found {
			known[f.UserID] = f.Subject
		}
	}
	subjects := make(map[uuid.UUID]int64, len(known))
	for i, user := range users {
		if subject, ok := known[ids[i]]; ok {
			subjects[user] = subject
		}
	}
	return subjects, nil
}
