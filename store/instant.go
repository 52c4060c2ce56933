package store

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// Instant is a point in time as the tables keep it: an integer, Unix microseconds, so that no database ever does
// calendar arithmetic. The zero Instant is "never" and is kept as 0.
type Instant struct{ time.Time }

// At makes an Instant of t, cut to microseconds, in UTC.
func At(t time.Time) Instant {
	if t.IsZero() {
		return Instant{}
	}
	return Instant{t.UTC().Truncate(time.Microsecond)}
}

// Value implements [driver.Valuer].
func (i Instant) Value() (driver.Value, error) {
	return i.micros(), nil
}

func (i Instant) micros() int64 {
	if i.IsZero() {
		return 0
	}
	return i.UnixMicro()
}

// Scan implements [database/sql.Scanner].
func (i *Instant) Scan(value any) error {
	micros, ok := value.(int64)
	if !ok {
		return fmt.Errorf("scan instant: want an integer, got %T", value)
	}
	*i = Instant{}
	if micros != 0 {
		i.Time = time.UnixMicro(micros).UTC()
	}
	return nil
}

// GormDataType implements [gorm.io/gorm/schema.GormDataTypeInterface].
func (Instant) GormDataType() string { return "bigint" }
