package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "no database")
	if err := os.WriteFile(file, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	blank, missing := filepath.Join(t.TempDir(), "empty.db"), filepath.Join(t.TempDir(), "missing.db")
	if err := os.WriteFile(blank, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := storetest.SQLite(t)
	s := storetest.Open(t, newer, storetest.Now)
	if err := s.ExecForTest("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, database string
		is             error
		says           []string
	}{
		{"empty", "", nil, []string{"sqlite:FILE", "postgres://"}},
		{"unknown kind", "mysql://x", nil, []string{"sqlite:FILE", "postgres://"}},
		{"no file", "sqlite:", nil, []string{"sqlite:insights.db"}},
		{"bad postgres URL", "postgres://u:pass%word@h/db", nil, []string{"percent-encoded"}},
		{"nobody listens", "postgres://u:hunter2@127.0.0.1:1/db", nil, []string{"postgres database db on 127.0.0.1:1"}},
		{"no such folder", "sqlite:/does/not/exist/insights.db", nil, []string{"/does/not/exist/insights.db"}},
		{"not a database", "sqlite:" + file, nil, []string{"no database", "not a database"}},
		{"not migrated", "sqlite:" + blank, store.ErrSchema, []string{"insights migrate"}},
		{"not migrated, Postgres", newDatabases["postgres"](t), store.ErrSchema, []string{"insights migrate"}},
		{"missing", "sqlite:" + missing, os.ErrNotExist, []string{missing, "insights migrate"}},
		{"newer schema", newer, store.ErrSchema, []string{"version 99", "newer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), store.Options{Database: c.database})
			if err == nil {
				t.Fatal("opened", s, s.Close())
			}
			if c.is != nil && !errors.Is(err, c.is) || !containsAll(err.Error(), c.says...) {
				t.Errorf("error: %v; want it to say %q", err, c.says)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pass%word") {
				t.Errorf("error shows the password: %v", err)
			}
			if _, err := os.Stat(missing); err == nil {
				t.Error("it made a database")
			}
		})
	}
	if err := store.Migrate(t.Context(), store.Options{Database: newer}); !errors.Is(err, store.ErrSchema) {
		t.Errorf("migrating a newer schema: %v", err)
	}
}

// Several servers that start at once on an empty database all find it migrated.
func TestMigrateAtOnce(t *testing.T) {
	for name, newDatabase := range newDatabases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := store.Options{Database: newDatabase(t)}
			var servers sync.WaitGroup
			for range 4 {
				servers.Go(func() {
					if err := store.Migrate(t.Context(), o); err != nil {
						t.Error(err)
					}
				})
			}
			servers.Wait()
			storetest.NewFixture(t, o.Database)
		})
	}
}

// Postgres ends questions that nobody waits for any more, and questions cannot write.
func TestReadSettings(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, storetest.Postgres(t), storetest.Now)
	for name, want := range map[string]string{"statement_timeout": "1min", "default_transaction_read_only": "on"} {
		if got, err := s.ReadSetting(name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

// What is acknowledged is on disk, and no plan is compiled, whatever the settings of the database are.
func TestWriteSettings(t *testing.T) {
	t.Parallel()
	for _, open := range []func(testing.TB) string{storetest.Postgres, storetest.Pooled} {
		s := storetest.Open(t, open(t), storetest.Now)
		for name, want := range map[string]string{
			"synchronous_commit": "on", "jit": "off", "enable_seqscan": "off", "plan_cache_mode": "force_generic_plan",
		} {
			for how, setting := range map[string]func(string) (string, error){
				"a statement": s.WriteSetting, "a transaction": s.TransactionSetting,
			} {
				if got, err := setting(name); err != nil || got != want {
					t.Errorf("%s of %s in %s is %q, %v; want %q", name, how, s, got, err, want)
				}
			}
		}
	}
}

// A pooler whose connections last for a transaction is found out at the start, and the error says what to do.
func TestPoolerNeedsToBeNamed(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	for code, settings := range map[string][]string{
		"08P01": nil,
		"42P05": {"ignore_startup_parameters = synchronous_commit, plan_cache_mode, enable_seqscan, jit, default_transaction_read_only," +
			" statement_timeout"},
	} {
		p, err := storetest.SharedCluster(t).StartPooler(1, settings...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}()
		for range 2 { // the second meets the statements of the first
			var s *store.Store
			if s, err = store.Open(t.Context(), store.Options{Database: p.URL(database)}); err == nil {
				defer s.Close()
			}
		}
		if err == nil || !strings.Contains(err.Error(), code) || !strings.Contains(err.Error(), "--database-pooler=transaction") {
			t.Errorf("%s: %v", code, err)
		}
		o := store.Options{Database: p.URL(database), Pooler: true}
		s, err := store.Open(t.Context(), o)
		if err != nil {
			t.Errorf("%s, named: %v", code, err)
			continue
		}
		defer s.Close()
		if err := store.Migrate(t.Context(), o); !errors.Is(err, store.ErrPooler) {
			t.Errorf("migrate: %v", err)
		}
		var backup bytes.Buffer
		if err := store.Backup(t.Context(), o, &backup); err != nil {
			t.Errorf("backup: %v", err)
		}
		if err := store.Restore(t.Context(), o, &backup); !errors.Is(err, store.ErrPooler) {
			t.Errorf("restore: %v", err)
		}
	}
	if _, err := store.Open(t.Context(), store.Options{Database: storetest.SQLite(t), Pooler: true}); err == nil {
		t.Error("a pooler before a file")
	}
}

// That the database, or what encodes for it, will never take a row is told apart from trouble that passes.
func TestRefusedRow(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.Postgres(t))
	if err := f.ExecForTest("SELECT CAST(? AS int2)", 1<<20); !errors.Is(err, store.ErrRefused) {
		t.Errorf("a number that no smallint holds: %v", err)
	}
	poison := f.Row(0, 0, 18, 1)
	poison.App = "nul\x00" // Postgres takes no NUL in text
	if err := f.Merge(t.Context(), []store.OpenRow{poison}); !errors.Is(err, store.ErrRefused) {
		t.Errorf("merging a row that Postgres refuses: %v", err)
	}
}

// A full or read-only disk is an error that says so, and what was acknowledged stays.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	f.MustMerge(t, f.Row(0, 0, 18, 1))
	if err := f.ExecForTest("PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	err := f.Merge(t.Context(), []store.OpenRow{f.Row(0, 0, 18, 2)})
	if err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("merging into a read-only database: %v", err)
	}
	if got := f.Ask(t).Activity[0].Minutes; got != 1 {
		t.Errorf("%d minutes, want 1", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	if err := f.ExecForTest("PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	var rows []store.OpenRow
	for range 2000 {
		rows = append(rows, store.OpenRow{Template: uuid.New(), Row: minute.Row{HalfHour: 1, Minutes: 1, App: strings.Repeat("x", 100)}})
	}
	err := f.Merge(t.Context(), rows)
	if err == nil || !strings.Contains(err.Error(), "full") || errors.Is(err, store.ErrRefused) {
		t.Errorf("merging into a full database: %v", err)
	}
}

// An answer that a pooler cut off is trouble that passes: Postgres was killed behind it.
func TestGarbledAnswer(t *testing.T) {
	t.Parallel()
	err := new(pgproto3.DataRow).Decode([]byte{0, 1, 0})
	if err == nil || !store.Unavailable(fmt.Errorf("read rows: %w", err)) {
		t.Errorf("not for now alone: %v", err)
	}
}
