package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/db"
)

// The store keeps a user under a pseudonym if the user's privacy mode is not full. A pseudonym is an id that the privacy key makes of
// the id that the control plane uses, and the username is made of the pseudonym. Callers name a user by the id of the control plane,
// and the store answers with the pseudonym. Pages, rows and questions treat a pseudonym like any other id. The table pseudonyms leads
// from a pseudonym back to the user, and the privacy key seals its rows.

// pseudonymRow is a pseudonym and the sealed [Identity] of its user.
type pseudonymRow struct {
	ID     uuid.UUID
	Sealed []byte
}

// TableName implements the naming of GORM.
func (pseudonymRow) TableName() string { return "pseudonyms" }

// Identity is the user behind a pseudonym.
type Identity struct {
	UserID   uuid.UUID `json:"user_id"`
	Username string    `json:"username"`
}

// ResolvePseudonym returns the user behind a pseudonym. It fails with ErrUnknown if the database does not know the pseudonym, and
// also if another privacy key made it: nobody can resolve that pseudonym.
func (s *Store) ResolvePseudonym(ctx context.Context, pseudonym uuid.UUID) (Identity, error) {
	if s.key == nil {
		return Identity{}, ErrNoPrivacyKey
	}
	var row pseudonymRow
	tx := s.db.Lookups.WithContext(ctx).Where("id = ?", pseudonym).Limit(1).Find(&row)
	if tx.Error != nil {
		return Identity{}, fmt.Errorf("look for pseudonym: %w", tx.Error)
	}
	if tx.RowsAffected == 0 {
		return Identity{}, fmt.Errorf("pseudonym %s %w", pseudonym, ErrUnknown)
	}
	secret, err := s.key.Open(row.Sealed, pseudonym[:])
	if err != nil {
		return Identity{}, fmt.Errorf("pseudonym %s %w: %w", pseudonym, ErrUnknown, err)
	}
	var who Identity
	return who, json.Unmarshal(secret, &who)
}

// keptAs returns the pseudonyms of users that have one. A caller may name a user by the id of the control plane or by the pseudonym:
// the map has the id that the caller gave. A user without a pseudonym is absent.
func (s *Store) keptAs(tx *gorm.DB, users []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	kept := map[uuid.UUID]uuid.UUID{}
	if s.key == nil {
		return kept, nil
	}
	for batch := range slices.Chunk(users, readBatch/2) {
		named := make(map[uuid.UUID]uuid.UUID, 2*len(batch)) // the id that the caller gave, by the pseudonym
		for _, id := range batch {
			named[id], named[s.key.Pseudonym(id)] = id, id
		}
		var found []uuid.UUID
		if err := tx.Model(&pseudonymRow{}).Where("id IN ?", slices.Collect(maps.Keys(named))).Pluck("id", &found).Error; err != nil {
			return nil, fmt.Errorf("look for pseudonyms: %w", err)
		}
		for _, pseudonym := range found {
			kept[named[pseudonym]] = pseudonym
		}
	}
	return kept, nil
}

// idIn returns what a map holds for an id, or the id itself if the map does not have it.
func idIn(m map[uuid.UUID]uuid.UUID, id uuid.UUID) uuid.UUID {
	if other, mapped := m[id]; mapped {
		return other
	}
	return id
}

// idsToKeep returns the ids under which the store may keep something of users. Erased users are absent. A user that the catalog does
// not know has unknown organizations, so the user gets a pseudonym as soon as the mode of any organization hides names.
func (s *Store) idsToKeep(tx *gorm.DB, users []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	modes, err := readPrivacyModes(tx)
	if err != nil {
		return nil, err
	}
	erased, err := s.erased(tx, users)
	if err != nil {
		return nil, err
	}
	kept, err := s.keptAs(tx, users)
	if err != nil {
		return nil, err
	}
	var known map[uuid.UUID]uuid.UUID
	hide := modes.Strictest().AtLeast(PrivacyPseudonym)
	if hide {
		if known, err = parents(tx, "users", "id", users); err != nil {
			return nil, err
		}
	}
	ids := make(map[uuid.UUID]uuid.UUID, len(users))
	var strangers []Identity
	for _, user := range users {
		if erased[user] {
			continue
		}
		ids[user] = idIn(kept, user)
		if _, hidden := kept[user]; hidden || !hide || known[user] == user {
			continue
		}
		if s.key == nil {
			return nil, ErrNoPrivacyKey
		}
		strangers = append(strangers, Identity{UserID: user})
		ids[user] = s.key.Pseudonym(user)
	}
	return ids, sealIdentities(tx, s.key, strangers)
}

