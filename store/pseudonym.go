package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
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
	tx := s.lookups.WithContext(ctx).Where("id = ?", pseudonym).Limit(1).Find(&row)
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
		if err := sealIdentity(tx, s.key, Identity{UserID: user}); err != nil {
			return nil, err
		}
		ids[user] = s.key.Pseudonym(user)
	}
	return ids, nil
}

// KeptAs returns the id under which the store keeps a user: the pseudonym if there is one, or else the id itself.
func (s *Store) KeptAs(ctx context.Context, user uuid.UUID) (uuid.UUID, error) {
	kept, err := s.keptAs(s.lookups.WithContext(ctx), []uuid.UUID{user})
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

// sealIdentity writes the row that leads from a pseudonym to its user.
func sealIdentity(tx *gorm.DB, key *PrivacyKey, who Identity) error {
	pseudonym := key.Pseudonym(who.UserID)
	secret, err := json.Marshal(who)
	if err == nil {
		row := pseudonymRow{pseudonym, key.Seal(secret, pseudonym[:])}
		err = tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error
	}
	if err != nil {
		return fmt.Errorf("seal identity: %w", err)
	}
	return nil
}

// moveUser gives every row of a user another id. A row that is there under the other id already wins over the row of the user. Of the
// audit trail moveUser searches the targets from since on: the caller knows that no earlier target names the user. It returns the
// workspaces of the user.
func moveUser(tx *gorm.DB, from, to uuid.UUID, since Instant) (workspaces []uuid.UUID, err error) {
	for _, statement := range []string{
		`UPDATE users SET id = @to WHERE id = @from AND NOT EXISTS (SELECT 1 FROM users WHERE id = @to)`,
		`DELETE FROM users WHERE id = @from`,
		`UPDATE subjects SET user_id = @to WHERE user_id = @from AND NOT EXISTS (SELECT 1 FROM subjects WHERE user_id = @to)`,
		`DELETE FROM subjects WHERE user_id = @from`,
		`UPDATE group_members SET user_id = @to WHERE user_id = @from AND NOT EXISTS (SELECT 1 FROM group_members AS other
			WHERE other.user_id = @to AND other.group_id = group_members.group_id)`,
		`DELETE FROM group_members WHERE user_id = @from`,
		`UPDATE user_status_changes SET user_id = @to WHERE user_id = @from AND NOT EXISTS (SELECT 1 FROM user_status_changes AS other
			WHERE other.user_id = @to AND other.at = user_status_changes.at)`,
		`DELETE FROM user_status_changes WHERE user_id = @from`,
		`UPDATE role_bindings SET principal_id = @to WHERE principal_kind = 'user' AND principal_id = @from
			AND NOT EXISTS (SELECT 1 FROM role_bindings AS other
			WHERE other.principal_kind = 'user' AND other.principal_id = @to AND other.role = role_bindings.role
			AND other.organization_id = role_bindings.organization_id AND other.template_id = role_bindings.template_id)`,
		`DELETE FROM role_bindings WHERE principal_kind = 'user' AND principal_id = @from`,
		`UPDATE tokens SET principal_id = @to WHERE principal_kind = 'user' AND principal_id = @from`,
		`UPDATE audit_events SET principal_id = @to WHERE principal_kind = 'user' AND principal_id = @from`,
	} {
		if err := tx.Exec(statement, map[string]any{"from": from, "to": to}).Error; err != nil {
			return nil, fmt.Errorf("move user: %w", err)
		}
	}
	err = tx.Raw(`UPDATE workspaces SET owner_id = ? WHERE owner_id = ? RETURNING id`, to, from).Scan(&workspaces).Error
	if err != nil {
		return nil, fmt.Errorf("move user: %w", err)
	}
	err = tx.Exec(
		`UPDATE audit_events SET target = REPLACE(target, ?, ?) WHERE at >= ? AND target LIKE ?`, from.String(), to.String(), since,
		"%"+from.String()+"%",
	).Error
	if err != nil {
		return nil, fmt.Errorf("move user: %w", err)
	}
	return workspaces, nil
}
