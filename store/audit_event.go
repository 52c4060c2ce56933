package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
)

// KindCommandLine is the kind of who may write the database itself, in the audit trail. It has no id and never calls.
const KindCommandLine access.Kind = "command-line"

// AuditEvent says who did what.
type AuditEvent struct {
	ID            uuid.UUID
	At            Instant
	PrincipalKind access.Kind
	PrincipalID   uuid.UUID
	Action        string
	Target        string
}

// maxAuditTarget bounds what an event keeps of what was asked for, in bytes.
const maxAuditTarget = 1 << 10

// RecordAudit adds an event to the trail, without the ids of users who were erased. It is durable when the call returns.
func (s *Store) RecordAudit(ctx context.Context, kind access.Kind, id uuid.UUID, action, target string) error {
	target, err := s.withoutErased(ctx, target)
	if err == nil {
		target, err = s.hideIDs(ctx, target)
	}
	if err == nil && kind == access.KindUser {
		id, err = s.KeptAs(ctx, id) // a caller may be remembered under the id from before
	}
	if err != nil {
		return fmt.Errorf("write audit event: %w", err)
	}
	if len(target) > maxAuditTarget {
		target = target[:maxAuditTarget]
	}
	event := AuditEvent{uuid.New(), At(s.clock()), kind, id, action, strings.ToValidUTF8(target, "")}
	err = s.inQuietTransaction(ctx, func(tx *gorm.DB) error { return tx.Create(&event).Error })
	if err != nil {
		return fmt.Errorf("write audit event: %w", err)
	}
	return nil
}

// AuditAsFile is behind the action of a question whose answer left as a file, of which nobody knows who reads it.
const AuditAsFile = " as file"

// AuditFilter says which events are asked for.
type AuditFilter struct {
	Start, End    time.Time   // Start <= at < End; a zero one is no bound
	PrincipalKind access.Kind // empty: of any principal
	PrincipalID   uuid.UUID
	Actions       []string    // empty: any
	Before        *AuditEvent // only events that come after this one in the list; nil: from the newest on
	Limit         int
}

// AuditEvents lists events, the newest first.
func (s *Store) AuditEvents(ctx context.Context, f AuditFilter) ([]AuditEvent, error) {
	tx := s.reads.WithContext(ctx).Order("at DESC, id DESC").Limit(f.Limit)
	if !f.Start.IsZero() {
		tx = tx.Where("at >= ?", At(f.Start))
	}
	if !f.End.IsZero() {
		tx = tx.Where("at < ?", At(f.End))
	}
	if f.PrincipalKind == access.KindUser {
		var err error
		if f.PrincipalID, err = s.KeptAs(ctx, f.PrincipalID); err != nil {
			return nil, err
		}
	}
	if f.PrincipalKind != "" {
		tx = tx.Where("principal_kind = ? AND principal_id = ?", f.PrincipalKind, f.PrincipalID)
	}
	if len(f.Actions) > 0 {
		tx = tx.Where("action IN ?", f.Actions)
	}
	if f.Before != nil {
		tx = tx.Where("at < ? OR at = ? AND id < ?", f.Before.At, f.Before.At, f.Before.ID)
	}
	var events []AuditEvent
	if err := tx.Find(&events).Error; err != nil {
		return nil, fmt.Errorf("read audit events: %w", err)
	}
	return events, nil
}

// AuditByRole is how often those who hold a role did something.
type AuditByRole struct {
	Action     string
	Kind       access.Kind
	Role       access.Role // now, by themselves or through a group; empty: none
	Principals int64       // how many of them did it
	Events     int64
	Last       Instant
}

// AuditByRole counts the events of actions by the roles that those behind them hold now: the trail does not keep the ones from then. Who
// holds several counts with each.
func (s *Store) AuditByRole(ctx context.Context, actions []string) ([]AuditByRole, error) {
	var all []AuditByRole
	err := s.reads.WithContext(ctx).Raw(`SELECT events.action, events.principal_kind AS kind, COALESCE(held.role, '') AS role,
			count(DISTINCT events.principal_id) AS principals, count(*) AS events, max(events.at) AS last
		FROM audit_events AS events LEFT JOIN (
			SELECT principal_kind, principal_id, role FROM role_bindings
			UNION SELECT ?, group_members.user_id, role_bindings.role
			FROM role_bindings JOIN group_members ON group_members.group_id = role_bindings.principal_id
			WHERE role_bindings.principal_kind = ?
		) AS held ON held.principal_kind = events.principal_kind AND held.principal_id = events.principal_id
		WHERE events.action IN ?
		GROUP BY events.action, events.principal_kind, COALESCE(held.role, '')
		ORDER BY 1, 2, 3`, access.KindUser, KindGroup, actions).Scan(&all).Error
	if err != nil {
		return nil, fmt.Errorf("count audit events: %w", err)
	}
	return all, nil
}
