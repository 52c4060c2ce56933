package archive

import (
	"bufio"
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
	"strings"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
)

// Load makes the tables that the backup was made of in a database that has none yet, and fills them: the schema is as old as the backup
// then. It fails with ErrBackup when the backup is damaged, and with [db.ErrSchema] when a newer program made it. Unless all of it could be
// read the database has no rows after an error, but may have tables, and is marked: only Load works on it then.
func (b *Reader) Load(ctx context.Context, d *db.DB) error {
	have, want, err := d.Versions(ctx)
	if err != nil && !errors.Is(err, db.ErrHalfRestored) {
		return err
	}
	if b.header.Schema > want {
		return fmt.Errorf(
			"%w of the backup is version %d, newer than %d, the newest that this program knows: run the newer program", db.ErrSchema,
			b.header.Schema, want,
		)
	}
	if err := markRestore(ctx, d, have); err != nil {
		return err
	}
	if have > b.header.Schema {
		return fmt.Errorf("its schema is version %d, newer than %d, that of the backup: name a new database", have, b.header.Schema)
	}
	if err := d.MigrateTo(ctx, b.header.Schema); err != nil {
		return err
	}
	return d.InOneTransaction(ctx, func(tx *gorm.DB) error {
		// Another restore waits here for this one, and then finds that it has nothing to do.
		if err := tx.Exec(`DROP TABLE ` + db.UnfinishedRestore).Error; err != nil {
			return fmt.Errorf("end the restore: %w", err)
		}
		tables, err := d.Tables(tx)
		if err != nil {
			return err
		}
		tables = slices.DeleteFunc(tables, func(name string) bool { return name == db.VersionTable })
		if err := b.load(tx, tables); err != nil {
			return err
		}
		// Nobody waited for what the backup announces, its clock is not that of now, and its servers do not run here.
		for _, table := range []string{"announced_deletions", "clock_mark", "promises"} {
			if slices.Contains(tables, table) {
				if err := tx.Exec(`DELETE FROM ` + table).Error; err != nil {
					return fmt.Errorf("begin retention anew: %w", err)
				}
			}
		}
		return nil
	})
}

// markRestore marks the database as half restored, unless it is. What has tables, ours or others, is not touched.
func markRestore(ctx context.Context, d *db.DB, version int64) error {
	return d.InTransaction(ctx, func(tx *gorm.DB) error {
		tables, err := d.Tables(tx)
		if err != nil || slices.Contains(tables, db.UnfinishedRestore) {
			return err
		}
		tables = slices.DeleteFunc(tables, func(name string) bool { return name == db.VersionTable && version == 0 })
		if len(tables) > 0 {
			return fmt.Errorf("it is not empty, it has a table %s: name a new database", tables[0])
		}
		if err := tx.Exec(`CREATE TABLE ` + db.UnfinishedRestore + ` (no_column integer)`).Error; err != nil {
			return fmt.Errorf("mark it as half restored: %w", err)
		}
		return nil
	})
}

// Reader reads a backup line by line, once.
type Reader struct {
	header backupHeader
	lines  *bufio.Reader
	sum    hash.Hash
	rows   int64
}

// Open reads the header of a backup. It fails with ErrBackup if it is none.
func Open(r io.Reader) (*Reader, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	b := &Reader{lines: bufio.NewReader(zip), sum: sha256.New()}
	line, err := b.line()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(line, &b.header); err != nil || b.header.Backup != backupName {
		return nil, fmt.Errorf("%w: it does not begin like one", ErrBackup)
	}
	if b.header.Format != backupFormat {
		return nil, fmt.Errorf("%w: its format is %d, this program knows %d", ErrBackup, b.header.Format, backupFormat)
	}
	b.sum.Write(line)
	return b, nil
}

// line reads the next line with its end.
func (b *Reader) line() ([]byte, error) {
	line, err := b.lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return line, nil
}

// load fills the given tables with all that follows the header.
func (b *Reader) load(tx *gorm.DB, tables []string) error {
	var into *tableLoader
	for {
		line, err := b.line()
		if err != nil {
			return err
		}
		switch {
		case line[0] != '[':
			if err := into.flush(); err != nil {
				return err
			}
			var next struct {
				backupTable
				backupEnd
			}
			if err := json.Unmarshal(line, &next); err != nil {
				return fmt.Errorf("%w: %w", ErrBackup, err)
			}
			if next.SHA256 != "" {
				return b.end(next.backupEnd)
			}
			if !slices.Contains(tables, next.Table) {
				return fmt.Errorf("%w: its schema has no table %q", ErrBackup, next.Table)
			}
			if into, err = newTableLoader(tx, next.backupTable); err != nil {
				return err
			}
		case into == nil:
			return fmt.Errorf("%w: a row of no table", ErrBackup)
		default:
			if err := into.add(line); err != nil {
				return err
			}
			b.rows++
		}
		b.sum.Write(line)
	}
}

