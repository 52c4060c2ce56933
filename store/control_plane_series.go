package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// ControlPlaneSeries is a series of the metrics endpoint that the control plane knows the value of.
type ControlPlaneSeries struct {
	Name       string
	Labels     string // a JSON object of names in ascending order to values: the same labels are the same text. Organizations are ids
	Value      float64
	ReportedAt Instant
}

// TableName implements [gorm.io/gorm/schema.Tabler].
func (ControlPlaneSeries) TableName() string { return "control_plane_series" }

// ActiveUsersHour is the series of how many users used the control plane during the last hour. Its label actor names whom it counts.
const ActiveUsersHour = "coderd_api_active_users_duration_hour"

// RecordControlPlaneSeries keeps the newest value of each series and forgets those that were reported before expired. Of
// two with the same name and labels the later counts.
func (s *Store) RecordControlPlaneSeries(ctx context.Context, series []ControlPlaneSeries, expired time.Time) error {
	if len(series) == 0 {
		return nil
	}
	compare := func(a, b ControlPlaneSeries) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Labels, b.Labels))
	}
	series = slices.Clone(series)
	slices.Reverse(series)
	slices.SortStableFunc(series, compare)
	series = slices.CompactFunc(series, func(a, b ControlPlaneSeries) bool { return compare(a, b) == 0 })
	newest := clause.OnConflict{
		Columns: []clause.Column{{Name: "name"}, {Name: "labels"}}, DoUpdates: clause.AssignmentColumns([]string{"value", "reported_at"}),
	}
	for batch := range slices.Chunk(series, writeBatch) {
		err := s.db.Write(ctx, func(db *gorm.DB) error { return db.Clauses(newest).Create(&batch).Error })
		if err != nil {
			return fmt.Errorf("record series of the control plane: %w", err)
		}
	}
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		return db.Where("reported_at < ?", At(expired)).Delete(&ControlPlaneSeries{}).Error
	})
	if err != nil {
		return fmt.Errorf("forget series of the control plane: %w", err)
	}
	return nil
}

// ControlPlaneSeries lists the series that were reported since a moment, by name and labels.
func (s *Store) ControlPlaneSeries(ctx context.Context, since time.Time) ([]ControlPlaneSeries, error) {
	var series []ControlPlaneSeries
	err := s.db.Reads.WithContext(ctx).Where("reported_at >= ?", At(since)).Order("name, labels").Find(&series).Error
	if err != nil {
		return nil, fmt.Errorf("read series of the control plane: %w", err)
	}
	return series, nil
}
