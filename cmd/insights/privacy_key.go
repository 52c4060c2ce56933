package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/template-insights/insights/store"
)

// privacyKeyFlag says where the privacy key of a database is.
type privacyKeyFlag struct {
	PrivacyKeyFile string `env:"INSIGHTS_PRIVACY_KEY_FILE" placeholder:"FILE" help:"A file with the key that keeps erased users away and hides others: 64 hexadecimal digits, the same for all servers of a database. SQLite: made beside the database unless given."`
	ErasedList     string `env:"INSIGHTS_ERASED_LIST" placeholder:"FILE" help:"A file that keeps who was erased away when an older backup of the database comes back, as keyed hashes. It outlives server and database; each server may have its own. Default: the file of the key with .erased behind its name."`
}

// openFor reads the key. A file that is named must be there. Otherwise a SQLite database has one beside it, and Postgres, which
// several servers may share, has none: nil.
func (f privacyKeyFlag) openFor(database string) (*store.PrivacyKey, error) {
	if f.PrivacyKeyFile != "" {
		return store.ReadPrivacyKey(f.PrivacyKeyFile)
	}
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok && path != "" {
		return store.CreatePrivacyKey(path + ".key")
	}
	return nil, nil
}

// check fails with what openFor would fail with, and makes no key.
func (f privacyKeyFlag) check(database string) error {
	file := f.PrivacyKeyFile
	if path, ok := strings.CutPrefix(database, "sqlite:"); file == "" && ok {
		file = path + ".key"
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if file == "" {
		return nil
	}
	_, err := store.ReadPrivacyKey(file)
	return err
}
