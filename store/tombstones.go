package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// ErrNotListed means that the store cannot write the list of tombstones beside the privacy key. Without that list an older backup
// would bring erased users back, so the store erases nobody.
var ErrNotListed = errors.New("the list of erased users beside the privacy key cannot be written")

// tombstone is the keyed hash of an erased id: of a user, or of a workspace or an agent of an erased user. The tombstone of uuid.Nil
// is always there beside them: it tells with which privacy key the other tombstones were made.
type tombstone struct {
	Hash string
}

// Erased says which of the ids of users, workspaces and agents belong to users who were erased.
func (s *Store) Erased(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	return s.erased(s.lookups.WithContext(ctx), ids)
}

// erased is Erased within a transaction. Its answer is true until the transaction ends: an erasure waits for the transaction.
func (s *Store) erased(tx *gorm.DB, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	if any, err := s.anyTombstone(tx); err != nil || !any {
		return nil, err
	}
	erased := map[uuid.UUID]bool{}
	for batch := range slices.Chunk(ids, readBatch) {
		of := make(map[string]uuid.UUID, 2*len(batch))
		hashes := make([]string, 0, 2*len(batch))
		for _, id := range batch {
			// A user who was erased by the pseudonym has no other tombstone than that of the pseudonym.
			for _, hash := range []string{s.key.tombstone(id), s.key.tombstone(s.key.Pseudonym(id))} {
				of[hash], hashes = id, append(hashes, hash)
			}
		}
		var found []string
		if err := tx.Model(&tombstone{}).Where("hash IN ?", hashes).Pluck("hash", &found).Error; err != nil {
			return nil, fmt.Errorf("look for tombstones: %w", err)
		}
		for _, hash := range found {
			erased[of[hash]] = true
		}
	}
	return erased, nil
}

// anyTombstone reports whether the database has a tombstone. It fails with ErrNoPrivacyKey if there is one and the store has no key:
// without the key nobody can tell which id the tombstone stands for.
func (s *Store) anyTombstone(tx *gorm.DB) (bool, error) {
	var found []string
	if err := tx.Model(&tombstone{}).Limit(1).Pluck("hash", &found).Error; err != nil {
		return false, fmt.Errorf("look for tombstones: %w", err)
	}
	if len(found) > 0 && s.key == nil {
		return false, fmt.Errorf("users were erased and must not come back: %w", ErrNoPrivacyKey)
	}
	return len(found) > 0, nil
}

// bury writes the tombstones of ids into the list and into the database.
func (s *Store) bury(tx *gorm.DB, ids []uuid.UUID) error {
	hashes := make([]string, len(ids))
	for i, id := range ids {
		hashes[i] = s.key.tombstone(id)
	}
	// The list comes first: a tombstone that only the database has would be lost with the database.
	if err := s.key.list(hashes); err != nil {
		return err
	}
	return keepTombstones(tx, hashes)
}

func keepTombstones(tx *gorm.DB, hashes []string) error {
	if len(hashes) == 0 {
		return nil
	}
	rows := make([]tombstone, len(hashes))
	for i, hash := range hashes {
		rows[i].Hash = hash
	}
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(rows, writeBatch).Error; err != nil {
		return fmt.Errorf("keep tombstones: %w", err)
	}
	return nil
}

// Tombstones counts the tombstones. The number grows whenever any server erases a user.
func (s *Store) Tombstones(ctx context.Context) (n int64, err error) {
	if err := s.lookups.WithContext(ctx).Model(&tombstone{}).Count(&n).Error; err != nil {
		return 0, fmt.Errorf("count tombstones: %w", err)
	}
	return n, nil
}

// SyncTombstones adds the tombstones of the database to the list beside the privacy key, and the tombstones of the list to the
// database, because an older backup of the database lacks some of the list. It fails if another privacy key made the tombstones, and
// with ErrNoPrivacyKey if there are tombstones and the store has no key.
func (s *Store) SyncTombstones(ctx context.Context) error {
	if s.key == nil {
		_, err := s.anyTombstone(s.lookups.WithContext(ctx))
		return err
	}
	listed, err := s.key.listed()
	if err != nil {
		return err
	}
	var kept []string
	if err := s.lookups.WithContext(ctx).Model(&tombstone{}).Pluck("hash", &kept).Error; err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	for where, hashes := range map[string][]string{s.key.listFile(): listed, s.String(): kept} {
		if len(hashes) > 0 && !slices.Contains(hashes, s.key.tombstone(uuid.Nil)) {
			return fmt.Errorf(
				"%s has tombstones of erased users that were made with another privacy key than that in %s", where, s.key.file,
			)
		}
	}
	if err := s.key.list(kept); err != nil {
		return err
	}
	missing := missingFrom(listed, kept)
	if len(missing) == 0 {
		return nil
	}
	return s.inTransaction(ctx, func(tx *gorm.DB) error { return keepTombstones(tx, missing) })
}

// missingFrom returns the texts of a list that the other list does not have.
func missingFrom(list, other []string) []string {
	has := make(map[string]bool, len(other))
	for _, text := range other {
		has[text] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(text string) bool { return has[text] })
}
