package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/template-insights/insights/store/access"
)

// FirstConnections is how long it took the agents of one name in the workspaces of one name to connect for the first time,
// in seconds from when they were made.
type FirstConnections struct {
	WorkspaceName
	Agent string
	Distribution
}

// FirstConnections spreads the times until the first connection over bounds in ascending order. Each agent that ever
// connected counts once, for ever, deleted ones too; names are left out whose workspaces were all deleted before since. An
// agent that seems to have connected before it was made, because clocks differ, is left out and counted as skewed.
func (s *Store) FirstConnections(
	ctx context.Context, scope access.Scope, bounds []float64, since time.Time,
) (spread []FirstConnections, skewed int64, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, 0, err
	}
	const from = ` FROM agent_states JOIN agents ON agents.id = agent_states.agent_id
		JOIN workspaces ON workspaces.id = agents.workspace_id `
	db := s.db.Reads.WithContext(ctx)
	condition, args := x.WhereColumn(
		"workspaces.template_id",
		"agents.created_at > 0 AND agent_states.first_connected_at > 0 AND agent_states.first_connected_at < agents.created_at",
	)
	if err := db.Raw(`SELECT COUNT(*)`+from+`WHERE `+condition, args...).Scan(&skewed).Error; err != nil {
		return nil, 0, fmt.Errorf("count skewed first connections: %w", err)
	}
	const begin, end = "agents.created_at", "agent_states.first_connected_at"
	columns, args := distribution(end+" - "+begin, begin, bounds)
	condition, args = x.WhereColumn(
		"workspaces.template_id", "agents.created_at > 0 AND agent_states.first_connected_at >= agents.created_at",
		append([]any{At(since)}, args...)...,
	)
	// Names are shown or left out as a whole, whatever buckets their values are in.
	const names = `organizations.name, templates.name, users.username, workspaces.name, agents.name`
	rows, err := db.Raw(`SELECT * FROM (SELECT MAX(MAX(`+deletedOr+`)) OVER (PARTITION BY `+names+`) AS shown, `+workspaceNames+`,
			agents.name AS agent, `+nativeBucket(begin, end)+` AS bucket, `+columns+from+namesOfWorkspaces+`WHERE `+condition+`
			GROUP BY `+names+`, bucket) AS spread
		WHERE shown >= ? ORDER BY organization, template, owner, workspace, agent, bucket`, append(args, At(since))...).Rows()
	if err != nil {
		return nil, 0, fmt.Errorf("read first connections: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var shown, bucket sql.NullInt64
		c := FirstConnections{Distribution: newDistribution(bounds)}
		if err := c.scan(rows, &shown, &c.Organization, &c.Template, &c.Owner, &c.Workspace, &c.Agent, &bucket); err != nil {
			return nil, 0, fmt.Errorf("read first connections: %w", err)
		}
		c.Native = []NativeCount{} // counted, also where all of them took no time
		if bucket.Valid {
			c.Native = append(c.Native, NativeCount{int(bucket.Int64), c.Count})
		}
		if n := len(spread); n > 0 && spread[n-1].WorkspaceName == c.WorkspaceName && spread[n-1].Agent == c.Agent {
			spread[n-1].Add(c.Distribution)
		} else {
			spread = append(spread, c)
		}
	}
	return spread, skewed, rows.Err()
}

// shownSince leaves out names whose workspaces were all deleted before a moment, which it takes twice. What it lets through
// is counted over all workspaces of the name, so that a count never falls while it is shown.
const shownSince = `HAVING MAX(` + deletedOr + `) >= ?`

// deletedOr is when a workspace was deleted, or the moment that it takes while there is one.
const deletedOr = `CASE WHEN workspaces.deleted_at = 0 THEN ? ELSE workspaces.deleted_at END`

// Distribution is how values, in seconds, are spread.
type Distribution struct {
	Count int64
	Sum   float64
	Below []int64 // per bound: how many values are at most that
	Since Instant // there was no value before that; zero: nobody knows
	// how many values are in which bucket of a native histogram, the others being 0; nil: nobody counted
	Native []NativeCount
}

// NativeSchema is the schema of native histograms: bucket i holds what is above 2^((i-1)/8) and at most 2^(i/8).
const NativeSchema = 3

// NativeCount is how many values are in a bucket of a native histogram.
type NativeCount struct {
	Bucket int
	Count  int64
}

// Add adds values that are spread over the same bounds.
func (d *Distribution) Add(o Distribution) {
	d.Count, d.Sum = d.Count+o.Count, d.Sum+o.Sum
	for i, n := range o.Below {
		d.Below[i] += n
	}
	if d.Since.IsZero() || !o.Since.IsZero() && o.Since.Before(d.Since.Time) {
		d.Since = o.Since
	}
	d.Native = append(d.Native, o.Native...)
}

func newDistribution(bounds []float64) Distribution {
	return Distribution{Below: make([]int64, len(bounds))}
}

// distribution is the columns of a statement that spread times in microseconds, which began at since, over bounds, and the
// arguments that they take.
func distribution(micros, since string, bounds []float64) (columns string, args []any) {
	var text strings.Builder
	text.WriteString(`COUNT(*), CAST(SUM(` + micros + `) AS double precision), MIN(` + since + `)`)
	for _, b := range bounds {
		text.WriteString(`, SUM(CASE WHEN ` + micros + ` <= ? THEN 1 ELSE 0 END)`)
		args = append(args, int64(b*float64(time.Second/time.Microsecond)))
	}
	return text.String(), args
}

// nativeBucket is the bucket of a native histogram that holds the time from one instant to a later one, NULL for none at all. What is
// on the bound of a bucket is in it, however the database rounds.
func nativeBucket(from, to string) string {
	seconds := `CAST(` + to + ` - ` + from + ` AS double precision) / 1000000`
	return fmt.Sprintf(
		`CASE WHEN %s > %s THEN CAST(CEIL(LN(%s) * %v - 1e-9) AS bigint) END`, to, from, seconds, float64(int(1)<<NativeSchema)/math.Ln2,
	)
}

// scan reads the columns that name what is spread, and then those of [distribution].
func (d *Distribution) scan(row interface{ Scan(...any) error }, names ...any) error {
	to := append(names, &d.Count, &d.Sum, &d.Since)
	for i := range d.Below {
		to = append(to, &d.Below[i])
	}
	err := row.Scan(to...)
	d.Sum /= float64(time.Second / time.Microsecond)
	return err
}
