package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// ErrNotListed means that the store cannot write the list of tombstones outside the database. Without that list an older backup would
// bring erased users back, so the store erases nobody.
var ErrNotListed = errors.New("the list of erased users cannot be written")

// tombstone is the keyed hash of an erased id: of a user, or of a workspace or an agent of an erased user. The tombstone of uuid.Nil
// is always there beside them: it tells with which privacy key the other tombstones were made.
type tombstone struct {
	Hash string
}

// Erased says which of the ids of users, workspaces and agents belong to users who were erased.
func (s *Store) Erased(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	return s.erased(s.db.Lookups.WithContext(ctx), ids)
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
	if err := s.list.add(hashes); err != nil {
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
	if err := s.db.Lookups.WithContext(ctx).Model(&tombstone{}).Count(&n).Error; err != nil {
		return 0, fmt.Errorf("count tombstones: %w", err)
	}
	return n, nil
}

// CanErase fails if the store cannot erase anybody: with ErrNoPrivacyKey, or with ErrNotListed.
func (s *Store) CanErase() error {
	if s.key == nil {
		return ErrNoPrivacyKey
	}
	return s.list.add(nil)
}

// SyncTombstones adds the tombstones of the list to the database, because an older backup of the database lacks some of the list, and
// the tombstones of the database to the list, because other servers have lists of their own. It fails if another privacy key made the
// tombstones, with ErrNoPrivacyKey if there are tombstones and the store has no key, and with ErrNotListed if the database has all
// tombstones and the list cannot.
func (s *Store) SyncTombstones(ctx context.Context) error {
	if s.key == nil {
		_, err := s.anyTombstone(s.db.Lookups.WithContext(ctx))
		return err
	}
	listed, err := s.list.read()
	if err != nil {
		return err
	}
	var kept []string
	if err := s.db.Lookups.WithContext(ctx).Model(&tombstone{}).Pluck("hash", &kept).Error; err != nil {
		return fmt.Errorf("read tombstones: %w", err)
	}
	for where, hashes := range map[string][]string{string(s.list): listed, s.String(): kept} {
		if len(hashes) > 0 && !slices.Contains(hashes, s.key.tombstone(uuid.Nil)) {
			return fmt.Errorf(
				"%s has tombstones of erased users that were made with another privacy key than that in %s", where, s.key.file,
			)
		}
	}
	missing := missingFrom(listed, kept)
	if len(missing) > 0 {
		if err := s.db.InTransaction(ctx, func(tx *gorm.DB) error { return keepTombstones(tx, missing) }); err != nil {
			return err
		}
	}
	return s.list.add(kept)
}

// erasedList is the file with the list of tombstones, one in a line. Each server may have a list of its own.
type erasedList string

// read returns the tombstones of the list.
func (l erasedList) read() ([]string, error) {
	text, err := os.ReadFile(string(l))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read list of erased users: %w", err)
	}
	// A line that a crash cut off means nothing.
	return slices.DeleteFunc(strings.Fields(string(text)), func(line string) bool {
		return len(line) != hex.EncodedLen(privacyKeySize)
	}), nil
}

// add adds tombstones that are not there yet to the list, durably. It makes the file even for none, so that it fails with ErrNotListed
// wherever it would fail for one. Several servers may do it at once.
func (l erasedList) add(hashes []string) error {
	listed, err := l.read()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(string(l), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotListed, err)
	}
	if missing := missingFrom(hashes, listed); len(missing) > 0 {
		var lines bytes.Buffer
		for _, hash := range missing {
			lines.WriteString("\n" + hash) // not behind a line that a crash cut off
		}
		lines.WriteByte('\n')
		_, err = f.Write(lines.Bytes())
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrNotListed, err)
	}
	return nil
}

// missingFrom returns the texts of a list that the other list does not have.
func missingFrom(list, other []string) []string {
	has := make(map[string]bool, len(other))
	for _, text := range other {
		has[text] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(text string) bool { return has[text] })
}