// KeptAs returns the id under which the store keeps a user: the pseudonym if there is one, or else the id itself.
func (s *Store) KeptAs(ctx context.Context, user uuid.UUID) (uuid.UUID, error) {
	kept, err := s.keptAs(s.db.Lookups.WithContext(ctx), []uuid.UUID{user})
	if pseudonym, hidden := kept[user]; hidden {
		return pseudonym, nil
	}
	return user, err
}

// Alias returns the id and the name of a user in an answer that hides others. Who has a pseudonym or no name keeps that. All others get
// one for such answers alone: if their own mode becomes stricter later, nobody knows their pseudonym from before.
func (s *Store) Alias(user uuid.UUID, username string) (uuid.UUID, string, error) {
	if username == DeletedUser || username == userAlias(user) {
		return user, username, nil
	}
	if s.key == nil {
		return uuid.Nil, "", ErrNoPrivacyKey
	}
	alias := s.key.Pseudonym(s.key.Pseudonym(user))
	return alias, userAlias(alias), nil
}

// userAlias is the username of a user with a pseudonym.
func userAlias(pseudonym uuid.UUID) string { return "user-" + hex.EncodeToString(pseudonym[:4]) }

// workspaceAlias is the name of a workspace if the privacy mode hides its own name.
func workspaceAlias(key *PrivacyKey, workspace uuid.UUID) string {
	pseudonym := key.Pseudonym(workspace)
	return "workspace-" + hex.EncodeToString(pseudonym[:4])
}

