package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// JobStatuses are the statuses that jobs have. Builds are jobs, so they have the same.
var JobStatuses = []string{"pending", "running", "succeeded", "failed", "canceling", "canceled"}

// Counters count how builds and jobs ended. An event may correct an earlier one, and no counter may fall then. So the row of a build or
// job keeps every outcome that an event ever told, one bit for each, and from the first of these events what labels the count.

var (
	endStatuses      = []string{"succeeded", "failed", "canceled"}
	buildTransitions = []string{"start", "stop", "delete"}
)

// jobOutcome is the bit of a status with which jobs end; 0 for others.
func jobOutcome(status string) int64 {
	if i := slices.Index(endStatuses, status); i >= 0 {
		return 1 << i
	}
	return 0
}

// buildOutcome is the bit of a transition that ended with a status; 0 if it did not end.
func buildOutcome(transition, status string) int64 {
	if i := slices.Index(buildTransitions, transition); i >= 0 {
		return jobOutcome(status) << (len(endStatuses) * i)
	}
	return 0
}

// jobOutcomes and buildOutcomes are statements that yield the bits and what they stand for.
var jobOutcomes, buildOutcomes = func() (string, string) {
	var jobs, builds []string
	for _, status := range endStatuses {
		jobs = append(jobs, fmt.Sprintf(`SELECT %d AS flag, '%s' AS status`, jobOutcome(status), status))
		for _, transition := range buildTransitions {
			builds = append(builds, fmt.Sprintf(
				`SELECT %d AS flag, '%s' AS transition, '%s' AS status`, buildOutcome(transition, status), transition, status,
			))
		}
	}
	return strings.Join(jobs, ` UNION ALL `), strings.Join(builds, ` UNION ALL `)
}()

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
	rows := make([]jobRow, len(jobs))
	for i, j := range jobs {
		rows[i] = jobRow{Job: j, Outcomes: jobOutcome(j.Status), OutcomeProvisioner: j.Provisioner}
		if rows[i].Outcomes != 0 && !j.StartedAt.IsZero() && !j.FinishedAt.Before(j.StartedAt.Time) {
			ran := j.FinishedAt.micros() - j.StartedAt.micros()
			rows[i].OutcomeMicros = &ran
		}
	}
	return recordNewest(ctx, s, rows, func(j jobRow) uuid.UUID { return j.ID }, map[string]string{
		"outcomes":            `jobs.outcomes | excluded.outcomes`,
		"outcome_provisioner": `CASE WHEN jobs.outcomes = 0 THEN excluded.outcome_provisioner ELSE jobs.outcome_provisioner END`,
		"outcome_micros":      `COALESCE(jobs.outcome_micros, excluded.outcome_micros)`,
	})
}

// jobRow is a job with what counters count of it.
type jobRow struct {
	Job
	Outcomes           int64  // bits of jobOutcome
	OutcomeProvisioner string // of the first outcome that was told
	OutcomeMicros      *int64 // how long the job ran, as was told first; nil: nobody told yet
}

// TableName implements the naming of GORM.
func (jobRow) TableName() string { return "jobs" }

// JobOrganizations returns the organization of each of the jobs that are known.
func (s *Store) JobOrganizations(ctx context.Context, jobs []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.db.Lookups.WithContext(ctx), "jobs", "organization_id", jobs)
}

// JobTimings is how long the ended jobs of a provisioner ran, in seconds, by how they ended.
type JobTimings struct {
	Provisioner string
	Status      string // succeeded, failed or canceled
	Distribution
}

// JobTimings returns how long jobs ran that have a begin and an end, within bounds in ascending order. A job that was corrected counts
// with every status with which an event ever told that it ended, and with the provisioner and the duration that were told first: so no
// count falls.
func (s *Store) JobTimings(ctx context.Context, bounds []float64) ([]JobTimings, error) {
	var timings []JobTimings
	columns, args := distribution("outcome_micros", "started_at", bounds)
	rows, err := s.db.Reads.WithContext(ctx).Raw(`SELECT outcome_provisioner, outcome.status, `+columns+` FROM jobs
		JOIN (`+jobOutcomes+`) AS outcome ON (jobs.outcomes & outcome.flag) <> 0 WHERE outcome_micros IS NOT NULL
		GROUP BY outcome_provisioner, outcome.status ORDER BY outcome_provisioner, outcome.status`, args...).Rows()
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
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT provisioner, SUM(CASE WHEN status = 'running' THEN 1 ELSE 0 END) AS running
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
