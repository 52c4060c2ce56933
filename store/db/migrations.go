package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/migrations"
	"github.com/template-insights/insights/store/replica"
)

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

// UnfinishedRestore is a table that is there until a restore has read all of its backup: nothing but a restore works on the database
// then.
const UnfinishedRestore = "unfinished_restore"

// ErrHalfRestored means that this table is there.
var ErrHalfRestored = fmt.Errorf("%w is that of a restore that did not end: repeat insights restore", ErrSchema)

// VersionTable is where migrations keep the version of the schema.
const VersionTable = "goose_db_version"

// ErrPooler means that a migration was to run through a pooler, and needs a session of Postgres itself.
var ErrPooler = errors.New("migrations need Postgres itself, not its pooler: see --migration-database")

// provider knows the migrations of this program and those of the database.
func (d *DB) provider() (*goose.Provider, error) {
	name, kind, options, err := d.goose()
	if err != nil {
		return nil, err
	}
	raw, err := d.Writes.DB()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(name, raw, migrationFiles{migrations.FS, kind}, options...)
}

// Versions are the schema that the database has and the one that this program works with. It fails with ErrHalfRestored as well. Unlike
// goose it makes no table where there is none.
func (d *DB) Versions(ctx context.Context) (have, want int64, err error) {
	have, want, tables, err := d.readVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read schema version of %s: %w", d, d.Classify(err))
	}
	if have > want {
		return have, want, fmt.Errorf(
			"%w of %s is version %d, newer than %d, the newest that this program knows: run the newer program", ErrSchema, d, have, want,
		)
	}
	if slices.Contains(tables, UnfinishedRestore) {
		return have, want, fmt.Errorf("%s: %w", d, ErrHalfRestored)
	}
	return have, want, nil
}

func (d *DB) readVersions(ctx context.Context) (have, want int64, tables []string, err error) {
	p, err := d.provider()
	if err != nil {
		return 0, 0, nil, err
	}
	sources := p.ListSources()
	want = sources[len(sources)-1].Version
	db := d.Writes.WithContext(ctx)
	tables, err = d.Tables(db)
	if err == nil && slices.Contains(tables, VersionTable) {
		err = db.Raw(`SELECT COALESCE(MAX(version_id), 0) FROM ` + VersionTable).Row().Scan(&have)
	}
	return have, want, tables, err
}

func (d *DB) checkSchema(ctx context.Context) error {
	have, want, err := d.Versions(ctx)
	if err != nil {
		return err
	}
	if have < want {
		how := "run insights migrate"
		if p, ok := d.Dialect.(postgres); ok && p.pooler {
			how = "name Postgres itself with --migration-database, or run insights migrate on it"
		}
		return fmt.Errorf("%w of %s is version %d, this program needs %d: %s", ErrSchema, d, have, want, how)
	}
	if d.Citus() {
		if missing, err := d.unspread(d.Lookups.WithContext(ctx)); err != nil || len(missing) > 0 {
			return cmp.Or(err, fmt.Errorf("%w of %s is not spread by Citus yet: run insights migrate", ErrSchema, d))
		}
	}
	return nil
}

// ConnectDirectly connects to what MigrationDatabase names, which has to be the same database of Postgres, and fails with ErrPooler where
// only a pooler is named.
func ConnectDirectly(ctx context.Context, o Options) (*DB, error) {
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
		if _, ok := d.(postgres); !ok { // before SQLite makes a file
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

// checkSame fails if another connection is on another database of Postgres.
func (d *DB) checkSame(ctx context.Context, other *DB) error {
	own, err := replica.Identity(ctx, d.Reads)
	if err != nil {
		return err
	}
	its, err := replica.Identity(ctx, other.Reads)
	if err == nil && own != its {
		err = fmt.Errorf("the database for migrations, %s, is not %s", d, other)
	}
	return err
}

// Migrate brings the schema up to date. Several servers may call it at once: one migrates, the others wait for it.
func (d *DB) Migrate(ctx context.Context) error {
	// SQLite has no lock that outlives a transaction, so a program that lost the race sees an error and, on the next
	// look, that the work is done.
	const attempts = 5
	for attempt := 1; ; attempt++ {
		have, want, err := d.Versions(ctx)
		if err == nil && have == want {
			return d.spreadTables(ctx)
		}
		if errors.Is(err, ErrSchema) {
			return err
		}
		if err == nil {
			var p *goose.Provider
			if p, err = d.provider(); err == nil {
				_, err = p.Up(ctx)
			}
			if err == nil {
				return d.spreadTables(ctx)
			}
			err = fmt.Errorf("migrate %s: %w", d, err)
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

// MigrateTo brings a schema that is older than a version to that version.
func (d *DB) MigrateTo(ctx context.Context, version int64) error {
	p, err := d.provider()
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrate to version %d: %w", version, err)
	}
	return nil
}

// checkMayMigrate fails where tables cannot be made.
func (d *DB) checkMayMigrate(ctx context.Context, o Options) (err error) {
	direct, err := ConnectDirectly(ctx, o)
	if err != nil {
		return fmt.Errorf("%w of %s is to be brought up to date: %w", ErrSchema, d, err)
	}
	defer func() { err = errors.Join(err, direct.Close()) }()
	var may bool
	if err := direct.Reads.WithContext(ctx).Raw(d.mayMigrate()).Row().Scan(&may); err != nil {
		return fmt.Errorf("read privileges on %s: %w", d, err)
	}
	if !may {
		return fmt.Errorf("%w of %s is to be brought up to date, and this user may make no tables there", ErrSchema, d)
	}
	return nil
}

// Tables are the names of all tables, ascending.
func (d *DB) Tables(tx *gorm.DB) ([]string, error) {
	var names []string
	if err := tx.Raw(d.tables()).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	slices.Sort(names)
	return names, nil
}
