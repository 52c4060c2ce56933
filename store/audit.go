package store

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
	err = s.db.InQuietTransaction(ctx, func(tx *gorm.DB) error { return tx.Create(&event).Error })
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
	tx := s.db.Reads.WithContext(ctx).Order("at DESC, id DESC").Limit(f.Limit)
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
	now := At(s.clock())
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT events.action, events.principal_kind AS kind, COALESCE(held.role, '') AS role,
			count(DISTINCT events.principal_id) AS principals, count(*) AS events, max(events.at) AS last
		FROM audit_events AS events LEFT JOIN (
			SELECT principal_kind, principal_id, role FROM role_bindings
			UNION SELECT ?, group_members.user_id, role_bindings.role
			FROM role_bindings JOIN group_members ON group_members.group_id = role_bindings.principal_id AND `+isMember+`
			WHERE role_bindings.principal_kind = ?
		) AS held ON held.principal_kind = events.principal_kind AND held.principal_id = events.principal_id
		WHERE events.action IN ?
		GROUP BY events.action, events.principal_kind, COALESCE(held.role, '')
		ORDER BY 1, 2, 3`, access.KindUser, now, now, KindGroup, actions).Scan(&all).Error
	if err != nil {
		return nil, fmt.Errorf("count audit events: %w", err)
	}
	return all, nil
}

// erasedWord replaces the names and ids of erased users in the audit trail.
const erasedWord = "erased"

// withoutErased replaces the ids of erased users, and the ids of their workspaces and agents, in a text. Without the privacy key nobody
// can tell these ids from others, and the text stays as it is.
func (s *Store) withoutErased(ctx context.Context, text string) (string, error) {
	ids := idsIn(text)
	if s.key == nil || len(ids) == 0 {
		return text, nil
	}
	erased, err := s.Erased(ctx, ids)
	if err != nil {
		return "", err
	}
	return replaceIDs(text, func(id uuid.UUID) (string, bool) { return erasedWord, erased[id] }), nil
}

// hideIDs replaces the ids of users in a text by their pseudonyms, and writes all ids in lower case.
func (s *Store) hideIDs(ctx context.Context, text string) (string, error) {
	kept, err := s.keptAs(s.db.Lookups.WithContext(ctx), idsIn(text))
	return replaceIDs(text, func(id uuid.UUID) (string, bool) {
		return idIn(kept, id).String(), true
	}), err
}

var idPattern = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// idsIn returns the ids in a text. They may be in lower or upper case.
func idsIn(text string) []uuid.UUID {
	var ids []uuid.UUID
	for _, id := range idPattern.FindAllString(text, -1) {
		ids = append(ids, uuid.MustParse(id))
	}
	return ids
}

// replaceIDs replaces an id in a text if the function by returns true and the text to take its place.
func replaceIDs(text string, by func(uuid.UUID) (string, bool)) string {
	return idPattern.ReplaceAllStringFunc(text, func(id string) string {
		if other, replaced := by(uuid.MustParse(id)); replaced {
			return other
		}
		return id
	})
}

// likeEscaper makes a pattern of LIKE that matches the given text and no other one. The character ! escapes.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// inJSON writes a text as a string of JSON has it, without the quotes around.
func inJSON(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// wordPattern finds a word in any case.
func wordPattern(word string) *regexp.Regexp {
	return regexp.MustCompile("(?i)" + regexp.QuoteMeta(word))
}

// replaceWord replaces what a pattern of a word finds in a text. It leaves the word alone where a letter or a digit touches it.
func replaceWord(text string, word *regexp.Regexp, by string) string {
	part := func(r rune, size int) bool { return size > 0 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	var out strings.Builder
	end := 0
	for _, at := range word.FindAllStringIndex(text, -1) {
		if part(utf8.DecodeLastRuneInString(text[:at[0]])) || part(utf8.DecodeRuneInString(text[at[1]:])) {
			continue
		}
		out.WriteString(text[end:at[0]] + by)
		end = at[1]
	}
	return out.String() + text[end:]
}
