package server_test

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/apps"
)

// queryReference answers the general question the slow way: it puts every minute of every half hour into every row that it belongs to.
type queryReference struct {
	reference

	w     world
	stays map[stay][]int64 // minutes, and samples of no minute
}

// stay is what somebody did somewhere in a half hour, or what was measured of them.
type stay struct {
	seated

	sample   bool
	halfHour int64
}

func newQueryReference(w world, builds []*insightsv1.Event) queryReference {
	ref := queryReference{newReference(w), w, map[stay][]int64{}}
	ref.builds = builds
	for s, minutes := range ref.seats {
		for m := range minutes {
			at := stay{s, false, floor(m, 30)}
			ref.stays[at] = append(ref.stays[at], m)
		}
	}
	for key, samples := range ref.sampled {
		for m := range samples {
			at := stay{seated{use{key[0], key[1], "", ""}, key[2]}, true, floor(m, 30)}
			ref.stays[at] = append(ref.stays[at], m)
		}
	}
	return ref
}

// queried is a question about a window: that of the rows, or the one before.
type queried struct {
	propertyQuestion
	*insightsv1.QueryUsageRequest

	parts []part // of its intervals or hours
}

// timed is which dimension is one of time; -1: none.
func (q queried) timed() int {
	return slices.IndexFunc(q.GetDimensions(), func(d string) bool { return d == "interval" || d == "hour_of_week" })
}

// hourly reports whether the question tells of parts of days.
func (q queried) hourly() bool {
	return q.GetInterval() == "hour" || slices.Contains(q.GetDimensions(), "hour_of_week")
}

// measures reports whether the question asks for latencies.
func (q queried) measures() bool { return q.asks(queriedPairs[2].metrics) }

// asks reports whether the question asks for one of some metrics.
func (q queried) asks(some []string) bool {
	return slices.ContainsFunc(q.GetMetrics(), func(m string) bool { return slices.Contains(some, m) })
}

// newQueried is the question, whose intervals are those that its answer says.
func newQueried(q propertyQuestion, req *insightsv1.QueryUsageRequest, interval string) queried {
	of := queried{q, req, nil}
	if of.timed() < 0 {
		return of
	}
	if slices.Contains(req.GetDimensions(), "hour_of_week") {
		interval = "hour"
	}
	of.parts = q.partsOf(interval, req.GetWeekStart())
	return of
}

// before is the same about the window before; false: none is told of.
func (q queried) before(interval string) (queried, bool) {
	earlier, days := q.propertyQuestion, q.last-q.first
	switch q.GetCompare() {
	case "previous":
	case "weekdays":
		days = (days + 6) / 7 * 7
	default: // nothing is known of the year before
		return queried{}, false
	}
	earlier.first, earlier.last = q.first-days, q.last-days
	return newQueried(earlier, q.QueryUsageRequest, interval), true
}

// partsOf are the intervals of a window, by the clock of its place.
func (q propertyQuestion) partsOf(interval, weekStart string) (parts []part) {
	number := func(minute int64) string {
		at := time.Unix(60*minute, 0).In(q.location)
		switch interval {
		case "hour":
			// The clock that goes back shows an hour again, which is another one.
			_, offset := at.Zone()
			return at.Format("2006-01-02 15") + fmt.Sprint(offset)
		case "week":
			if weekStart == "sunday" {
				at = at.AddDate(0, 0, 1)
			}
			year, week := at.ISOWeek()
			return fmt.Sprint(year, week)
		case "month":
			return at.Format("2006-01")
		}
		return at.Format(time.DateOnly)
	}
	w, before := q.window(), ""
	for m := w.from; m < w.to; m += 15 {
		if n := number(m); n != before {
			parts, before = append(parts, part{refWindow: refWindow{from: m}}), n
		}
		parts[len(parts)-1].to = m + 15
	}
	if n := len(parts); n > 0 && interval != "hour" {
		parts[0].partial = number(w.from) == number(w.from-15)
		parts[n-1].partial = parts[n-1].partial || number(w.to) == number(w.to-15)
	}
	return parts
}

