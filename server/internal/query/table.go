package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/label"
	"github.com/template-insights/insights/store/minute"
)

// Reasons of an answer that tells nothing, or less than it could, and what is withheld.
const (
	reasonEmptyWindow = "empty_window"
	reasonNoUsage     = "no_usage"
	reasonOthers      = "other_actors"
	reasonBefore      = "before_first_record"

	withheldGroups = "small_groups"
)

// table is the figures of a window.
type table struct {
	whole    row
	rows     []row
	withheld bool // something is not told
	reasons  []string
}

// row is the figures of a cell.
type row struct {
	*store.Figures

	keys []*key // of its dimensions; rows share them
	period
	begin      time.Time
	partial    bool
	suppressed bool
	before     *store.Figures // nil: nothing is told of it
}

// key is a value of a dimension.
type key struct {
	store.QueryKey

	value, label string
	timed        bool
	place        int64 // orders times

	// Made when they are first asked for:
	byLabel, byValue string
	answer           *insightsv1.QueryKey
}

// table makes a table of what the store counted in a window.
func (q question) table(result store.QueryResult, start, end time.Time) table {
	t := table{whole: row{Figures: &result.Whole}, rows: make([]row, 0, len(result.Rows))}
	var intervals []interval
	if slices.Contains(q.by, dimensionInterval) {
		intervals = q.intervals(start, end)
	}
	known, keys := map[*store.QueryKey]*key{}, make([]*key, 0, len(result.Rows)*len(q.by))
	for _, counted := range result.Rows {
		r := row{Figures: counted.Figures, period: timeless}
		for i, k := range counted.Keys {
			of := known[k]
			if of == nil {
				made := q.key(i, k, intervals)
				of, known[k] = &made, &made
			}
			keys = append(keys, of)
			switch q.by[i] {
			case dimensionInterval:
				at := intervals[k.Number]
				r.interval, r.begin, r.partial = k.Number, at.start, at.cut(q.now)
			case dimensionHourOfWeek:
				r.hour = k.Number
			}
		}
		r.keys = keys[len(keys)-len(counted.Keys) : len(keys) : len(keys)]
		t.rows = append(t.rows, r)
	}
	return t
}

// key is the value that the store has of a dimension.
func (q question) key(dimension int, k *store.QueryKey, intervals []interval) key {
	switch q.by[dimension] {
	case dimensionInterval:
		return intervals[k.Number].key(q)
	case dimensionHourOfWeek:
		return hourKey(k.Number)
	}
	return key{QueryKey: *k, value: k.Value, label: k.Label}
}

// suppress takes the figures of some rows away, or those rows unless they are to be kept.
func (t *table) suppress(of func(row) bool, keep bool) {
	for i := range t.rows {
		if r := &t.rows[i]; of(*r) {
			r.Figures, r.suppressed, t.withheld = &store.Figures{}, true, true
		}
	}
	if !keep {
		t.rows = slices.DeleteFunc(t.rows, func(r row) bool { return r.suppressed })
	}
}

// suppressWhole takes the totals away.
func (t *table) suppressWhole() {
	t.whole.Figures, t.whole.suppressed, t.withheld = &store.Figures{}, true, true
}

// withholdApps takes out what is told of several people together alone and was used by fewer: a row of such an app with all rows of its
// family that are alike otherwise, and everything of few people where filters name such apps.
func (t *table) withholdApps(q question, known *apps.List) {
	if most := q.togetherOf(known); most > 0 {
		t.suppress(func(r row) bool { return q.people(r.Figures) < most }, false)
		if q.people(t.whole.Figures) < most {
			t.suppressWhole()
		}
	}
	few := map[string]bool{} // families and what the rows have besides
	alike := func(r row, i int) string {
		text := r.keys[i].Family
		for j, k := range r.keys {
			if j != i && (q.by[j] != store.ByApp && q.by[j] != store.ByEditor) {
				text += "\x00" + k.value
			}
		}
		return text
	}
	for _, r := range t.rows {
		for i, k := range r.keys {
			if k.Together > 0 && q.people(r.Figures) < int64(k.Together) {
				few[alike(r, i)] = true
			}
		}
	}
	if len(few) == 0 {
		return
	}
	t.suppress(func(r row) bool {
		for i, k := range r.keys {
			if k.Family != "" && few[alike(r, i)] {
				return true
			}
		}
		return false
	}, false)
}