// end holds what was read against the last line.
func (b *Reader) end(want backupEnd) error {
	if got := (backupEnd{b.rows, hex.EncodeToString(b.sum.Sum(nil))}); got != want {
		return fmt.Errorf("%w: its checksum is wrong", ErrBackup)
	}
	if _, err := b.lines.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrBackup)
	}
	return nil
}

// What one statement of a restore inserts at most: pages are large.
const (
	maxRestoreRows  = 500
	maxRestoreBytes = 1 << 20
)

// tableLoader inserts the rows of a table, many at a time.
type tableLoader struct {
	tx      *gorm.DB
	table   backupTable
	decode  []func([]byte) (any, error) // by column
	values  []any                       // of rows that are not inserted yet
	pending int                         // their bytes in the backup
}

func newTableLoader(tx *gorm.DB, table backupTable) (_ *tableLoader, err error) {
	rows, err := tx.Raw(`SELECT * FROM ` + tx.Statement.Quote(table.Table) + ` LIMIT 0`).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	l := &tableLoader{tx: tx, table: table}
	for _, name := range table.Columns {
		i := slices.IndexFunc(types, func(t *sql.ColumnType) bool { return t.Name() == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: its schema has no column %q in table %s", ErrBackup, name, table.Table)
		}
		decode := valueDecoder(types[i].DatabaseTypeName())
		if decode == nil {
			return nil, fmt.Errorf("table %s, column %s: nothing restores the type %s", table.Table, name, types[i].DatabaseTypeName())
		}
		l.decode = append(l.decode, decode)
	}
	return l, nil
}

// valueDecoder reads values for a column of a type of either database; nil for types that the schema does not have.
func valueDecoder(databaseType string) func([]byte) (any, error) {
	switch databaseType {
	case "BOOL":
		return func(text []byte) (any, error) {
			v, err := decodeValue[int64](text)
			if number, ok := v.(int64); ok {
				return number != 0, err
			}
			return v, err
		}
	case "INT2", "INT4", "INT8", "INTEGER":
		return decodeValue[int64]
	case "FLOAT8", "REAL":
		return decodeValue[float64]
	case "BYTEA", "BLOB":
		return decodeValue[[]byte]
	case "TEXT", "UUID":
		return decodeValue[string]
	}
	return nil
}

// decodeValue reads a value that may be null.
func decodeValue[T any](text []byte) (any, error) {
	var v *T
	if err := json.Unmarshal(text, &v); err != nil || v == nil {
		return nil, err
	}
	return *v, nil
}

// add takes a row.
func (l *tableLoader) add(line []byte) error {
	var row []json.RawMessage
	if err := json.Unmarshal(line, &row); err != nil {
		return fmt.Errorf("%w: table %s: %w", ErrBackup, l.table.Table, err)
	}
	if len(row) != len(l.decode) {
		return fmt.Errorf("%w: table %s: a row of %d values, want %d", ErrBackup, l.table.Table, len(row), len(l.decode))
	}
	for i, text := range row {
		v, err := l.decode[i](text)
		if err != nil {
			return fmt.Errorf("%w: table %s, column %s: %w", ErrBackup, l.table.Table, l.table.Columns[i], err)
		}
		l.values = append(l.values, v)
	}
	l.pending += len(line)
	if l.pending < maxRestoreBytes && len(l.values) < maxRestoreRows*len(l.decode) {
		return nil
	}
	return l.flush()
}

// flush inserts what is left; before the first table nothing is.
func (l *tableLoader) flush() error {
	if l == nil || len(l.values) == 0 {
		return nil
	}
	columns := make([]string, len(l.table.Columns))
	for i, name := range l.table.Columns {
		columns[i] = l.tx.Statement.Quote(name)
	}
	row := ", (?" + strings.Repeat(", ?", len(columns)-1) + ")"
	statement := `INSERT INTO ` + l.tx.Statement.Quote(l.table.Table) + ` (` + strings.Join(columns, ", ") + `) VALUES ` +
		strings.Repeat(row, len(l.values)/len(columns))[len(", "):]
	if err := l.tx.Exec(statement, l.values...).Error; err != nil {
		return fmt.Errorf("fill table %s: %w", l.table.Table, err)
	}
	l.values, l.pending = l.values[:0], 0
	return nil
}
