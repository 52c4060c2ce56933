package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// ParameterUsage is the use of one parameter definition: which values the workspaces chose.
type ParameterUsage struct {
	Templates  []uuid.UUID // that have the parameter, ascending
	Definition Parameter
	Values     []ParameterValue // by value
	Unused     []string         // values of options that nobody chose, in the order of the options
	Default    string           // the value without a choice, by the newest versions; empty: none, or they differ
}

// ParameterValue is one value and the number of workspaces with it. Values of a sensitive parameter are all shown as
// the empty string, and values that look like credentials as HiddenValue.
type ParameterValue struct {
	Value  string
	Count  int64
	Orphan bool // offered by the newest version of none of the templates any more
	Hidden bool // stands for values that look like credentials
}

// parameterGroup is the workspaces with one definition of a parameter.
type parameterGroup struct {
	definition     Parameter
	templates      map[uuid.UUID]bool
	values, hidden map[string]int64 // workspaces by value: by those that are shown, and by those that look like credentials
}

// ParameterUsage answers by the newest start of each workspace of some actors that succeeded among those created in [start, end): no other
// build changes what a workspace runs with. Definitions that differ in any part but the default are entries of their own; one that nobody
// has a value for is left out. The order is that of name, type, display name, description and options. A parameter that the newest version
// of a template calls sensitive is sensitive, whatever it was when the workspaces were built; of others, values that look like credentials
// are hidden. A floor is as in TemplateInsights.
func (s *Store) ParameterUsage(
	ctx context.Context, scope access.Scope, actors minute.Actors, start, end time.Time, floor Floor,
) ([]ParameterUsage, error) {
	if floor.hides() {
		return s.publishedParameters(ctx, scope, floor)
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	newest, err := s.newestStarts(ctx, x, actors, start, end)
	if err != nil {
		return nil, err
	}
	suspicion := newest.suspicion()
	groups := parameterGroups{}
	suspects := parameterAtoms{}
	choices := newest.choices()
	err = eachParameter(ctx, choices, func(c choice, p askedParameter, value string, chosen bool) {
		g := groups.of(p)
		g.templates[c.TemplateID] = true
		switch {
		case !chosen:
		case suspicion.of(c.TemplateID, p.Parameter, value):
			suspects.add(parameterAtom{key: p.key, value: value}, c, p, true)
		default:
			g.values[value] += c.Workspaces
		}
	})
	if err != nil || len(suspects) == 0 {
		return groups.usage(suspicion.newest), err
	}
	// Owners are told apart only where something is under suspicion: that takes more rows.
	if choices, err = s.choicesOfOwners(ctx, newest); err != nil {
		return nil, err
	}
	err = eachParameter(ctx, choices, func(c choice, p askedParameter, value string, chosen bool) {
		if suspect := suspects[parameterAtom{key: p.key, value: value}]; chosen && suspect != nil {
			suspect.people[c.OwnerID] = struct{}{}
		}
	})
	for atom, suspect := range suspects {
		groups.of(suspect.definition).add(atom.value, suspect.workspaces, suspect.hidden())
	}
	return groups.usage(suspicion.newest), err
}

// parameterGroups are groups by their keys.
type parameterGroups map[string]*parameterGroup

// of is the group of a definition.
func (groups parameterGroups) of(p askedParameter) *parameterGroup {
	g := groups[p.key]
	if g == nil {
		g = &parameterGroup{p.Parameter, map[uuid.UUID]bool{}, map[string]int64{}, map[string]int64{}}
		groups[p.key] = g
	}
	g.definition.DisplayName = cmp.Or(g.definition.DisplayName, p.DisplayName) // the same, or one has none
	return g
}

// add adds workspaces with a value.
func (g *parameterGroup) add(value string, workspaces int64, hidden bool) {
	if hidden {
		g.hidden[value] += workspaces
	} else {
		g.values[value] += workspaces
	}
}

// usage says which values the workspaces of each group chose, in the light of what the newest versions of templates offer.
func (groups parameterGroups) usage(newest map[uuid.UUID][]Parameter) []ParameterUsage {
	var usage []ParameterUsage
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		if g := groups[key]; len(g.values)+len(g.hidden) > 0 {
			usage = append(usage, g.usage(newest))
		}
	}
	return usage
}

