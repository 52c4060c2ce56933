// Package archive writes a whole database into a backup and fills a new one from it, of the same kind of database or the other.
package archive

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
	"time"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
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
		Backup string    `json:"backup"`
		Format int       `json:"format"`
		Schema int64     `json:"schema"` // the version that the tables had
		MadeAt time.Time `json:"made_at"`
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
)

// ErrBackup means that what should be restored is no backup, or one that is damaged or cut off.
var ErrBackup = errors.New("not a whole backup")

// Backup writes everything in a database as it is at one moment, whatever servers do meanwhile. The backup says that it was made at the
// given time. A database that Citus spreads has no moment that is the same everywhere: of that, how far
// imports and treatments have come is first, then usage, then what it refers to.
func Backup(ctx context.Context, d *db.DB, at time.Time, w io.Writer) error {
	out := backupWriter{zip: gzip.NewWriter(w), sum: sha256.New()}
	var rest []string
	err := snapshot(ctx, d, func(tx *gorm.DB) error {
		tables, err := d.Tables(tx)
		if err != nil {
			return err
		}
		header := backupHeader{Backup: backupName, Format: backupFormat, MadeAt: at.UTC().Truncate(time.Microsecond)}
		if !slices.Contains(tables, db.VersionTable) {
			return fmt.Errorf("%w has no version: there is nothing to back up", db.ErrSchema)
		}
		if slices.Contains(tables, db.UnfinishedRestore) {
			return db.ErrHalfRestored
		}
		if err := tx.Raw(`SELECT MAX(version_id) FROM ` + db.VersionTable).Row().Scan(&header.Schema); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if err := out.line(header); err != nil {
			return err
		}
		tables = slices.DeleteFunc(tables, func(name string) bool { return name == db.VersionTable })
		if d.Citus() {
			first := append(slices.Clone(progress), db.Spread...)
			rest = slices.DeleteFunc(slices.Clone(tables), func(name string) bool { return slices.Contains(first, name) })
			tables = slices.DeleteFunc(first, func(name string) bool { return !slices.Contains(tables, name) })
		}
		return out.tables(tx, tables)
	})
	if err == nil && len(rest) > 0 {
		err = snapshot(ctx, d, func(tx *gorm.DB) error { return out.tables(tx, rest) })
	}
	if err == nil {
		err = out.end()
	}
	return d.Classify(err)
}

// progress are the tables that say how far something has come with usage: they are no newer than the usage in a backup, so that what is
// missing comes again.
var progress = []string{"imports", "privacy_modes"}

// snapshot calls f with a database in which nothing that a fold moves is missing or there twice, if it is of one node.
func snapshot(ctx context.Context, d *db.DB, f func(tx *gorm.DB) error) error {
	return d.Reads.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := d.Patient(tx); err != nil {
			return err
		}
		return f(tx)
	}, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
}

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

// tables writes tables in their order.
func (b *backupWriter) tables(tx *gorm.DB, names []string) error {
	for _, name := range names {
		if err := b.table(tx, name); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
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
		if v == nil {
			return []byte{} // no bytes are not NULL
		}
		return v
	}
	return v
}

func (b *backupWriter) end() error {
	if err := b.line(backupEnd{b.rows, hex.EncodeToString(b.sum.Sum(nil))}); err != nil {
		return err
	}
	return b.zip.Close()
}
