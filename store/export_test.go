package store

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/archive"
	"github.com/template-insights/insights/store/db"
)

// AfterWrite calls f after every statement of the writing pool.
func (s *Store) AfterWrite(f func()) error { return after(s.db.Writes, f) }

// AfterRead calls f after every statement of the reading pool.
func (s *Store) AfterRead(f func()) error { return after(s.db.Reads, f) }

// AfterLookup calls f after every statement of the pool for looking up.
func (s *Store) AfterLookup(f func()) error { return after(s.db.Lookups, f) }

func after(db *gorm.DB, f func()) error {
	after := func(*gorm.DB) { f() }
	callbacks := db.Callback()
	return errors.Join(
		callbacks.Raw().After("*").Register("test", after), callbacks.Query().After("*").Register("test", after),
		callbacks.Row().After("*").Register("test", after), callbacks.Create().After("*").Register("test", after),
		callbacks.Update().After("*").Register("test", after), callbacks.Delete().After("*").Register("test", after),
	)
}

// EraseTogether erases users in one transaction.
func (s *Store) EraseTogether(ctx context.Context, users []uuid.UUID) error {
	return s.erase(ctx, users)
}

// ExecForTest runs a statement past the API.
func (s *Store) ExecForTest(statement string, args ...any) error {
	return s.db.Write(context.Background(), func(db *gorm.DB) error { return db.Exec(statement, args...).Error })
}

// QueryForTest reads the only value of a query past the API.
func (s *Store) QueryForTest(query string, value any) error {
	return s.db.Reads.Raw(query).Row().Scan(value)
}

// ReadSetting is a setting of the connections for questions.
func (s *Store) ReadSetting(name string) (value string, err error) {
	err = s.db.Reads.Raw("SELECT current_setting(?)", name).Scan(&value).Error
	return value, err
}

// WriteSetting is a setting of the connections for writing.
func (s *Store) WriteSetting(name string) (value string, err error) {
	err = s.db.Write(context.Background(), func(db *gorm.DB) error {
		return db.Raw("SELECT current_setting(?)", name).Scan(&value).Error
	})
	return value, err
}

// TransactionSetting is a setting of the transactions for writing.
func (s *Store) TransactionSetting(name string) (value string, err error) {
	err = s.db.InTransaction(context.Background(), func(tx *gorm.DB) error {
		return tx.Raw("SELECT current_setting(?)", name).Scan(&value).Error
	})
	return value, err
}

// HoldRows locks all rows of the present from when it closes held until release is closed.
func (s *Store) HoldRows(held chan<- struct{}, release <-chan struct{}) error {
	return s.db.Writes.Transaction(func(tx *gorm.DB) error {
		defer close(held)
		if err := tx.Exec("SELECT 1 FROM usage_rows FOR UPDATE").Error; err != nil {
			return err
		}
		held <- struct{}{}
		<-release
		return nil
	})
}

// Load is Restore without what comes after it: the schema stays as old as the backup, for the program that made it.
func Load(ctx context.Context, o Options, r io.Reader) error {
	backup, err := archive.Open(r)
	if err != nil {
		return err
	}
	d, err := db.ConnectDirectly(ctx, o.db())
	if err != nil {
		return err
	}
	return errors.Join(backup.Load(ctx, d), d.Close())
}

// Columns are the tables and columns of the schema, as table.column.
func (s *Store) Columns() (columns []string, err error) {
	query := `SELECT tables.name || '.' || columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
		WHERE tables.type = 'table' ORDER BY 1`
	if strings.HasPrefix(s.String(), "postgres") {
		query = `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1`
	}
	err = s.db.Reads.Raw(query).Scan(&columns).Error
	return columns, err
}