// eachParameter calls f for every parameter that the builds of the choices asked for, with the value that was chosen, if one was.
func eachParameter(ctx context.Context, choices []choice, f func(c choice, p askedParameter, value string, chosen bool)) error {
	for _, c := range choices {
		if err := ctx.Err(); err != nil { // looking at long values takes time
			return fmt.Errorf("look at parameters: %w", err)
		}
		for _, p := range c.asked {
			value, chosen := c.values[p.Name]
			f(c, p, value, chosen)
		}
	}
	return nil
}

// ownDisplayName is the display name, empty if it is the name: imports of before named so what has none.
func (p Parameter) ownDisplayName() string {
	if p.DisplayName == p.Name {
		return ""
	}
	return p.DisplayName
}

// parameterKey is equal for equal definitions and sorts like their parts, one after the other.
func parameterKey(p Parameter) string {
	options, _ := json.Marshal(p.Options) // strings only: cannot fail
	sensitive := ""
	if p.Sensitive {
		sensitive = "sensitive"
	}
	return strings.Join([]string{p.Name, p.Type, p.ownDisplayName(), p.Description, string(options), sensitive}, "\x00")
}

// askedParameter is a parameter as a version of a template defines it.
type askedParameter struct {
	Parameter

	key string // as parameterKey
}

// newestParameters are the parameters that the newest version of each of some templates asks for. Of versions that are equally old all
// count.
func (s *Store) newestParameters(ctx context.Context, templates []uuid.UUID) (map[uuid.UUID][]Parameter, error) {
	newest := map[uuid.UUID][]Parameter{}
	for _, template := range templates {
		newest[template] = nil
	}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(newest)), readBatch) {
		var found []TemplateVersion
		err := s.db.Reads.WithContext(ctx).Raw(`SELECT template_versions.* FROM template_versions JOIN
			(SELECT template_id, MAX(created_at) AS created_at FROM template_versions WHERE template_id IN ? GROUP BY template_id) AS newest
			ON newest.template_id = template_versions.template_id AND newest.created_at = template_versions.created_at`,
			batch).Scan(&found).Error
		if err != nil {
			return nil, fmt.Errorf("read newest template versions: %w", err)
		}
		for _, v := range found {
			newest[v.TemplateID] = append(newest[v.TemplateID], v.Parameters...)
		}
	}
	return newest, nil
}

