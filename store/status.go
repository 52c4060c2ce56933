package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// RecordStatusChanges keeps when users got which status, and makes the newest the user's own. A change that is known
// already is written over.
func (s *Store) RecordStatusChanges(ctx context.Context, changes []UserStatusChange) error {
	err := retryConflicts(ctx, func() error {
		return s.dialect.classify(s.writes.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			for _, c := range changes {
				if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&c).Error; err != nil {
					return err
				}
				err := tx.Exec(`UPDATE users SET status = (SELECT status FROM user_status_changes WHERE user_id = ? ORDER BY at DESC LIMIT 1) WHERE id = ?`,
					c.UserID, c.UserID).Error
				if err != nil {
					return err
				}
			}
			return nil
		}))
	})
	if err != nil {
		return fmt.Errorf("record %d status changes: %w", len(changes), err)
	}
	return nil
}
