package store

import (
	"bytes"
	"context"
	"fmt"
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
// one, from 1 on. It does not ask whether the users exist, but fails with ErrErased for one who was erased.
func (s *Store) Subjects(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	subjects := make(map[uuid.UUID]int64, len(users))
	err := retryConflicts(ctx, func() error {
		tx := s.writes.WithContext(ctx)
		if err := readSubjects(tx, users, subjects); err != nil || len(subjects) == len(users) {
			return s.dialect.classify(err)
		}
		err := tx.Transaction(func(tx *gorm.DB) error {
			erased, err := s.erased(tx, users)
			if err != nil {
				return err
			}
			var fresh []subjectRow
			for _, user := range users {
				if erased[user] {
					return fmt.Errorf("user %s %w", user, ErrErased)
				}
				if _, known := subjects[user]; !known {
					fresh = append(fresh, subjectRow{user, 1 + rand.Int64N(math.MaxInt64)})
				}
			}
			slices.SortFunc(fresh, func(a, b subjectRow) int { return bytes.Compare(a.UserID[:], b.UserID[:]) })
			// No conflict target: a number that is taken already is not given twice either.
			return tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(fresh, writeBatch).Error
		})
		if err != nil {
			return s.dialect.classify(err)
		}
		if err := readSubjects(tx, users, subjects); err != nil {
			return s.dialect.classify(err)
		}
		for _, user := range users {
			if _, known := subjects[user]; !known {
				return fmt.Errorf("subject of user %s: the random number is taken: %w", user, ErrConflict)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find subjects of %d users: %w", len(users), err)
	}
	return subjects, nil
}

// KnownSubjects returns the numbers of the users that have one.
func (s *Store) KnownSubjects(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	subjects := make(map[uuid.UUID]int64, len(users))
	if err := readSubjects(s.lookups.WithContext(ctx), users, subjects); err != nil {
		return nil, fmt.Errorf("find subjects of %d users: %w", len(users), err)
	}
	return subjects, nil
}

// readSubjects adds the numbers of users that have one to a map.
func readSubjects(tx *gorm.DB, users []uuid.UUID, subjects map[uuid.UUID]int64) error {
	for batch := range slices.Chunk(users, readBatch) {
		var found []subjectRow
		if err := tx.Raw(`SELECT user_id, subject FROM subjects WHERE user_id IN ?`, batch).Scan(&found).Error; err != nil {
			return err
		}
		for _, f := range found {
			subjects[f.UserID] = f.Subject
		}
	}
	return nil
}