// usage says which values the workspaces of the group chose, in the light of what the templates offer now.
func (g *parameterGroup) usage(newest map[uuid.UUID][]Parameter) ParameterUsage {
	u := ParameterUsage{Definition: g.definition}
	u.Templates = slices.SortedFunc(maps.Keys(g.templates), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	var now []Parameter
	for _, template := range u.Templates {
		for _, p := range newest[template] {
			if p.Name == g.definition.Name {
				now = append(now, p)
				u.Definition.Sensitive = u.Definition.Sensitive || p.Sensitive
			}
		}
	}
	if u.Definition.Sensitive {
		u.Values = []ParameterValue{{Count: total(g.values) + total(g.hidden)}}
		return u
	}
	if len(now) > 0 && !slices.ContainsFunc(now, func(p Parameter) bool { return p.DefaultValue != now[0].DefaultValue }) {
		u.Default = now[0].DefaultValue
	}
	chosen := map[string]bool{}
	for _, value := range slices.Sorted(maps.Keys(g.values)) {
		members := membersOf(g.definition, value)
		for _, m := range members {
			chosen[m] = true
		}
		u.Values = append(u.Values, ParameterValue{Value: value, Count: g.values[value], Orphan: !offered(now, members)})
	}
	if len(g.hidden) > 0 {
		for value := range g.hidden {
			for _, m := range membersOf(g.definition, value) {
				chosen[m] = true
			}
		}
		u.Values = append(u.Values, ParameterValue{Value: HiddenValue, Count: total(g.hidden), Hidden: true})
		slices.SortStableFunc(u.Values, func(a, b ParameterValue) int { return strings.Compare(a.Value, b.Value) })
	}
	for _, o := range g.definition.Options {
		if !chosen[o.Value] {
			u.Unused = append(u.Unused, o.Value)
		}
	}
	return u
}

// total is the number of workspaces with any of some values.
func total(values map[string]int64) (workspaces int64) {
	for _, n := range values {
		workspaces += n
	}
	return workspaces
}

// listType is the type of parameters whose values are lists.
const listType = "list(string)"

// membersOf are the options that a value is made of: one, or for a list as many as it has.
func membersOf(p Parameter, value string) []string {
	var members []string
	if p.Type == listType && json.Unmarshal([]byte(value), &members) == nil {
		return members
	}
	return []string{value}
}

// offered reports whether one of the definitions lets all the members be chosen. Without options any value goes.
func offered(definitions []Parameter, members []string) bool {
	return slices.ContainsFunc(definitions, func(p Parameter) bool {
		return len(p.Options) == 0 || !slices.ContainsFunc(members, func(m string) bool {
			return !slices.ContainsFunc(p.Options, func(o ParameterOption) bool { return o.Value == m })
		})
	})
}

// changesWorkspace is the condition that a build changed what its workspace runs with: parameters and template version.
const changesWorkspace = `transition = 'start' AND status = 'succeeded'`

// choice is a number of workspaces whose newest starts chose the same.
type choice struct {
	TemplateID        uuid.UUID
	TemplateVersionID uuid.UUID
	OwnerID           uuid.UUID // of the workspaces, where owners are told apart
	Workspaces        int64

	values map[string]string // by the names of parameters
	asked  []askedParameter  // what the template version asks for
}

// start is a start of a workspace that succeeded.
type start struct {
	workspace           uuid.UUID
	created, superseded int64 // as an [Instant] is kept
	choice              int   // the place among those of the template
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// templateStarts is what is known of a template to tell the values of parameters in windows that end on one UTC day: the starts that were
// the newest ones of their workspaces at some moment of it, and what may be chosen. Nobody changes it any more.
type templateStarts struct {
	template uuid.UUID
	version  int64     // as an [Instant] is kept; 0: nothing has changed yet
	begun    time.Time // when it was read
	since    int64     // starts from before are left out; as an [Instant] is kept
	starts   []start   // by workspace, in the order in which they take the place of each other
	choices  []choice  // without workspaces
	newest   []Parameter
	released []parameterRelease
	size     int // in bytes
}

// eachNewest calls f for the newest start of each workspace among those that were created in [from, to).
func (t *templateStarts) eachNewest(from, to int64, f func(*start)) {
	var newest *start
	for i := range t.starts {
		s := &t.starts[i]
		if s.superseded < to || s.created < from || s.created >= to {
			continue
		}
		if newest != nil && newest.workspace != s.workspace {
			f(newest)
		}
		newest = s
	}
	if newest != nil {
		f(newest)
	}
}

// measure notes how much memory it takes, about.
func (t *templateStarts) measure() {
	const frame, ofStart, ofChoice, ofValue, ofParameter, ofOption = 500, 40, 300, 64, 300, 80
	t.size = frame + ofStart*len(t.starts) + ofChoice*len(t.choices)
	for _, p := range t.newest {
		t.size += ofParameter + len(p.Description)
		for _, o := range p.Options {
			t.size += ofOption + len(o.Name) + len(o.Description) + len(o.Value) + len(o.Icon)
		}
	}
	versions := map[uuid.UUID]bool{} // whose choices share what they ask for
	for _, c := range t.choices {
		for name, value := range c.values {
			t.size += ofValue + len(name) + len(value)
		}
		if versions[c.TemplateVersionID] {
			continue
		}
		versions[c.TemplateVersionID] = true
		for _, p := range c.asked {
			t.size += ofParameter + 2*len(p.key)
		}
	}
}

// startsOf names what is remembered: a template, and the UTC day on which windows end, counted from 1970.
type startsOf struct {
	template uuid.UUID
	day      int64
}

// maxStarts is how many bytes they take together at most: those of some 500,000 workspaces on a day.
const maxStarts = 32 << 20

// startsMemory remembers the starts of the templates that questions asked for last, as of a version, up to a size in bytes. Whatever
// changes what is told of them raises the version in the same transaction.
type startsMemory struct {
	limit int

	mu        sync.Mutex
	bytes     int
	forgotten time.Time // when all were
	templates *simplelru.LRU[startsOf, *templateStarts]
}

func newStartsMemory(limit int) *startsMemory {
	templates, err := simplelru.NewLRU[startsOf, *templateStarts](math.MaxInt, nil) // put bounds the bytes
	if err != nil {
		panic(err) // it fails for a number that is not positive
	}
	return &startsMemory{limit: limit, templates: templates}
}

// get returns the starts since a moment at a version, or nil.
func (m *startsMemory) get(of startsOf, version, since int64) *templateStarts {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, known := m.templates.Get(of)
	if !known || t.version != version || t.since > since || time.Since(t.begun) > versionLifetime {
		return nil
	}
	return t
}

// put remembers starts, and lets go of those that were not asked for the longest time, as far as it takes.
func (m *startsMemory) put(of startsOf, t *templateStarts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.size > m.limit || !t.begun.After(m.forgotten) {
		return // all others would have to leave, or it may hold what was erased
	}
	if before, known := m.templates.Peek(of); known {
		m.bytes -= before.size
	}
	m.templates.Add(of, t)
	for m.bytes += t.size; m.bytes > m.limit; {
		_, last, _ := m.templates.RemoveOldest()
		m.bytes -= last.size
	}
}

// forget forgets all starts.
func (m *startsMemory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.templates.Purge()
	m.bytes, m.forgotten = 0, time.Now()
}

// raiseParameters gives what is told of parameters its next version, for the templates under a condition. A transaction that changes builds
// of a template, its versions or what is released does it last, so that no other one waits for long.
func raiseParameters(tx *gorm.DB, condition string, args ...any) error {
	err := tx.Exec(`INSERT INTO parameter_versions AS stored (template_id, version) SELECT id, ? FROM templates WHERE `+condition+
		` ORDER BY id ON CONFLICT (template_id) DO UPDATE SET version = `+nextVersion, append([]any{At(time.Now())}, args...)...).Error
	if err != nil {
		return fmt.Errorf("raise version of parameters: %w", err)
	}
	return nil
}

// newestStarts is the newest start of each workspace that counts, among those that were created in [start, end).
type newestStarts struct {
	templates  []*templateStarts
	start, end int64
	counts     func(workspace uuid.UUID) bool
}

// each calls f for every start, with its template.
func (n newestStarts) each(f func(*templateStarts, *start)) {
	for _, t := range n.templates {
		t.eachNewest(n.start, n.end, func(s *start) {
			if n.counts(s.workspace) {
				f(t, s)
			}
		})
	}
}

// choices are what the starts chose.
func (n newestStarts) choices() (choices []choice) {
	workspaces := map[*templateStarts][]int64{}
	n.each(func(t *templateStarts, s *start) {
		if workspaces[t] == nil {
			workspaces[t] = make([]int64, len(t.choices))
		}
		workspaces[t][s.choice]++
	})
	for _, t := range n.templates {
		for i, number := range workspaces[t] {
			if c := t.choices[i]; number > 0 {
				c.Workspaces = number
				choices = append(choices, c)
			}
		}
	}
	return choices
}

// suspicion tells of the templates.
func (n newestStarts) suspicion() suspicion {
	known := suspicion{newest: map[uuid.UUID][]Parameter{}, released: map[parameterRelease]bool{}, found: map[string]bool{}}
	for _, t := range n.templates {
		known.newest[t.template] = t.newest
		for _, r := range t.released {
			known.released[r] = true
		}
	}
	return known
}

// newestStarts are those of workspaces of some actors that succeeded, of the templates. Of starts of a workspace the one with the highest
// number is the newest, and of equal ones that with the highest id. What is remembered counts if it has the version that is current after
// the call began.
func (s *Store) newestStarts(ctx context.Context, x usage.Index, actors minute.Actors, start, end time.Time) (newestStarts, error) {
	n := newestStarts{start: At(start).micros(), end: At(end).micros()}
	day := (n.end - 1) / dayMicros
	versions, counts, err := s.parameterVersions(ctx, x, actors)
	if err != nil {
		return n, err
	}
	n.counts = counts
	var missing []uuid.UUID
	for _, template := range x.IDs {
		if t := s.starts.get(startsOf{template, day}, versions[template], n.start); t != nil {
			n.templates = append(n.templates, t)
		} else {
			missing = append(missing, template)
		}
	}
	for batch := range slices.Chunk(missing, readBatch) {
		read, err := s.readStarts(ctx, batch, day, n.start)
		if err != nil {
			return n, err
		}
		for _, t := range read {
			t.version = versions[t.template]
			s.starts.put(startsOf{t.template, day}, t)
		}
		n.templates = append(n.templates, read...)
	}
	return n, nil
}

// parameterVersions reads the versions of what is told of parameters of templates, and which workspaces count for some actors. One without
// an owner in the catalog is owned by a person. It is one statement, so that both are of one moment: erasing gives workspaces other ids.
func (s *Store) parameterVersions(ctx context.Context, x usage.Index, actors minute.Actors) (
	versions map[uuid.UUID]int64, counts func(workspace uuid.UUID) bool, err error,
) {
	kinds, people := kindsOf(actors), actors.Has(minute.Person)
	if people {
		kinds = kindsOf(actors.Others())
	}
	condition, args := x.Where("1 = 1")
	owned, of := x.WhereColumn("workspaces.template_id", "users.kind IN ?", kinds)
	query := s.db.Reads.WithContext(ctx).Raw(`SELECT template_id, version FROM parameter_versions WHERE `+condition+`
		UNION ALL SELECT workspaces.id, -1 FROM workspaces JOIN users ON users.id = workspaces.owner_id WHERE `+owned,
		append(args, of...)...)
	versions = map[uuid.UUID]int64{}
	apart := map[uuid.UUID]bool{}
	err = s.db.Rows(query, func(r db.Records) error {
		var id uuid.UUID
		var version int64
		return r.Each(func() error {
			if version < 0 {
				apart[id] = true
			} else {
				versions[id] = version
			}
			return nil
		}, r.ID(&id), &version)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read versions of parameters: %w", err)
	}
	return versions, func(workspace uuid.UUID) bool { return apart[workspace] != people }, nil
}

// readStarts reads what there is of templates. It joins nothing, because Postgres cannot know how few starts are left, and might compare
// each of them with each. BETWEEN has an upper bound that bounds nothing, because SQLite prefers an index between two bounds, and would
// look at all starts of the window.
func (s *Store) readStarts(ctx context.Context, templates []uuid.UUID, day, since int64) ([]*templateStarts, error) {
	begun := time.Now() // the real clock: it is about age alone
	known, err := s.suspicion(ctx, templates)
	if err != nil {
		return nil, err
	}
	all, of := make([]*templateStarts, len(templates)), make(map[uuid.UUID]*templateStarts, len(templates))
	for i, template := range templates {
		all[i] = &templateStarts{template: template, begun: begun, since: since, newest: known.newest[template]}
		of[template] = all[i]
	}
	for r := range known.released {
		if t := of[r.TemplateID]; t != nil {
			t.released = append(t.released, r)
		}
	}
	type row struct {
		start

		number int64
		id     uuid.UUID
	}
	type chosen struct {
		template, version uuid.UUID
		parameters        string
	}
	rows, places, versions := map[uuid.UUID][]row{}, map[chosen]int{}, map[uuid.UUID]bool{}
	query := s.db.Reads.WithContext(ctx).Raw(`SELECT template_id, workspace_id, id, number, created_at, superseded_at, template_version_id,
		parameters FROM builds WHERE `+changesWorkspace+` AND template_id IN ? AND created_at >= ? AND created_at < ?
		AND superseded_at BETWEEN ? AND `+neverSuperseded,
		templates, since, (day+1)*dayMicros, day*dayMicros)
	err = s.db.Rows(query, func(r db.Records) error {
		var template, version uuid.UUID
		var b row
		var parameters []byte
		return r.Each(func() error {
			t := of[template]
			place, known := places[chosen{template, version, string(parameters)}]
			if !known {
				c, err := choiceOf(template, version, parameters)
				if err != nil {
					return err
				}
				place = len(t.choices)
				places[chosen{template, version, string(parameters)}], versions[version] = place, true
				t.choices = append(t.choices, c)
			}
			b.choice = place
			rows[template] = append(rows[template], b)
			return nil
		}, r.ID(&template), r.ID(&b.workspace), r.ID(&b.id), &b.number, &b.created, &b.superseded, r.ID(&version), r.Bytes(&parameters))
	})
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	asked, err := s.askedBy(ctx, versions)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		list := rows[t.template]
		slices.SortFunc(list, func(a, b row) int {
			return cmp.Or(bytes.Compare(a.workspace[:], b.workspace[:]), cmp.Compare(a.number, b.number), bytes.Compare(a.id[:], b.id[:]))
		})
		t.starts = make([]start, len(list))
		for i, b := range list {
			t.starts[i] = b.start
		}
		for i, c := range t.choices {
			t.choices[i].asked = asked[c.TemplateVersionID]
		}
		t.measure()
	}
	return all, nil
}

// choiceOf is the choice of a build, with its parameters as they are kept.
func choiceOf(template, version uuid.UUID, parameters []byte) (choice, error) {
	c := choice{TemplateID: template, TemplateVersionID: version, values: map[string]string{}}
	var list []BuildParameter
	if len(parameters) > 0 {
		if err := json.Unmarshal(parameters, &list); err != nil {
			return c, err
		}
	}
	for _, p := range list {
		c.values[p.Name] = p.Value
	}
	return c, nil
}

// askedBy is what template versions ask for.
func (s *Store) askedBy(ctx context.Context, ids map[uuid.UUID]bool) (map[uuid.UUID][]askedParameter, error) {
	versions, err := s.versionsOf(ctx, ids)
	asked := make(map[uuid.UUID][]askedParameter, len(versions))
	for id, v := range versions {
		for _, p := range v.Parameters {
			asked[id] = append(asked[id], askedParameter{p, parameterKey(p)})
		}
	}
	return asked, err
}

// choicesOfOwners are what starts chose, with a choice for each owner. Workspaces that the catalog does not know are left out.
func (s *Store) choicesOfOwners(ctx context.Context, n newestStarts) (choices []choice, err error) {
	var workspaces []uuid.UUID
	n.each(func(_ *templateStarts, started *start) { workspaces = append(workspaces, started.workspace) })
	owners, err := parents(s.db.Reads.WithContext(ctx), "workspaces", "owner_id", workspaces)
	if err != nil {
		return nil, fmt.Errorf("read owners of workspaces: %w", err)
	}
	type chosen struct {
		template *templateStarts
		choice   int
		owner    uuid.UUID
	}
	places := map[chosen]int{}
	n.each(func(t *templateStarts, started *start) {
		owner, known := owners[started.workspace]
		if !known {
			return
		}
		place, known := places[chosen{t, started.choice, owner}]
		if !known {
			place = len(choices)
			places[chosen{t, started.choice, owner}] = place
			choices = append(choices, t.choices[started.choice])
			choices[place].OwnerID = owner
		}
		choices[place].Workspaces++
	})
	return choices, nil
}