// sealIdentities writes the rows that lead from pseudonyms to their users. Of one user the last identity counts.
func sealIdentities(tx *gorm.DB, key *PrivacyKey, identities []Identity) error {
	sealed := make(map[uuid.UUID]pseudonymRow, len(identities))
	for _, who := range identities {
		pseudonym := key.Pseudonym(who.UserID)
		secret, err := json.Marshal(who)
		if err != nil {
			return fmt.Errorf("seal identity: %w", err)
		}
		sealed[pseudonym] = pseudonymRow{pseudonym, key.Seal(secret, pseudonym[:])}
	}
	if len(sealed) == 0 {
		return nil
	}
	rows := slices.SortedFunc(maps.Values(sealed), func(a, b pseudonymRow) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(rows, writeBatch).Error; err != nil {
		return fmt.Errorf("seal identities: %w", err)
	}
	return nil
}

// moveUsers gives every row of users another id, each of its own. A row that is there under the other id already wins over the row of
// the user, but persons stay beside each other: their usage is the user's. Of the audit trail moveUsers searches the targets from since on:
// the caller knows that no earlier target names the users. It returns the workspaces of the users.
func (s *Store) moveUsers(tx *gorm.DB, ids db.Pairs[uuid.UUID], since Instant) (workspaces []uuid.UUID, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	moved := s.db.Pairs("uuid") + ` AS moved`
	for _, statement := range []string{
		`UPDATE users SET id = moved.value FROM ` + moved + ` WHERE users.id = moved.id
			AND NOT EXISTS (SELECT 1 FROM users AS other WHERE other.id = moved.value)`,
		`DELETE FROM users WHERE id IN (SELECT moved.id FROM ` + moved + `)`,
		`UPDATE people SET user_id = moved.value, counted_as = COALESCE((SELECT other.person FROM people AS other
			WHERE other.user_id = moved.value AND other.counted_as IS NULL), people.counted_as)
			FROM ` + moved + ` WHERE people.user_id = moved.id`,
		`UPDATE group_members SET user_id = moved.value FROM ` + moved + ` WHERE group_members.user_id = moved.id
			AND NOT EXISTS (SELECT 1 FROM group_members AS other
			WHERE other.user_id = moved.value AND other.group_id = group_members.group_id
			AND other.from_at = group_members.from_at AND other.to_at = group_members.to_at)`,
		`DELETE FROM group_members WHERE user_id IN (SELECT moved.id FROM ` + moved + `)`,
		`UPDATE user_status_changes SET user_id = moved.value FROM ` + moved + ` WHERE user_status_changes.user_id = moved.id
			AND NOT EXISTS (SELECT 1 FROM user_status_changes AS other
			WHERE other.user_id = moved.value AND other.at = user_status_changes.at)`,
		`DELETE FROM user_status_changes WHERE user_id IN (SELECT moved.id FROM ` + moved + `)`,
		`UPDATE role_bindings SET principal_id = moved.value FROM ` + moved + `
			WHERE principal_kind = 'user' AND principal_id = moved.id AND NOT EXISTS (SELECT 1 FROM role_bindings AS other
			WHERE other.principal_kind = 'user' AND other.principal_id = moved.value AND other.role = role_bindings.role
			AND other.organization_id = role_bindings.organization_id AND other.template_id = role_bindings.template_id
			AND other.group_id = role_bindings.group_id)`,
		`DELETE FROM role_bindings WHERE principal_kind = 'user' AND principal_id IN (SELECT moved.id FROM ` + moved + `)`,
		`UPDATE tokens SET principal_id = moved.value FROM ` + moved + ` WHERE principal_kind = 'user' AND principal_id = moved.id`,
		`UPDATE audit_events SET principal_id = moved.value FROM ` + moved + ` WHERE principal_kind = 'user' AND principal_id = moved.id`,
	} {
		if err := tx.Exec(statement, ids).Error; err != nil {
			return nil, fmt.Errorf("move users: %w", err)
		}
	}
	err = tx.Raw(
		`UPDATE workspaces SET owner_id = moved.value FROM `+moved+` WHERE owner_id = moved.id RETURNING workspaces.id`, ids,
	).Scan(&workspaces).Error
	if err == nil {
		err = s.rewriteTrail(tx, func(target string) string {
			return replaceIDs(target, func(id uuid.UUID) (string, bool) {
				other, found := ids[id]
				return other.String(), found
			})
		}, `at >= ? AND target LIKE ?`, since, "%________-____-____-____-____________%")
	}
	if err != nil {
		return nil, fmt.Errorf("move users: %w", err)
	}
	return workspaces, nil
}

// rewriteTrail changes the targets of the events of the audit trail that meet a condition.
func (s *Store) rewriteTrail(tx *gorm.DB, change func(target string) string, condition string, args ...any) error {
	rows, err := tx.Model(&AuditEvent{}).Select("id", "target").Where(condition, args...).Rows()
	if err != nil {
		return fmt.Errorf("read audit events: %w", err)
	}
	changed := db.Pairs[string]{}
	var id uuid.UUID
	var target string
	err = db.FromSQL(rows).Each(func() error {
		if to := change(target); to != target {
			changed[id] = to
		}
		return nil
	}, &id, &target)
	if err = errors.Join(err, rows.Close()); err != nil {
		return fmt.Errorf("read audit events: %w", err)
	}
	if err := s.setTexts(tx, "audit_events", "target = given.value", changed); err != nil {
		return fmt.Errorf("write audit events: %w", err)
	}
	return nil
}

// setTexts gives rows of a table texts by their ids, with an assignment of given.value.
func (s *Store) setTexts(tx *gorm.DB, table, assignment string, texts db.Pairs[string]) error {
	ids := slices.SortedFunc(maps.Keys(texts), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for batch := range slices.Chunk(ids, readBatch) {
		given := make(db.Pairs[string], len(batch))
		for _, id := range batch {
			given[id] = texts[id]
		}
		err := tx.Exec(
			`UPDATE `+table+` SET `+assignment+` FROM `+s.db.Pairs("text")+` AS given WHERE `+table+`.id = given.id`, given,
		).Error
		if err != nil {
			return err
		}
	}
	return nil
}
