package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
)

// settleTime bounds how long a call that began before a change of a privacy mode may still run.
const settleTime = 90 * time.Second

// treatBatch bounds the users or workspaces of one transaction.
const treatBatch = 500

// Treat applies the privacy modes to rows that are older than the modes: users get pseudonyms, workspaces get other names, builds lose
// free text, and Treat deletes latencies. If the context or the process ends before, the next call goes on. Several servers may call
// Treat at once. A mode counts as treated once a call that began settleTime after the change of the mode is done: until then a server
// may still write rows by the mode before.
func (s *Store) Treat(ctx context.Context) error {
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return err
	}
	var due []privacyModeRow
	for _, r := range modes.set {
		if r.TreatedAt.IsZero() {
			due = append(due, r)
		}
	}
	if len(due) == 0 {
		return nil
	}
	begin := s.clock()
	for _, step := range []func(context.Context, PrivacyModes) error{s.hideUsers, s.hideWorkspaces, s.hideChoices, s.dropLatencies} {
		if err := step(ctx, modes); err != nil {
			return fmt.Errorf("treat what is stored by the privacy modes: %w", err)
		}
	}
	due = slices.DeleteFunc(due, func(r privacyModeRow) bool { return begin.Sub(r.Since.Time) < settleTime })
	if len(due) == 0 {
		return nil
	}
	if err := s.db.Scrub(ctx); err != nil {
		return err
	}
	for _, r := range due {
		err := s.db.Write(ctx, func(db *gorm.DB) error {
			return db.Model(&privacyModeRow{}).Where(
				"organization_id = ? AND mode = ? AND since = ?", r.OrganizationID, r.Mode, r.Since,
			).Update("treated_at", At(s.clock())).Error
		})
		if err != nil {
			return fmt.Errorf("note that a privacy mode is treated: %w", err)
		}
	}
	return nil
}

// UsersToHide counts the users that need a pseudonym and have none yet.
func (s *Store) UsersToHide(ctx context.Context) (int, error) {
	modes, err := s.PrivacyModes(ctx)
	if err != nil || !modes.Strictest().AtLeast(PrivacyPseudonym) {
		return 0, err
	}
	users, err := s.usersToHide(ctx, modes)
	return len(users), err
}

func (s *Store) usersToHide(ctx context.Context, modes PrivacyModes) ([]User, error) {
	var named []User
	err := s.db.Lookups.WithContext(ctx).Select("id", "username", "organization_ids").Where(
		"id NOT IN (SELECT id FROM pseudonyms) AND username <> ?", DeletedUser,
	).Find(&named).Error
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	hide := slices.DeleteFunc(named, func(u User) bool { return !modes.OfUser(u.OrganizationIDs).AtLeast(PrivacyPseudonym) })
	if !modes.Strictest().AtLeast(PrivacyPseudonym) {
		return hide, nil
	}
	var strangers []User // the catalog does not know them, so their organizations are unknown
	err = s.db.Lookups.WithContext(ctx).Raw(
		`SELECT id FROM (` + namedUsers + `) AS named WHERE id NOT IN (SELECT id FROM users) AND id NOT IN (SELECT id FROM pseudonyms)`,
	).Scan(&strangers).Error
	if err != nil {
		return nil, fmt.Errorf("read ids of users: %w", err)
	}
	return append(hide, strangers...), nil
}

