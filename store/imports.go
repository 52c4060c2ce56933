package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// imported is how far the import of another system has come.
type imported struct {
	Source        string `gorm:"primaryKey"`
	ImportedUntil Instant
}

// TableName implements [gorm.io/gorm/schema.Tabler].
func (imported) TableName() string { return "imports" }

// ImportedUntil returns up to when the data of another system is here; zero: nothing is, or not all of its past.
func (s *Store) ImportedUntil(ctx context.Context, source string) (time.Time, error) {
	var found imported
	if err := s.lookups.WithContext(ctx).Where("source = ?", source).Limit(1).Find(&found).Error; err != nil {
		return time.Time{}, fmt.Errorf("read how far %s is imported: %w", source, err)
	}
	return found.ImportedUntil.Time, nil
}

// SetImportedUntil notes up to when the data of another system is here.
func (s *Store) SetImportedUntil(ctx context.Context, source string, until time.Time) error {
	row := imported{source, At(until)}
	err := s.write(ctx, func(db *gorm.DB) error { return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error })
	if err != nil {
		return fmt.Errorf("note how far %s is imported: %w", source, err)
	}
	return nil
}
