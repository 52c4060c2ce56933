package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
)

// newPrivacyKey makes a key in a file of its own.
func newPrivacyKey(t *testing.T) *store.PrivacyKey {
	t.Helper()
	key, err := store.CreatePrivacyKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPrivacyKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "key")
	user := uuid.New()
	pseudonyms := make([]uuid.UUID, 8)
	var making sync.WaitGroup
	for i := range pseudonyms {
		making.Go(func() {
			key, err := store.CreatePrivacyKey(file)
			if err != nil {
				t.Error(err)
				return
			}
			pseudonyms[i] = key.Pseudonym(user)
		})
	}
	making.Wait()
	key, err := store.ReadPrivacyKey(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pseudonyms {
		if p != key.Pseudonym(user) {
			t.Errorf("pseudonyms %s and %s of one user: there is more than one key", p, key.Pseudonym(user))
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 || info.Size() != 65 {
		t.Errorf("key file: %v, %v; want 65 bytes for its owner alone", info, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("beside the key: %v, %v", left, err)
	}
}

func TestPrivacyKeyFileErrors(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "short": strings.Repeat("a", 63), "long": strings.Repeat("a", 66), "no digits": strings.Repeat("g", 64),
	} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, open := range []func(string) (*store.PrivacyKey, error){store.ReadPrivacyKey, store.CreatePrivacyKey} {
			_, err := open(file)
			if err == nil || !containsAll(err.Error(), file, "openssl rand -hex 32") ||
				text != "" && strings.Contains(err.Error(), text[:8]) {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
	missing := filepath.Join(folder, "no such folder", "key")
	for _, open := range []func(string) (*store.PrivacyKey, error){store.ReadPrivacyKey, store.CreatePrivacyKey} {
		if _, err := open(missing); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("missing folder: error %v", err)
		}
	}
}

// What one key makes is stable, different for each user and purpose, and means nothing to another key.
func TestPrivacyKeyDerives(t *testing.T) {
	t.Parallel()
	a, b := newPrivacyKey(t), newPrivacyKey(t)
	again, err := store.ReadPrivacyKey(a.File())
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := uuid.New(), uuid.New()
	if a.Tombstone(alice) != again.Tombstone(alice) || a.Pseudonym(alice) != again.Pseudonym(alice) {
		t.Error("the same key makes different things of one user")
	}
	if a.Tombstone(alice) == a.Tombstone(bob) || a.Tombstone(alice) == b.Tombstone(alice) {
		t.Error("tombstones of different users or keys are equal")
	}
	if a.Pseudonym(alice) == a.Pseudonym(bob) || a.Pseudonym(alice) == b.Pseudonym(alice) {
		t.Error("pseudonyms of different users or keys are equal")
	}
	p, tombstone := a.Pseudonym(alice), a.Tombstone(alice)
	if bytes.Equal(p[:6], tombstone[:6]) {
		t.Error("pseudonyms and tombstones come from the same key")
	}
	if p.Version() != 8 || p.Variant() != uuid.RFC4122 {
		t.Errorf("pseudonym %s is version %d of variant %s", p, p.Version(), p.Variant())
	}
	secret, label := []byte("who it was"), []byte("users")
	sealed := a.Seal(secret, label)
	if bytes.Contains(sealed, secret) || bytes.Equal(sealed, a.Seal(secret, label)) {
		t.Errorf("sealed: %q", sealed)
	}
	if opened, err := again.Open(sealed, label); err != nil || !bytes.Equal(opened, secret) {
		t.Errorf("opened: %q, %v", opened, err)
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return b.Open(sealed, label) },
		"another label": func() ([]byte, error) { return a.Open(sealed, []byte("groups")) },
		"damaged":       func() ([]byte, error) { return a.Open(damaged, label) },
		"nothing":       func() ([]byte, error) { return a.Open(nil, label) },
	} {
		if opened, err := open(); err == nil {
			t.Errorf("%s opened it: %q", name, opened)
		}
	}
}
