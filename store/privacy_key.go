package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/uuid"
)

// ErrNoPrivacyKey means that what was asked for needs the privacy key, and the store was opened without.
var ErrNoPrivacyKey = errors.New("there is no privacy key: see --privacy-key-file")

// PrivacyKey is a secret that is kept outside the database: what was made with it means nothing to who has the database alone.
// It is safe for concurrent use.
type PrivacyKey struct {
	file                   string
	tombstones, pseudonyms []byte // keys of their own, so that none says anything about another
	seal                   cipher.AEAD
}

// privacyKeySize is the size of the secret in bytes. Its file holds it as hexadecimal digits.
const privacyKeySize = 32

// ReadPrivacyKey reads the key in a file: 64 hexadecimal digits.
func ReadPrivacyKey(file string) (*PrivacyKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read privacy key: %w", err)
	}
	secret, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(secret) != privacyKeySize { // the error would repeat a part of the key
		return nil, fmt.Errorf(
			"read privacy key: %s does not hold %d hexadecimal digits, which openssl rand -hex %d makes", file, 2*privacyKeySize,
			privacyKeySize,
		)
	}
	return newPrivacyKey(file, secret)
}

// CreatePrivacyKey reads the key in a file, which it makes first if there is none, for its owner alone. Of several programs
// that make it at once all return the same.
func CreatePrivacyKey(file string) (*PrivacyKey, error) {
	key, err := ReadPrivacyKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	secret := make([]byte, privacyKeySize)
	rand.Read(secret) // it never fails
	if err := writeOnce(file, hex.AppendEncode(nil, secret)); err != nil {
		return nil, fmt.Errorf("make privacy key: %w", err)
	}
	return ReadPrivacyKey(file)
}

// writeOnce writes a line into a new file that appears whole or not at all, unless it is there already.
func writeOnce(file string, line []byte) error {
	draft := file + "." + rand.Text()
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		if err = os.Link(draft, file); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	return errors.Join(err, os.Remove(draft))
}

func newPrivacyKey(file string, secret []byte) (*PrivacyKey, error) {
	derived := map[string][]byte{}
	for _, purpose := range []string{"tombstone", "pseudonym", "seal"} {
		key, err := hkdf.Key(sha256.New, secret, nil, "template insights "+purpose, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive privacy keys: %w", err)
		}
		derived[purpose] = key
	}
	block, err := aes.NewCipher(derived["seal"])
	if err != nil {
		return nil, fmt.Errorf("derive privacy keys: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("derive privacy keys: %w", err)
	}
	return &PrivacyKey{file, derived["tombstone"], derived["pseudonym"], aead}, nil
}

// File returns the file that the key came from.
func (k *PrivacyKey) File() string { return k.file }

// Tombstone is what remains of an erased user: enough to know them again when somebody brings them back, and with that only.
func (k *PrivacyKey) Tombstone(user uuid.UUID) [sha256.Size]byte {
	return [sha256.Size]byte(mac(k.tombstones, user))
}

// tombstone is the hash of an id as it is kept, in hexadecimal digits.
func (k *PrivacyKey) tombstone(id uuid.UUID) string {
	hash := k.Tombstone(id)
	return hex.EncodeToString(hash[:])
}

// Pseudonym returns the id under which a user appears where users have no names: always the same, and nobody else's. It is a UUID of
// version 8.
func (k *PrivacyKey) Pseudonym(user uuid.UUID) uuid.UUID {
	id := uuid.UUID(mac(k.pseudonyms, user)[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

func mac(key []byte, user uuid.UUID) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(user[:])
	return h.Sum(nil)
}

// Seal encrypts a secret that only Open with the same key and the same label reads. A label says where the secret belongs, so
// that it means nothing anywhere else.
func (k *PrivacyKey) Seal(secret, label []byte) []byte { return k.seal.Seal(nil, nil, secret, label) }

// Open decrypts what Seal made. It fails for everything else.
func (k *PrivacyKey) Open(sealed, label []byte) ([]byte, error) {
	secret, err := k.seal.Open(nil, nil, sealed, label)
	if err != nil {
		return nil, errors.New("open sealed secret: it was made with another privacy key, or for another place")
	}
	return secret, nil
}
