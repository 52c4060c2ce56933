package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// JobStatuses are the statuses that jobs have. Builds are jobs, so they have the same.
var JobStatuses = []string{"pending", "running", "succeeded", "failed", "canceling", "canceled"}

// Job is a provisioner job as far as it has come.
type Job struct {
	ID             uuid.UUID
	At             Instant   // of the event that says so
	OrganizationID uuid.UUID // that it runs for
	Provisioner    string
	Type           string
	Status         string
	CreatedAt      Instant `gorm:"autoCreateTime:false"`
	StartedAt      Instant
	FinishedAt     Instant
}

// RecordJobs keeps jobs as their newest events say they are.
func (s *Store) RecordJobs(ctx context.Context, jobs []Job) error {
	return recordNewest(ctx, s, "jobs", jobs, func(j Job) (uuid.UUID, Instant) { return j.ID, j.At })
}

// JobOrganizations returns the organization of each of the jobs that are known.
func (s *Store) JobOrganizations(ctx context.Context, jobs []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.lookups.WithContext(ctx), "jobs", "organization_id", jobs)
}

// JobTimings is how long the ended jobs of a provisioner ran, in seconds, by how they ended.
type JobTimings struct {
	Provisioner string
	Status      string // succeeded, failed or canceled
	Distribution
}

// JobTimings returns how long jobs ran that have a begin and an end, within bounds in ascending order.
func (s *Store) JobTimings(ctx context.Context, bounds []float64) ([]JobTimings, error) {
	var timings []JobTimings
	columns, args := distribution("started_at", "finished_at", bounds)
	rows, err := s.reads.WithContext(ctx).Raw(`SELECT provisioner, status, `+columns+` FROM jobs
		WHERE status IN ('succeeded', 'failed', 'canceled') AND started_at > 0 AND finished_at >= started_at
		GROUP BY provisioner, status ORDER BY provisioner, status`, args...).Rows()
	if err != nil {
		return nil, fmt.Errorf("read job timings: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		t := JobTimings{Distribution: newDistribution(bounds)}
		if err := t.scan(rows, &t.Provisioner, &t.Status); err != nil {
			return nil, fmt.Errorf("read job timings: %w", err)
		}
		timings = append(timings, t)
	}
	return timings, rows.Err()
}

// RunningJobs counts the jobs that run now, by provisioner; one that has only jobs that ended is there with 0.
func (s *Store) RunningJobs(ctx context.Context) (map[string]int64, error) {
	var found []struct {
		Provisioner string
		Running     int64
	}
	err := s.reads.WithContext(ctx).Raw(`SELECT provisioner, SUM(CASE WHEN status = 'running' THEN 1 ELSE 0 END) AS running
		FROM jobs GROUP BY provisioner`).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count running jobs: %w", err)
	}
	running := make(map[string]int64, len(found))
	for _, f := range found {
		running[f.Provisioner] = f.Running
	}
	return running, nil
}
