package storetest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// Traces are the words that a database holds, as text, as bytes or as hexadecimal digits: in the files of SQLite, or in what
// a logical backup of Postgres says. Words go by what they are.
func Traces(t testing.TB, database string, words map[string]string) (found []string) {
	t.Helper()
	all := bytes.ToLower(dump(t, database))
	for what, word := range words {
		forms := [][]byte{[]byte(word), []byte(hex.EncodeToString([]byte(word)))}
		if id, err := uuid.Parse(word); err == nil {
			forms = append(forms, id[:], []byte(hex.EncodeToString(id[:])))
		}
		for _, form := range forms {
			if bytes.Contains(all, bytes.ToLower(form)) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

func dump(t testing.TB, database string) []byte {
	t.Helper()
	file, ok := strings.CutPrefix(database, "sqlite:")
	if !ok {
		out, err := exec.Command(filepath.Join(PostgresPrograms(t), "pg_dump"), database).Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var all []byte
	for _, suffix := range []string{"", "-wal", "-shm"} {
		part, err := os.ReadFile(file + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, part...)
	}
	return all
}
