package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Errors of page tokens.
var (
	ErrPageToken      = errors.New("page token is not one of this database and list")
	ErrPageTokenModes = errors.New("page token was made under other privacy modes")
)

// PageTokenKey seals where lists go on, so that callers can keep it and not read it: it may be a name. All servers of a database
// have the same key. What is sealed is good as long as no privacy mode changes, for that changes the names that lists are in order of.
type PageTokenKey struct {
	aead  cipher.AEAD
	modes []byte // hash of the privacy modes that hold
}

// PageTokenKey returns the key of the database, which the first call makes.
func (s *Store) PageTokenKey(ctx context.Context) (PageTokenKey, error) {
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return PageTokenKey{}, err
	}
	key := PageTokenKey{modes: modes.hash()}
	secret, err := s.pageTokenSecret(ctx)
	if err == nil {
		var block cipher.Block
		if block, err = aes.NewCipher(secret); err == nil {
			key.aead, err = cipher.NewGCMWithRandomNonce(block)
		}
	}
	if err != nil {
		return PageTokenKey{}, fmt.Errorf("read key of page tokens: %w", err)
	}
	return key, nil
}

// pageTokenSecret is what all servers read. Of several that make it at once one wins.
func (s *Store) pageTokenSecret(ctx context.Context) ([]byte, error) {
	const read = `SELECT secret FROM page_token_keys`
	var found []string
	err := s.db.Lookups.WithContext(ctx).Raw(read).Scan(&found).Error
	if err == nil && len(found) == 0 {
		secret := make([]byte, sha256.Size)
		rand.Read(secret) // it never fails
		err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
			made := tx.Exec(
				`INSERT INTO page_token_keys (id, secret) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`, hex.EncodeToString(secret),
			)
			return errors.Join(made.Error, tx.Raw(read).Scan(&found).Error)
		})
	}
	if err != nil {
		return nil, s.db.Classify(err)
	}
	return hex.DecodeString(found[0])
}

// hash is another one after each change of a mode, and when what was stored before is treated as a mode says.
func (m PrivacyModes) hash() []byte {
	h := sha256.New()
	for _, id := range slices.SortedFunc(maps.Keys(m.set), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		r := m.set[id]
		fmt.Fprintf(h, "%s %s %d %d\n", id, r.Mode, r.Since.micros(), r.TreatedAt.micros())
	}
	return h.Sum(nil)
}

// Seal encrypts a place in the list that answers a question.
func (k PageTokenKey) Seal(place, question []byte) []byte {
	return k.aead.Seal(nil, nil, append(slices.Clone(k.modes), place...), question)
}

// Open decrypts what Seal made for the same question. It fails with ErrPageToken for everything else, and with ErrPageTokenModes if
// a privacy mode has changed since.
func (k PageTokenKey) Open(sealed, question []byte) (place []byte, err error) {
	text, err := k.aead.Open(nil, nil, sealed, question)
	if err != nil {
		return nil, ErrPageToken
	}
	place, current := bytes.CutPrefix(text, k.modes)
	if !current {
		return nil, ErrPageTokenModes
	}
	return place, nil
}
