package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// RunningTime is how long the workspaces of each template of a scope were running in [start, end), summed over the workspaces that
// belong to people. A workspace runs from the end of a start that succeeded to the begin of the next build that did, or to its
// deletion. Templates without any are absent.
func (s *Store) RunningTime(ctx context.Context, scope access.Scope, start, end time.Time) (map[uuid.UUID]time.Duration, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	from, to := At(start), At(end)
	condition, args := x.whereColumn("builds.template_id", "builds.status = 'succeeded' AND builds.created_at < ?", to)
	var found []struct {
		TemplateID uuid.UUID
		Micros     int64
	}
	err = s.reads.WithContext(ctx).Raw(`SELECT template_id,
		CAST(SUM(CASE WHEN ended < ? THEN ended ELSE ? END - CASE WHEN began > ? THEN began ELSE ? END) AS bigint) AS micros
		FROM (SELECT builds.template_id, builds.transition, CASE WHEN builds.finished_at > 0 THEN builds.finished_at ELSE builds.created_at
		END AS began,
				COALESCE(LEAD(CASE WHEN builds.started_at > 0 THEN builds.started_at ELSE builds.created_at END)
					OVER (PARTITION BY builds.workspace_id ORDER BY builds.number, builds.id), NULLIF(workspaces.deleted_at, 0), ?) AS ended
			FROM builds JOIN workspaces ON workspaces.id = builds.workspace_id
				JOIN users ON users.id = workspaces.owner_id AND users.kind = '`+Human+`' WHERE `+condition+`) AS runs
		WHERE transition = 'start' AND ended > began AND ended > ? AND began < ? GROUP BY template_id`,
		append(append([]any{to, to, from, from, to}, args...), from, to)...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("add up the time that workspaces were running: %w", err)
	}
	running := make(map[uuid.UUID]time.Duration, len(found))
	for _, f := range found {
		running[f.TemplateID] = time.Duration(f.Micros) * time.Microsecond
	}
	return running, nil
}