// withholdFew takes out the figures of fewer people than the floor, and of nobody: nothing tells that apart.
func (t *table) withholdFew(q question) {
	if q.floor == 0 {
		return
	}
	always := len(q.by) == 1 && slices.Contains([]string{dimensionInterval, store.ByGroup}, q.by[0])
	few := func(f *store.Figures) bool {
		return q.people(f) < q.floor || slices.ContainsFunc(crowds(f), func(n int64) bool { return n > 0 && n < q.floor })
	}
	t.suppress(func(r row) bool { return few(r.Figures) }, always)
	if few(t.whole.Figures) {
		t.suppressWhole()
	}
}

// togetherOf is how many people figures must be of at least because filters narrow them to apps that are told of several together.
func (q question) togetherOf(known *apps.List) (most int64) {
	for _, f := range q.filters {
		if f.By != store.ByApp && f.By != store.ByFamily && f.By != store.ByEditor {
			continue
		}
		for _, value := range f.Values {
			together := known.Together(store.NormalizeSessionName(value))
			if f.By == store.ByFamily {
				family, _ := known.Family(value)
				together = family.Together
			}
			most = max(most, int64(together))
		}
		for _, family := range known.Families() {
			if f.Not { // what is left may be such apps alone
				most = max(most, int64(family.Together))
			}
		}
	}
	return most
}

// explain says why there is nothing.
func (t *table) explain(q question, others bool) {
	switch {
	case !q.start.Before(q.end):
		t.reasons = append(t.reasons, reasonEmptyWindow)
	case !empty(t.whole.Figures) || t.whole.suppressed:
	case others:
		t.reasons = append(t.reasons, reasonOthers)
	default:
		t.reasons = append(t.reasons, reasonNoUsage)
	}
}

// identity is what rows of two windows are matched by.
func (r row) identity() string {
	text := fmt.Sprint(r.interval, r.hour)
	for _, k := range r.keys {
		text += "\x00" + k.Value // empty for times
	}
	return text
}

// join adds the figures of the window before, from the first day on of which something is stored. What was used then alone has a row, but
// for intervals that the window does not have.
func (t *table) join(before table, q question, first time.Time) {
	start, _ := q.windowBefore()
	t.withheld = t.withheld || before.withheld
	if told := !start.Before(first); told && !t.whole.suppressed && !before.whole.suppressed {
		t.whole.before = before.whole.Figures
	}
	byInterval := slices.Contains(q.by, dimensionInterval)
	known := map[string]row{}
	for _, r := range before.rows {
		known[r.identity()] = r
	}
	tells := func(r row) bool {
		begin := start
		if byInterval {
			begin = r.begin
		}
		return !r.suppressed && !begin.Before(first)
	}
	none := t.begins(q)
	for i := range t.rows {
		r := &t.rows[i]
		was, used := known[r.identity()]
		delete(known, r.identity())
		if !used {
			if before.withheld {
				continue // it may have been taken out
			}
			was = row{Figures: &store.Figures{}, begin: none[r.interval]}
		}
		if !r.suppressed && tells(was) {
			r.before = was.Figures
		}
	}
	if before.withheld || t.withheld {
		return // a row that is not there may have been taken out
	}
	for _, was := range known {
		if !tells(was) || empty(was.Figures) {
			continue
		}
		r := row{Figures: &store.Figures{}, keys: was.keys, period: was.period, before: was.Figures}
		if byInterval && !t.renumber(&r, q) {
			continue
		}
		t.rows = append(t.rows, r)
	}
}

// begins is when the intervals of the window before begin, by number.
func (t *table) begins(q question) map[int64]time.Time {
	begins := map[int64]time.Time{}
	if slices.Contains(q.by, dimensionInterval) {
		start, end := q.windowBefore()
		for n, i := range q.intervals(start, end) {
			begins[int64(n)] = i.start
		}
	}
	return begins
}

// renumber gives a row of the window before the interval of this window with its number; false: there is none.
func (t *table) renumber(r *row, q question) bool {
	all := q.intervals(q.start, q.end)
	if r.interval >= int64(len(all)) {
		return false
	}
	at := all[r.interval]
	r.keys = slices.Clone(r.keys)
	key := at.key(q)
	r.keys[slices.Index(q.by, dimensionInterval)] = &key
	r.begin, r.partial = at.start, at.cut(q.now)
	return true
}

