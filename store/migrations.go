package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/template-insights/insights/store/replica"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationFiles is the folder of migrations as one kind of database sees it. A file whose name ends in a kind, like
// 00001_initial.sqlite.sql, is for that kind alone, any other file is for both kinds.
type migrationFiles struct {
	fs.FS
	kind string
}

// ReadDir implements [fs.ReadDirFS].
func (m migrationFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	files, err := fs.ReadDir(m.FS, name)
	return slices.DeleteFunc(files, func(f fs.DirEntry) bool {
		_, kind, only := strings.Cut(strings.TrimSuffix(f.Name(), ".sql"), ".")
		return only && kind != m.kind
	}), err
}

// ErrSchema means that the tables in the database are not the ones this program works with.
var ErrSchema = errors.New("database schema")

// ErrPooler means that a migration was to run through a pooler, and needs a session of Postgres itself.
var ErrPooler = errors.New("migrations need Postgres itself, not its pooler: see --migration-database")

func (postgresDialect) goose() (goose.Dialect, string, []goose.ProviderOption, error) {
	locker, err := lock.NewPostgresSessionLocker()
	return goose.DialectPostgres, "postgres", []goose.ProviderOption{goose.WithSessionLocker(locker)}, err
}

func (sqliteDialect) goose() (goose.Dialect, string, []goose.ProviderOption, error) {
	return goose.DialectSQLite3, "sqlite", nil, nil
}

// provider knows the migrations of this program and those of the database.
func (s *Store) provider() (*goose.Provider, error) {
	name, kind, options, err := s.dialect.goose()
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	raw, err := s.writes.DB()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(name, raw, migrationFiles{files, kind}, options...)
}

// versions are the schema that the database has and the one that this program works with. It fails with errHalfRestored as well. Unlike
// goose it makes no table where there is none.
func (s *Store) versions(ctx context.Context) (have, want int64, err error) {
	have, want, tables, err := s.readVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read schema version of %s: %w", s, s.dialect.classify(err))
	}
	if have > want {
		return have, want, fmt.Errorf(
			"%w of %s is version %d, newer than %d, the newest that this program knows: run the newer program", ErrSchema, s, have, want,
		)
	}
	if slices.Contains(tables, restoreMark) {
		return have, want, fmt.Errorf("%s: %w", s, errHalfRestored)
	}
	return have, want, nil
}

func (s *Store) readVersions(ctx context.Context) (have, want int64, tables []string, err error) {
	p, err := s.provider()
	if err != nil {
		return 0, 0, nil, err
	}
	sources := p.ListSources()
	want = sources[len(sources)-1].Version
	db := s.writes.WithContext(ctx)
	tables, err = s.tables(db)
	if err == nil && slices.Contains(tables, versionTable) {
		err = db.Raw(`SELECT COALESCE(MAX(version_id), 0) FROM ` + versionTable).Row().Scan(&have)
	}
	return have, want, tables, err
}

func (s *Store) checkSchema(ctx context.Context) error {
	have, want, err := s.versions(ctx)
	if err != nil {
		return err
	}
	if have < want {
		how := "run insights migrate"
		if p, ok := s.dialect.(postgresDialect); ok && p.pooler {
			how = "name Postgres itself with --migration-database, or run insights migrate on it"
		}
		return fmt.Errorf("%w of %s is version %d, this program needs %d: %s", ErrSchema, s, have, want, how)
	}
	return nil
}

// connectDirectly connects to what MigrationDatabase names, which has to be the same database of Postgres, and fails with ErrPooler where
// only a pooler is named.
func connectDirectly(ctx context.Context, o Options) (*Store, error) {
	if o.MigrationDatabase == "" {
		if o.Pooler {
			return nil, ErrPooler
		}
		return connect(ctx, o)
	}
	for _, database := range []string{o.Database, o.MigrationDatabase} {
		d, err := parseDatabase(database, false)
		if err != nil {
			return nil, err
		}
		if _, ok := d.(postgresDialect); !ok { // before SQLite makes a file
			return nil, fmt.Errorf("%s: a database for migrations is one of Postgres, beside its pooler", d)
		}
	}
	o.ReadDatabases = nil
	pooled, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	o.Database, o.Pooler = o.MigrationDatabase, false
	direct, err := connect(ctx, o)
	if err != nil {
		return nil, errors.Join(err, pooled.Close())
	}
	if err := errors.Join(direct.checkSame(ctx, pooled), pooled.Close()); err != nil {
		return nil, errors.Join(err, direct.Close())
	}
	return direct, nil
}

// checkSame fails if another store is on another database of Postgres.
func (s *Store) checkSame(ctx context.Context, other *Store) error {
	own, err := replica.Identity(ctx, s.reads)
	if err != nil {
		return err
	}
	its, err := replica.Identity(ctx, other.reads)
	if err == nil && own != its {
		err = fmt.Errorf("the database for migrations, %s, is not %s", s, other)
	}
	return err
}

// Migrate brings the schema of a database up to date. Several servers may call it at once: one migrates, the others
// wait for it. Where only a pooler is named it fails with ErrPooler.
func Migrate(ctx context.Context, o Options) error {
	s, err := connectDirectly(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(s.migrate(ctx), s.Close())
}

func (s *Store) migrate(ctx context.Context) error {
	// SQLite has no lock that outlives a transaction, so a program that lost the race sees an error and, on the next
	// look, that the work is done.
	const attempts = 5
	for attempt := 1; ; attempt++ {
		have, want, err := s.versions(ctx)
		if err == nil && have == want {
			return nil
		}
		if errors.Is(err, ErrSchema) {
			return err
		}
		if err == nil {
			var p *goose.Provider
			if p, err = s.provider(); err == nil {
				_, err = p.Up(ctx)
			}
			if err == nil {
				return nil
			}
			err = fmt.Errorf("migrate %s: %w", s, err)
		}
		if attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}