func (s *Store) hideUsers(ctx context.Context, modes PrivacyModes) error {
	users, err := s.usersToHide(ctx, modes)
	if err != nil || len(users) == 0 {
		return err
	}
	if s.key == nil {
		return ErrNoPrivacyKey
	}
	defer s.catalogChanges.Add(1)
	defer s.accessChanges.Add(1)
	for batch := range slices.Chunk(users, treatBatch) {
		err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
			ids, aliases, identities := db.Pairs[uuid.UUID]{}, db.Pairs[string]{}, make([]Identity, len(batch))
			for i, u := range batch {
				pseudonym := s.key.Pseudonym(u.ID)
				ids[u.ID], aliases[pseudonym], identities[i] = pseudonym, userAlias(pseudonym), Identity{u.ID, u.Username}
			}
			if err := sealIdentities(tx, s.key, identities); err != nil {
				return err
			}
			changed, err := s.moveUsers(tx, ids, Instant{})
			if err != nil {
				return err
			}
			if err := s.setTexts(tx, "users", "username = given.value, avatar_url = ''", aliases); err != nil {
				return err
			}
			if err := raiseVersion(tx, changed); err != nil {
				return err
			}
			return raiseNames(tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hideWorkspaces renames workspaces if the owner has a pseudonym or the mode of the template hides names.
func (s *Store) hideWorkspaces(ctx context.Context, modes PrivacyModes) error {
	if !modes.Strictest().AtLeast(PrivacyPseudonym) {
		return nil
	}
	if s.key == nil {
		return ErrNoPrivacyKey
	}
	strict, err := s.templatesFrom(ctx, modes, PrivacyPseudonym)
	if err != nil {
		return err
	}
	var workspaces []Workspace
	err = s.db.Lookups.WithContext(ctx).Select("id", "name", "template_id", "owner_id").
		Where("template_id IN ? OR owner_id IN (SELECT id FROM pseudonyms)", strict).Find(&workspaces).Error
	if err != nil {
		return fmt.Errorf("read workspaces: %w", err)
	}
	workspaces = slices.DeleteFunc(workspaces, func(w Workspace) bool { return w.Name == workspaceAlias(s.key, w.ID) })
	for batch := range slices.Chunk(workspaces, treatBatch) {
		aliases := db.Pairs[string]{}
		for _, w := range batch {
			aliases[w.ID] = workspaceAlias(s.key, w.ID)
		}
		err := s.db.InTransaction(ctx, func(tx *gorm.DB) error { return s.setTexts(tx, "workspaces", "name = given.value", aliases) })
		if err != nil {
			return err
		}
	}
	return nil
}

// templatesFrom returns the templates of all organizations with the given mode or a stricter one.
func (s *Store) templatesFrom(ctx context.Context, modes PrivacyModes, least PrivacyMode) ([]uuid.UUID, error) {
	organizations, err := s.OrganizationsOf(ctx, nil)
	if err != nil {
		return nil, err
	}
	var strict []uuid.UUID
	for template, organization := range organizations {
		if modes.Of(organization).AtLeast(least) {
			strict = append(strict, template)
		}
	}
	slices.SortFunc(strict, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return strict, nil
}

// hideChoices removes free text from the builds of a template if the mode of the template hides names.
func (s *Store) hideChoices(ctx context.Context, modes PrivacyModes) error {
	strict, err := s.templatesFrom(ctx, modes, PrivacyPseudonym)
	if err != nil {
		return err
	}
	for _, template := range strict {
		var versions []TemplateVersion
		if err := s.db.Lookups.WithContext(ctx).Where("template_id = ?", template).Find(&versions).Error; err != nil {
			return fmt.Errorf("read template versions: %w", err)
		}
		of := map[uuid.UUID]TemplateVersion{}
		for _, v := range versions {
			of[v.ID] = v
		}
		var builds []Build
		if err := s.db.Lookups.WithContext(ctx).Select(
			"id", "template_version_id", "parameters",
		).Where("template_id = ?", template).Find(&builds).Error; err != nil {
			return fmt.Errorf("read builds: %w", err)
		}
		parameters := db.Pairs[string]{}
		for _, b := range builds {
			kept := withoutFreeText(slices.Clone(b.Parameters), of[b.TemplateVersionID])
			if len(kept) == len(b.Parameters) {
				continue
			}
			text, err := json.Marshal(kept)
			if err != nil {
				return fmt.Errorf("write builds: %w", err)
			}
			parameters[b.ID] = string(text)
		}
		if len(parameters) == 0 {
			continue
		}
		err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
			if err := s.setTexts(tx, "builds", "parameters = given.value", parameters); err != nil {
				return err
			}
			return raiseParameters(tx, "id = ?", template)
		})
		if err != nil {
			return fmt.Errorf("write builds: %w", err)
		}
	}
	return nil
}

// dropLatencies deletes the latencies of the templates whose mode keeps none.
func (s *Store) dropLatencies(ctx context.Context, modes PrivacyModes) error {
	strict, err := s.templatesFrom(ctx, modes, PrivacyAggregate)
	if err != nil {
		return err
	}
	return s.usage.DropLatencies(ctx, strict)
}