// rank returns the rank of rows in the order of a question. What is suppressed stands behind all others.
func (q question) rank() func(*row) int64 {
	if slices.Contains(q.by, q.order.by) {
		return func(*row) int64 { return 0 }
	}
	figure, sign := metricOf[q.order.by].rank, int64(1)
	if q.order.descending {
		sign = -1
	}
	return func(r *row) int64 {
		if r.suppressed {
			return math.MaxInt64
		}
		return sign * figure(r.Figures)
	}
}

// id orders rows of equal rank.
func (q question) id(r *row) string {
	var texts [2*minute.MaxDimensions + 1]string
	id := texts[:0]
	if d := slices.Index(q.by, q.order.by); d >= 0 {
		text := r.keys[d].sorted()
		if q.order.descending {
			text = inverted(text)
		}
		id = append(id, text)
	}
	for _, k := range r.keys {
		id = append(id, k.sorted())
	}
	for _, k := range r.keys {
		if k.byValue == "" {
			k.byValue = ended(k.value)
		}
		id = append(id, k.byValue)
	}
	return strings.Join(id, "")
}

// ended is a text with an end, so that texts one behind the other are in the order of the first that differs.
func ended(text string) string { return strings.ReplaceAll(text, "\x00", "\x00\xff") + "\x00\x00" }

// sorted is a text with an end by which values are ordered: times as they follow, others by label.
func (k *key) sorted() string {
	switch {
	case k.byLabel != "":
	case k.timed:
		k.byLabel = ended(fmt.Sprintf("%012d", k.place))
	default:
		k.byLabel = ended(label.Key(k.label))
	}
	return k.byLabel
}

// inverted is a text whose order is the opposite, if the text has an end.
func inverted(text string) string {
	bytes := []byte(text)
	for i, b := range bytes {
		bytes[i] = ^b
	}
	return string(bytes)
}

// page cuts a page out of the rows in the order of a question.
func (t table) page(q question, page call.Page) (rows []call.Placed[row], next string) {
	list, rank := make([]call.Placed[row], len(t.rows)), q.rank()
	for i := range t.rows {
		list[i] = call.Placed[row]{Position: call.Position{Rank: rank(&t.rows[i])}, Item: &t.rows[i]}
	}
	return call.CutInOrder(page, list, q.id)
}

// fill writes the table into an answer: the page of it that is asked for, or all of it, which may have so many rows.
func (t table) fill(answer *insightsv1.QueryUsageResponse, q question, page call.Page, most int) error {
	if page.Size == 0 && page.After == nil && len(t.rows) > most {
		return call.InvalidParam("page_size", "must be given: the answer has %d rows, and at most %d come without pages; "+
			"or choose longer intervals, fewer dimensions, or narrow it by filters", len(t.rows), most)
	}
	answer.Interval, answer.Reasons = q.interval, t.reasons
	if t.withheld {
		answer.Withheld = append(answer.Withheld, withheldGroups)
	}
	answer.Totals = &insightsv1.QueryTotals{Suppressed: t.whole.suppressed, Values: &insightsv1.QueryValues{}}
	if !t.whole.suppressed {
		answer.Totals.Values = q.values(t.whole.Figures)
	}
	if t.whole.before != nil {
		answer.Totals.Before = q.values(t.whole.before)
	}
	list, next := t.page(q, page)
	answer.NextPageToken, answer.Rows = next, make([]*insightsv1.QueryRow, len(list))
	for i, p := range list {
		answer.Rows[i] = q.row(p.Item)
	}
	return nil
}

// row writes a row.
func (q question) row(r *row) *insightsv1.QueryRow {
	written := &insightsv1.QueryRow{Partial: r.partial, Suppressed: r.suppressed, Keys: make([]*insightsv1.QueryKey, len(r.keys))}
	if r.suppressed {
		written.Values = &insightsv1.QueryValues{}
	} else {
		written.Values = q.values(r.Figures)
	}
	if r.before != nil {
		written.Before = q.values(r.before)
	}
	for i, k := range r.keys {
		written.Keys[i] = k.written()
	}
	return written
}
