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
// a logical backup of Postgres says, of each node. Words go by what they are.
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
		var all []byte
		for _, node := range append(CitusWorkers(database), database) {
			backup := exec.Command(filepath.Join(PostgresPrograms(t), "pg_dump"), node)
			backup.Env = append(os.Environ(), // which only Citus knows
				"PGOPTIONS=-c citus.show_shards_for_app_name_prefixes=* -c citus.enable_manual_changes_to_shards=on")
			out, err := backup.Output()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, out...)
		}
		return all
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
