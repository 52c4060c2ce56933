package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Subjects returns the numbers under which the usage of users is kept; a user seen for the first time gets a random
// one, from 1 on. It does not ask whether the users exist.
func (s *Store) Subjects(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]int64, error) {
	subjects := make(map[uuid.UUID]int64, len(users))
	read := func(tx *gorm.DB) error {
		var found []struct {
			UserID  uuid.UUID
			Subject int64
		}
		if err := tx.Raw(`SELECT user_id, subject FROM subjects WHERE user_id IN ?`, users).Scan(&found).Error; err != nil {
			return err
		}
		for _, f := range found {
			subjects[f.UserID] = f.Subject
		}
		return nil
	}
	err := retryConflicts(ctx, func() error {
		tx := s.writes.WithContext(ctx)
		if err := read(tx); err != nil || len(subjects) == len(users) {
			return s.dialect.classify(err)
		}
		for _, user := range users {
			if _, known := subjects[user]; known {
				continue
			}
			// No conflict target: a number that is taken already is not given twice either.
			err := tx.Exec(`INSERT INTO subjects (user_id, subject) VALUES (?, ?) ON CONFLICT DO NOTHING`, user, 1+rand.Int64N(math.MaxInt64)).Error
			if err != nil {
				return s.dialect.classify(err)
			}
		}
		if err := read(tx); err != nil {
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
