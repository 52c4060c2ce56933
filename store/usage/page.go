package usage

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
)

// Place is where a page lies.
type Place struct {
	Template uuid.UUID // uuid.Nil: logins, which belong to none
	Day      int32     // UTC, counted from the Unix epoch
}

// ComparePlaces orders places by day, then by template.
func ComparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Day, b.Day), bytes.Compare(a.Template[:], b.Template[:]))
}

// Pages is what statements read pages from: those of format 2, and those of format 1 that are not rewritten yet. Of a place there is one.
const Pages = `(SELECT template_id, day, version, usage, latency, 0 AS former FROM usage_pages
	UNION ALL SELECT template_id, day, version, usage, latency, 1 AS former FROM usage_day) AS pages`

// LatencyRows is the condition on rows of the present that hold latencies.
const LatencyRows = `kind IN (2, 6)`

// pageRow is one page of the past in its table. Without a version there is none.
type pageRow struct {
	TemplateID uuid.UUID
	Day        int32
	Version    int64
	Usage      []byte
	Latency    []byte
	Former     bool // it has format 1 and stands in the table of those
}

// readPage reads the page of a place.
func readPage(tx *gorm.DB, at Place) (pageRow, error) {
	p := pageRow{TemplateID: at.Template, Day: at.Day}
	return p, tx.Raw(`SELECT template_id, day, version, usage, latency, former FROM `+Pages+` WHERE template_id = ? AND day = ?`,
		at.Template, at.Day).Scan(&p).Error
}

// rows are the rows of the page in page order.
func (p pageRow) rows(former minute.Former) ([]minute.Row, error) {
	rows, err := minute.DecodePage(p.Day, minute.Page{Usage: p.Usage, Latency: p.Latency}, former)
	if err != nil {
		return nil, fmt.Errorf("page of template %s, day %d: %w", p.TemplateID, p.Day, err)
	}
	return rows, nil
}

// replace writes a page in the place of this one. It is a conflict if somebody else did so since this one was read.
func (p pageRow) replace(tx *gorm.DB, page minute.Page) error {
	version := p.Version
	if p.Former {
		deleted := tx.Exec(`DELETE FROM usage_day WHERE template_id = ? AND day = ? AND version = ?`, p.TemplateID, p.Day, p.Version)
		if err := p.unlessChanged(deleted); err != nil {
			return err
		}
		version = 0
	}
	// Random: what is remembered of a version may be of a page that is gone, or of a fold that a failover lost.
	return p.unlessChanged(tx.Exec(`INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (template_id, day, part) DO UPDATE SET version = excluded.version, usage = excluded.usage, latency = excluded.latency
		WHERE usage_pages.version = ?`,
		p.TemplateID, p.Day, 1+rand.Int64N(math.MaxInt64/2), nonNil(page.Usage), nonNil(page.Latency), version))
}

// unlessChanged is the error of a statement that changes the page of this version, if it is there.
func (p pageRow) unlessChanged(done *gorm.DB) error {
	if done.Error == nil && done.RowsAffected == 0 {
		return fmt.Errorf("version %d is no longer the newest: %w", p.Version, db.ErrConflict)
	}
	return done.Error
}

// nonNil keeps "no bytes" apart from NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
