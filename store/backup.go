package store

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"gorm.io/gorm"
)

// A backup is lines of JSON in gzip, the same for both databases:
//
//	{"backup":"template-insights","format":1,"schema":5,"made_at":"2026-11-21T12:00:00Z"}
//	{"table":"organizations","columns":["id","name","display_name"]}
//	["0b6dd8ae-…","acme","Acme"]
//	{"rows":1,"sha256":"…"}
//
// The columns of a table come before its rows. Bytes are base64; false and true are 0 and 1. The last line holds the number of
// rows and the checksum of all lines before it.
type (
	backupHeader struct {
		Backup string  `json:"backup"`
		Format int     `json:"format"`
		Schema int64   `json:"schema"` // the version that the tables had
		MadeAt Instant `json:"made_at"`
	}
	backupTable struct {
		Table   string   `json:"table"`
		Columns []string `json:"columns"`
	}
	backupEnd struct {
		Rows   int64  `json:"rows"`
		SHA256 string `json:"sha256"`
	}
)

const (
	backupName   = "template-insights"
	backupFormat = 1
	// versionTable is where migrations keep the version of the schema; the header of a backup has it.
	versionTable = "goose_db_version"
)

// ErrBackup means that what should be restored is no backup, or one that is damaged or cut off.
var ErrBackup = errors.New("not a whole backup")

// Backup writes everything in a database as it is at one moment, whatever servers do meanwhile, and whichever version its schema
// has. The hashes of tokens are in it.
func Backup(ctx context.Context, o Options, w io.Writer) error {
	if err := CheckExists(o.Database); err != nil {
		return err
	}
	s, err := connect(ctx, o)
	if err != nil {
		return err
	}
	if err = s.backup(ctx, w); err != nil {
		err = fmt.Errorf("back up %s: %w", s, err)
	}
	return errors.Join(err, s.Close())
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	out := backupWriter{zip: gzip.NewWriter(w), sum: sha256.New()}
	// In one snapshot nothing that a fold moves is missing or there twice.
	err := s.reads.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := s.dialect.patient(tx); err != nil {
			return err
		}
		tables, err := s.tables(tx)
		if err != nil {
			return err
		}
		header := backupHeader{Backup: backupName, Format: backupFormat, MadeAt: At(s.clock())}
		if !slices.Contains(tables, versionTable) {
			return fmt.Errorf("%w has no version: there is nothing to back up", ErrSchema)
		}
		if slices.Contains(tables, restoreMark) {
			return errHalfRestored
		}
		if err := tx.Raw(`SELECT MAX(version_id) FROM ` + versionTable).Row().Scan(&header.Schema); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if err := out.line(header); err != nil {
			return err
		}
		for _, table := range tables {
			if table == versionTable {
				continue
			}
			if err := out.table(tx, table); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		return out.end()
	}, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	return s.dialect.classify(err)
}

// tables are the names of all tables, ascending.
func (s *Store) tables(tx *gorm.DB) ([]string, error) {
	var names []string
	if err := tx.Raw(s.dialect.tables()).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

func (postgresDialect) tables() string {
	return `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
}

func (sqliteDialect) tables() string {
	return `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'`
}

func (postgresDialect) patient(tx *gorm.DB) error {
	return tx.Exec("SET LOCAL statement_timeout = 0").Error
}

func (sqliteDialect) patient(*gorm.DB) error { return nil } // its statements take as long as they take

// backupWriter writes a backup line by line.
type backupWriter struct {
	zip  *gzip.Writer
	sum  hash.Hash
	rows int64
}

func (b *backupWriter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	b.sum.Write(text)
	_, err = b.zip.Write(text)
	return err
}

// table writes the columns and the rows of a table.
func (b *backupWriter) table(tx *gorm.DB, name string) (err error) {
	rows, err := tx.Raw(`SELECT * FROM ` + tx.Statement.Quote(name)).Rows()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := b.line(backupTable{name, columns}); err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			values[i] = portable(v)
		}
		if err := b.line(values); err != nil {
			return err
		}
		b.rows++
	}
	return rows.Err()
}

// portable is a value as both databases have it.
func portable(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
		return 0
	case []byte:
		return nonNil(v)
	}
	return v
}

func (b *backupWriter) end() error {
	if err := b.line(backupEnd{b.rows, hex.EncodeToString(b.sum.Sum(nil))}); err != nil {
		return err
	}
	return b.zip.Close()
}
