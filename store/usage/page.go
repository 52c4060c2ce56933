package usage

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/google/uuid"

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

// pageRow is one page of the past in its table.
type pageRow struct {
	TemplateID uuid.UUID
	Day        int32
	Version    int64
	Usage      []byte
	Latency    []byte
}

func (p pageRow) key() string { return fmt.Sprintf("template %s, day %d", p.TemplateID, p.Day) }

// rows are the rows of the page in page order.
func (p pageRow) rows() ([]minute.Row, error) {
	rows, err := minute.DecodePage(p.Day, minute.Page{Usage: p.Usage, Latency: p.Latency})
	if err != nil {
		return nil, fmt.Errorf("page of %s: %w", p.key(), err)
	}
	return rows, nil
}
