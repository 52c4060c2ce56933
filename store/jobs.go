package store

import (
	"context"
	"database/sql"
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

// Spread is how long something took, in seconds, with the labels that say what. There may be several of the same labels, which add up.
type Spread struct {
	Labels []string
	Distribution
}

// spread spreads the times between two columns over bounds, of the rows that a statement yields from FROM on, for each of the values of the
// expressions that are labels. A native one says in which bucket of a native histogram they are as well.
func (s *Store) spread(
	ctx context.Context, labels []string, begin, end string, bounds []float64, native bool, from string, args ...any,
) ([]Spread, error) {
	groups := slices.Clone(labels)
	if native {
		groups = append(groups, nativeBucket(begin, end))
	}
	columns, values := distribution(end+" - "+begin, begin, bounds)
	rows, err := s.db.Reads.WithContext(ctx).Raw(`SELECT `+strings.Join(groups, ", ")+`, `+columns+` FROM `+from+
		` AND `+begin+` > 0 AND `+end+` >= `+begin+` GROUP BY `+strings.Join(groups, ", "), append(values, args...)...).Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Spread
	for rows.Next() {
		one := Spread{Labels: make([]string, len(labels)), Distribution: newDistribution(bounds)}
		var bucket sql.NullInt64
		var to []any
		for i := range labels {
			to = append(to, &one.Labels[i])
		}
		if native {
			to, one.Native = append(to, &bucket), []NativeCount{}
		}
		if err := one.scan(rows, to...); err != nil {
			return nil, err
		}
		if bucket.Valid {
			one.Native = append(one.Native, NativeCount{int(bucket.Int64), one.Count})
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Of a build that an import brought, the job has the id of the build.
const (
	jobsOfBuilds   = `jobs LEFT JOIN builds ON builds.id = jobs.id WHERE jobs.created_at > 0`
	transitionText = `COALESCE(builds.transition, '')`
	// reasonText is what dashboards call the reason of a build: who keeps prebuilt workspaces has one of its own.
	reasonText = `CASE WHEN builds.initiator_kind = 'system' THEN 'prebuild' ELSE COALESCE(builds.reason, '') END`
)

// QueueWaits spreads the times that jobs waited until they began. Their labels are provisioner, type, and of builds transition and reason.
func (s *Store) QueueWaits(ctx context.Context, bounds []float64) ([]Spread, error) {
	waits, err := s.spread(
		ctx, []string{"jobs.provisioner", "jobs.type", transitionText, reasonText}, "jobs.created_at", "jobs.started_at", bounds, false,
		jobsOfBuilds,
	)
	if err != nil {
		return nil, fmt.Errorf("read how long jobs waited: %w", err)
	}
	return waits, nil
}

// EnqueuedBuilds counts the jobs of builds by provisioner, reason and transition.
type EnqueuedBuilds struct {
	Provisioner, Reason, Transition string
	Builds                          int64
}

// EnqueuedBuilds counts the jobs of builds that were ever asked for.
func (s *Store) EnqueuedBuilds(ctx context.Context) ([]EnqueuedBuilds, error) {
	var enqueued []EnqueuedBuilds
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT jobs.provisioner, ` + reasonText + ` AS reason, ` + transitionText + ` AS transition,
		COUNT(*) AS builds FROM ` + jobsOfBuilds + ` AND jobs.type = 'workspace_build' GROUP BY 1, 2, 3`).Scan(&enqueued).Error
	if err != nil {
		return nil, fmt.Errorf("count builds that were asked for: %w", err)
	}
	return enqueued, nil
}