// numberOf is the number of the interval of a minute, or the hour of the week; -1: it is in none.
func (q queried) numberOf(minute int64) int {
	for i, p := range q.parts {
		if p.from <= minute && minute < p.to {
			if slices.Contains(q.GetDimensions(), "hour_of_week") {
				return hourOfWeek(p.from, q.location)
			}
			return i
		}
	}
	return -1
}

func hourOfWeek(minute int64, location *time.Location) int {
	at := time.Unix(60*minute, 0).In(location)
	return (int(at.Weekday())+6)%7*24 + at.Hour()
}

// valuesOf are the values of a stay in a dimension that is not made of time.
func (ref queryReference) valuesOf(s stay, dimension string, q propertyQuestion) []string {
	switch dimension {
	case "template":
		return []string{s.template}
	case "organization":
		return []string{ref.organizationOf(s.template)}
	case "user":
		return []string{s.user}
	case "workspace":
		return some(s.workspace)
	case "purpose":
		return some(ref.purposeOf(s.workspace))
	case "template_version":
		return valuesOfBuild(ref.startOf(s.workspace, s.halfHour), dimension)
	case "region":
		return some(ref.w.regionOf(s.user, s.workspace, s.halfHour))
	case "parameter:region", "parameter:preset":
		return valuesOfBuild(ref.startOf(s.workspace, s.halfHour), dimension)
	case "actor":
		return []string{map[string]string{"human": "person", "service": "service", "system": "system"}[ref.kinds[s.user]]}
	case "group":
		return ref.groupsOf(s, q)
	}
	_, declared := ref.apps[[2]string{s.template, s.app}]
	known := apps.BuiltIn().Of(s.app)
	switch {
	case s.kind == "session" && dimension == "family":
		return []string{known.Family}
	case s.kind == "session" && (dimension == "app" || known.IDE):
		return []string{s.app}
	case s.kind == "app" && declared && dimension == "family":
		return []string{"workspace_app"}
	case s.kind == "app" && declared && dimension == "app":
		return []string{s.app}
	}
	return nil
}

