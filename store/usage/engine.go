// Package usage keeps the minutes of usage: it merges what is reported into the rows of the present, folds these into a page per template
// and day, and reads both for questions. It is what may lose a report. It knows the numbers of people, and nobody behind them.
package usage

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/template-insights/insights/store/db"
)

// Engine keeps usage in a database. It is safe for concurrent use.
type Engine struct {
	db    *db.DB
	clock func() time.Time
	pages *pageCache
	looks *looks

	reading sync.Mutex
	moved   map[int64]int64 // subjects by former numbers, see former; nil: not read yet

	emptied atomic.Int64 // pages of format 1 that were rewritten since their table shrank
}

// New returns the engine of a database. The clock tells which half hours are over, and so many bytes of pages, about, stay in memory for
// the next question; at most 0 is none.
func New(d *db.DB, clock func() time.Time, pageCache int) *Engine {
	return &Engine{db: d, clock: clock, pages: newPageCache(pageCache), looks: newLooks()}
}
