package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// Owner is someone with workspaces.
type Owner struct {
	UserID     uuid.UUID
	Username   string
	AvatarURL  string
	Templates  []uuid.UUID // of the workspaces, ascending
	Workspaces int64
}

// Owners lists the people who were there before a moment and own workspaces of the templates of a scope that were created before it
// and are not deleted, by id. Workspaces of which nobody said when they were created are left out: they may be new.
func (s *Store) Owners(ctx context.Context, scope access.Scope, before time.Time) ([]Owner, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.whereColumn(
		"workspaces.template_id",
		"workspaces.deleted_at = 0 AND workspaces.created_at > 0 AND workspaces.created_at < ? AND users.created_at < ?"+
			" AND users.deleted_at = 0 AND users.kind = ?", At(before), At(before), Human,
	)
	rows, err := s.reads.WithContext(ctx).Raw(`SELECT users.id, users.username, users.avatar_url, workspaces.template_id, COUNT(*)
		FROM workspaces JOIN users ON users.id = workspaces.owner_id
		WHERE `+condition+
		` GROUP BY users.id, users.username, users.avatar_url, workspaces.template_id ORDER BY users.id, workspaces.template_id`,
		args...).Rows()
	if err != nil {
		return nil, fmt.Errorf("read owners of workspaces: %w", err)
	}
	defer rows.Close()
	var owners []Owner
	for rows.Next() {
		var next Owner
		var template uuid.UUID
		if err := rows.Scan(&next.UserID, &next.Username, &next.AvatarURL, &template, &next.Workspaces); err != nil {
			return nil, fmt.Errorf("read owners of workspaces: %w", err)
		}
		if last := len(owners) - 1; last >= 0 && owners[last].UserID == next.UserID {
			owners[last].Templates = append(owners[last].Templates, template)
			owners[last].Workspaces += next.Workspaces
			continue
		}
		next.Templates = []uuid.UUID{template}
		owners = append(owners, next)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read owners of workspaces: %w", err)
	}
	return owners, nil
}