// some is the value, if there is one.
func some(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func (ref queryReference) organizationOf(template string) string {
	for _, t := range ref.w.catalog.GetTemplates() {
		if t.GetId() == template {
			return t.GetOrganizationId()
		}
	}
	return ""
}

// purposeOf is what a workspace is for in the end.
func (ref queryReference) purposeOf(workspace string) (purpose string) {
	for _, ws := range slices.Concat(ref.w.catalog.GetWorkspaces(), ref.w.handed) {
		if ws.GetId() == workspace {
			purpose = cmp.Or(ws.GetPurpose(), "development")
		}
	}
	return purpose
}

// startOf is what a workspace runs with in the first minute of a half hour: the highest start that had succeeded; nil: none.
func (ref queryReference) startOf(workspace string, halfHour int64) (start *insightsv1.Build) {
	for _, b := range ref.buildsOf(workspace) {
		if starts(b) && floor(endOf(b), 60) <= 30*halfHour {
			start = b
		}
	}
	return start
}

// groupsOf are the groups that somebody was in when the half hour began.
func (ref queryReference) groupsOf(s stay, q propertyQuestion) (in []string) {
	begin := time.Unix(1800*s.halfHour, 0)
	for _, g := range ref.groups(q) {
		for _, m := range g.GetMembers() {
			if m.GetUserId() == s.user && (m.GetFrom() == nil || !begin.Before(m.GetFrom().AsTime())) &&
				(m.GetTo() == nil || begin.Before(m.GetTo().AsTime())) {
				in = append(in, g.GetId())
			}
		}
	}
	return in
}

// groups are those of the organizations of the templates that a question is about.
func (ref queryReference) groups(q propertyQuestion) (groups []*insightsv1.Group) {
	for _, g := range ref.w.catalog.GetGroups() {
		if slices.ContainsFunc(q.templates, func(id string) bool { return ref.organizationOf(id) == g.GetOrganizationId() }) {
			groups = append(groups, g)
		}
	}
	return groups
}

// passes reports whether what has some values passes all filters.
func (ref queryReference) passes(q queried, valuesOf func(dimension string) []string) bool {
	only := map[string]bool{} // whether something is in the set of a dimension
	for _, text := range q.GetFilters() {
		d, v, _ := strings.Cut(text, "=")
		name, not := strings.CutSuffix(d, "!")
		has := slices.Contains(valuesOf(name), v)
		if not && has {
			return false
		}
		if !not {
			only[name] = only[name] || has
		}
	}
	for _, in := range only {
		if !in {
			return false
		}
	}
	return true
}

// counts reports whether a question counts the actor of a stay.
func (ref queryReference) counts(s stay, q queried) bool {
	actor := ref.valuesOf(s, "actor", q.propertyQuestion)[0]
	return len(q.GetActor()) == 0 && actor == "person" || slices.Contains(q.GetActor(), actor) || slices.Contains(q.GetActor(), "all")
}

// queryCell is what was used of a row.
type queryCell struct {
	values     []string // by dimension; of time its number
	number     int      // of time; -1: none
	minutes    map[string]map[int64]bool
	workspaces map[string]bool
	samples    map[[2]string]map[int64]float64 // by template and user
	ran        map[string]int64                // minutes by metric: a workspace has one of each in a row
	built      map[string]int64                // by metric
	waits      []float64                       // seconds
	owners     map[string]map[string]bool      // of what runs, in unknown minutes, and of builds that count, failed and got ready
	suppressed bool
}

func newCell(values []string, number int) *queryCell {
	return &queryCell{
		values: values, number: number, minutes: map[string]map[int64]bool{}, workspaces: map[string]bool{},
		samples: map[[2]string]map[int64]float64{}, ran: map[string]int64{}, built: map[string]int64{},
		owners: map[string]map[string]bool{},
	}
}

// empty reports whether there is nothing in the row.
func (c *queryCell) empty() bool { return len(c.minutes)+len(c.samples)+len(c.ran)+len(c.built) == 0 }

// ofFew reports whether a figure of the row is about somebody, but about few.
func (c *queryCell) ofFew() bool {
	for _, owners := range c.owners {
		if few(len(owners)) {
			return true
		}
	}
	return few(len(c.minutes)) || few(len(c.sampled()))
}

// put adds a minute of a stay.
func (c *queryCell) put(ref queryReference, s stay, minute int64) {
	if s.sample {
		measure(c.samples, [2]string{s.template, s.user}, minute, ref.sampled[[3]string{s.template, s.user, s.workspace}][minute])
		return
	}
	mark(c.minutes, s.user, minute)
	if s.workspace != "" {
		c.workspaces[s.workspace] = true
	}
}

// queryTable is the rows of a window by their values, and everything.
type queryTable struct {
	rows     map[string]*queryCell
	whole    *queryCell
	others   map[string]map[string]map[int64]bool // by actor and user: minutes of who is left out
	withheld bool
}

// cut puts everything into rows.
func (ref queryReference) cut(q queried) queryTable {
	t := queryTable{rows: map[string]*queryCell{}, whole: newCell(nil, -1), others: map[string]map[string]map[int64]bool{}}
	window := q.window()
	latency := q.measures()
	for s, minutes := range ref.asked(q) {
		if s.sample && !latency {
			continue
		}
		values := make([][]string, len(q.GetDimensions())) // of time: none
		for i, d := range q.GetDimensions() {
			values[i] = ref.valuesOf(s, d, q.propertyQuestion)
		}
		for _, m := range minutes {
			switch {
			case m < window.from || m >= window.to:
			case ref.counts(s, q):
				if q.asks(metricsOfUse) {
					t.spread(q, m, values, func(c *queryCell) { c.put(ref, s, m) })
				}
			case !s.sample:
				actor := ref.valuesOf(s, "actor", q.propertyQuestion)[0]
				if t.others[actor] == nil {
					t.others[actor] = map[string]map[int64]bool{}
				}
				mark(t.others[actor], s.user, m)
			}
		}
	}
	var last stay
	var values [][]string
	for x := range ref.things(q) {
		if x.stay != last || x.build != nil || values == nil {
			last, values = x.stay, make([][]string, len(q.GetDimensions()))
			for i, d := range q.GetDimensions() {
				values[i] = ref.valuesOfThing(x, d, q.propertyQuestion)
			}
		}
		t.spread(q, x.minute, values, x.put)
	}
	ref.fill(q, t)
	if q.hourly() {
		ref.close(q, &t)
	}
	return t
}

// asked are the stays that a question is about. Where it asks for uses, a sample is what its person used in the template and half hour.
func (ref queryReference) asked(q queried) iter.Seq2[stay, []int64] {
	ofUses := slices.ContainsFunc(append(q.GetFilters(), q.GetDimensions()...), func(d string) bool {
		return strings.HasPrefix(d, "app") || strings.HasPrefix(d, "family") || strings.HasPrefix(d, "editor")
	})
	return func(yield func(stay, []int64) bool) {
		for s, minutes := range ref.stays {
			as := []stay{s}
			if s.sample && ofUses {
				as = nil
				for other := range ref.stays {
					if !other.sample && other.template == s.template && other.user == s.user && other.halfHour == s.halfHour {
						as = append(as, s)
						as[len(as)-1].kind, as[len(as)-1].app = other.kind, other.app
					}
				}
			}
			for _, s := range as {
				valuesOf := func(dimension string) []string { return ref.valuesOf(s, dimension, q.propertyQuestion) }
				if s.kind != "login" && slices.Contains(q.templates, s.template) && ref.passes(q, valuesOf) && !yield(s, minutes) {
					return
				}
			}
		}
	}
}

// spread puts a minute into the rows that it belongs to, and into everything.
func (t queryTable) spread(q queried, minute int64, values [][]string, put func(*queryCell)) {
	put(t.whole)
	number, combined := -1, [][]string{nil}
	for i := range values {
		these := values[i]
		if i == q.timed() {
			if number = q.numberOf(minute); number >= 0 {
				these = []string{strconv.Itoa(number)}
			}
		}
		var longer [][]string
		for _, before := range combined {
			for _, v := range these {
				longer = append(longer, append(slices.Clone(before), v))
			}
		}
		combined = longer
	}
	for _, row := range combined {
		if len(row) > 0 {
			put(t.row(row, number))
		}
	}
}

// row is the row of some values.
func (t queryTable) row(values []string, number int) *queryCell {
	name := strings.Join(values, " ")
	if t.rows[name] == nil {
		t.rows[name] = newCell(values, number)
	}
	return t.rows[name]
}

// fill adds the rows that are there without use as well.
func (ref queryReference) fill(q queried, t queryTable) {
	if len(q.GetDimensions()) != 1 {
		return
	}
	if q.timed() == 0 {
		for _, p := range q.parts {
			n := q.numberOf(p.from)
			t.row([]string{strconv.Itoa(n)}, n)
		}
	}
	if q.GetDimensions()[0] == "group" {
		for _, g := range ref.groups(q.propertyQuestion) {
			t.row([]string{g.GetId()}, -1)
		}
	}
}

// fewest is how many people an hour is told of at least.
const fewest = 5

// close suppresses rows that have an hour which some template and some kind of actor closes. Those by template are not there at all.
func (ref queryReference) close(q queried, t *queryTable) {
	hours := q.partsOf("hour", "")
	latency := q.measures()
	people := map[[3]string][]map[string]bool{} // by template, actor and figure: of each hour
	there := func(atom [3]string, minute int64, user string) {
		if people[atom] == nil {
			people[atom] = make([]map[string]bool, len(hours))
		}
		n := slices.IndexFunc(hours, func(h part) bool { return h.from <= minute && minute < h.to })
		if n < 0 {
			return
		}
		if people[atom][n] == nil {
			people[atom][n] = map[string]bool{}
		}
		people[atom][n][user] = true
	}
	for s, minutes := range ref.asked(q) {
		if s.sample && !latency || !ref.counts(s, q) || !q.asks(metricsOfUse) {
			continue
		}
		for _, m := range minutes {
			there([3]string{s.template, ref.kinds[s.user], fmt.Sprint(s.sample)}, m, s.user)
		}
	}
	for x := range ref.things(q) {
		for _, figure := range x.figures() {
			there([3]string{x.template, ref.kinds[x.user], figure}, x.minute, x.user)
		}
		for _, visitor := range x.visitors {
			there([3]string{x.template, ref.kinds[x.user], "visited by " + ref.kinds[visitor]}, x.minute, visitor)
		}
	}
	dates := make([]string, len(hours))
	for n, h := range hours {
		dates[n] = dateOf(h.from, q.location)
	}
	closed := map[[2]string]bool{} // by template, or none, and number of time
	for atom, in := range people {
		for n := range hours {
			if closes(dates, in, n) {
				number := strconv.Itoa(q.numberOf(hours[n].from))
				closed[[2]string{atom[0], number}], closed[[2]string{"", number}] = true, true
			}
		}
	}
	by := slices.Index(q.GetDimensions(), "template")
	for name, c := range t.rows {
		template := ""
		if by >= 0 {
			template = c.values[by]
		}
		if closed[[2]string{template, strconv.Itoa(c.number)}] || c.ofFew() {
			t.withheld = true
			if t.rows[name] = newCell(c.values, c.number); by >= 0 {
				delete(t.rows, name)
			} else {
				t.rows[name].suppressed = true
			}
		}
	}
}

func few(people int) bool { return people > 0 && people < fewest }

// sampled is whom the samples are of.
func (c *queryCell) sampled() map[string]bool {
	users := map[string]bool{}
	for of := range c.samples {
		users[of[1]] = true
	}
	return users
}

// closes reports whether those who were there on the date of an hour close it: if there were few in some hour, all hours are closed but
// those with enough, and of these the first of the ones with the fewest.
func closes(dates []string, in []map[string]bool, hour int) bool {
	sparse, least := false, -1
	for n, date := range dates {
		if date != dates[hour] {
			continue
		}
		sparse = sparse || few(len(in[n]))
		if len(in[n]) >= fewest && (least < 0 || len(in[n]) < len(in[least])) {
			least = n
		}
	}
	return sparse && (len(in[hour]) < fewest || hour == least)
}

// figures are the metrics of a row.
func (c *queryCell) figures(q queried) map[string]float64 {
	all := map[string]float64{
		"active_users": float64(len(c.minutes)), "used_seconds": 0, "launches": 0, "active_days": 0, "peak_users": 0,
		"workspaces": float64(len(c.workspaces)), "latency_samples": 0,
	}
	atOnce := map[int64]float64{}
	for _, minutes := range c.minutes {
		days := map[string]bool{}
		for m := range minutes {
			days[dateOf(m, q.location)] = true
			atOnce[m]++
			all["peak_users"] = max(all["peak_users"], atOnce[m])
		}
		all["launches"] += float64(runs(minutes))
		all["used_seconds"] += 60 * float64(len(minutes))
		all["active_days"] += float64(len(days))
	}
	var samples []float64
	for _, of := range c.samples {
		samples = append(samples, slices.Collect(maps.Values(of))...)
	}
	slices.Sort(samples)
	if all["latency_samples"] = float64(len(samples)); len(samples) > 0 {
		all["latency_p50_ms"], all["latency_p95_ms"] = percentile(samples, 0.5), percentile(samples, 0.95)
	}
	for _, m := range slices.Concat(metricsOfTime, []string{"builds", "failed_builds"}) {
		all[m] = float64(60*c.ran[m] + c.built[m])
	}
	if slices.Sort(c.waits); len(c.waits) > 0 {
		all["ready_p50_seconds"], all["ready_p95_seconds"] = percentile(c.waits, 0.5), percentile(c.waits, 0.95)
	}
	maps.DeleteFunc(all, func(metric string, _ float64) bool { return !slices.Contains(q.GetMetrics(), metric) })
	return all
}

// queryRow is a row as it is told.
type queryRow struct {
	Values              map[string]float64 // by metric
	Before              map[string]float64 // nil: nothing is told of it
	Partial, Suppressed bool
}

// tell is a row as it is told.
func (c *queryCell) tell(q queried) queryRow {
	if c.suppressed {
		return queryRow{Suppressed: true, Values: map[string]float64{}}
	}
	r := queryRow{Values: c.figures(q)}
	if c.number >= 0 && slices.Contains(q.GetDimensions(), "interval") { // not of everything
		r.Partial = q.parts[c.number].partial
	}
	return r
}

// name is the values of a row, with the time as it is shown.
func (q queried) name(c *queryCell) string {
	values := slices.Clone(c.values)
	if i := q.timed(); i >= 0 && q.GetDimensions()[i] == "interval" {
		values[i] = q.show(q.parts[c.number].from)
	}
	return strings.Join(values, " ")
}

// rows are the rows of an answer by their values, everything, and who is left out.
func (ref queryReference) rows(
	q propertyQuestion, req *insightsv1.QueryUsageRequest, interval string,
) (rows map[string]queryRow, whole queryRow, others []*insightsv1.OtherActor) {
	of := newQueried(q, req, interval)
	t := ref.cut(of)
	rows, whole = map[string]queryRow{}, t.whole.tell(of)
	for _, c := range t.rows {
		rows[of.name(c)] = c.tell(of)
	}
	for _, actor := range []string{"person", "service", "system"} {
		if users := t.others[actor]; len(users) > 0 {
			seconds, _ := sum(users)
			others = append(others, &insightsv1.OtherActor{Actor: actor, Actors: int64(len(users)), Seconds: seconds})
		}
	}
	if earlier, compares := of.before(interval); compares {
		ref.join(of, earlier, t, rows, &whole)
	}
	return rows, whole, others
}

// join adds what was before: of no interval that begins before anything was told.
func (ref queryReference) join(q, earlier queried, now queryTable, rows map[string]queryRow, whole *queryRow) {
	first, known := ref.firstDay(q.propertyQuestion)
	if !known || first >= earlier.window().to {
		return
	}
	before := ref.cut(earlier)
	if earlier.window().from >= first {
		whole.Before = before.whole.figures(q)
	}
	byInterval := slices.Contains(q.GetDimensions(), "interval")
	tells := func(c *queryCell) bool {
		if !byInterval {
			return earlier.window().from >= first
		}
		return c.number < len(earlier.parts) && earlier.parts[c.number].from >= first
	}
	for name, c := range now.rows {
		was, there := before.rows[name]
		if !there {
			if before.withheld {
				continue
			}
			was = newCell(c.values, c.number)
		}
		if r := rows[q.name(c)]; !r.Suppressed && !was.suppressed && tells(was) {
			r.Before = was.figures(q)
			rows[q.name(c)] = r
		}
	}
	for name, was := range before.rows {
		if now.rows[name] != nil || before.withheld || now.withheld || was.empty() || !tells(was) ||
			byInterval && was.number >= len(q.parts) {
			continue
		}
		r := newCell(was.values, was.number).tell(q)
		r.Before = was.figures(q)
		rows[q.name(was)] = r
	}
}

// firstDay is when the first day begins, by the clock of the place, on which use of the templates was told.
func (ref queryReference) firstDay(q propertyQuestion) (from int64, known bool) {
	for template, m := range ref.first {
		if day := floor(m, 1440) * 1440; slices.Contains(q.templates, template) && (!known || day < from) {
			from, known = day, true
		}
	}
	for known && dateOf(from-15, q.location) == dateOf(from, q.location) {
		from -= 15
	}
	return from, known
}
