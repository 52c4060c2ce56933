package usage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
)

// OpenRow is a row of the present: half an hour of one subject, kind and app in a template.
type OpenRow struct {
	Template uuid.UUID
	minute.Row
}

// latencies are the row's samples as the table keeps them.
func (r OpenRow) latencies() string {
	if !r.Kind.HasBins() {
		return ""
	}
	return minute.FormatLatencies(r.Minutes, r.Bins)
}

// compareOpen is the order of the table's key. All writers take rows in it, so that they wait for each other instead of
// deadlocking.
func compareOpen(a, b OpenRow) int {
	return cmp.Or(
		cmp.Compare(a.HalfHour, b.HalfHour),
		bytes.Compare(a.Template[:], b.Template[:]),
		cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.App, b.App),
	)
}

// distinct sorts rows and unions those of one key; of a minute the first latency stays.
func distinct(rows []OpenRow) []OpenRow {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, compareOpen)
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && compareOpen(out[n-1], r) == 0 {
			out[n-1].Row = minute.Union([]minute.Row{out[n-1].Row}, []minute.Row{r.Row})[0]
			continue
		}
		out = append(out, r)
	}
	return out
}

// openColumns are what eachOpen reads.
const openColumns = `template_id, half_hour, subject, kind, app, minutes, connected, latencies`

// openRows reads the rows of a statement that yields openColumns, in a transaction.
func openRows(statement *gorm.DB) (out []OpenRow, err error) {
	rows, err := statement.Rows()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	err = eachOpen(db.FromSQL(rows), func(r OpenRow) error {
		out = append(out, r)
		return nil
	})
	return slices.Clip(out), err
}

// eachOpen reads records of openColumns.
func eachOpen(r db.Records, f func(OpenRow) error) error {
	var row OpenRow
	var app, latencies []byte
	apps := map[string]string{} // most are the same
	return r.Each(func() (err error) {
		known, ok := apps[string(app)]
		if !ok {
			known = string(app)
			apps[known] = known
		}
		row.App, row.Bins = known, nil
		if row.Kind.HasBins() {
			if row.Minutes, row.Bins, err = minute.ParseLatencies(string(latencies)); err != nil {
				return fmt.Errorf("usage row of template %s, half hour %d, subject %d: %w", row.Template, row.HalfHour, row.Subject, err)
			}
		}
		return f(row)
	}, r.ID(&row.Template), &row.HalfHour, &row.Subject, (*uint8)(&row.Kind), r.Bytes(&app), (*uint32)(&row.Minutes), &row.Connected,
		r.Bytes(&latencies))
}
