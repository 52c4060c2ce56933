package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
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
// are hidden. A floor lets it tell what is published alone.
func (s *Store) ParameterUsage(
	ctx context.Context, scope access.Scope, actors minute.Actors, start, end time.Time, floor Floor,
) ([]ParameterUsage, error) {
	if floor.hides() {
		return s.publishedParameters(ctx, scope, actors, floor)
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	choices, err := s.latestChoices(ctx, x, actors, start, end)
	if err != nil {
		return nil, err
	}
	suspicion, err := s.suspicion(ctx, choices)
	if err != nil {
		return nil, err
	}
	groups := parameterGroups{}
	suspects := parameterAtoms{}
	err = s.eachParameter(ctx, choices, func(c choice, p Parameter, value string, chosen bool) {
		g := groups.of(p)
		g.templates[c.TemplateID] = true
		switch {
		case !chosen:
		case suspicion.of(c.TemplateID, p, value):
			suspects.add(parameterAtom{key: parameterKey(p), value: value}, c, p, true)
		default:
			g.values[value] += c.Workspaces
		}
	})
	if err != nil || len(suspects) == 0 {
		return groups.usage(suspicion.newest), err
	}
	// Owners are told apart only where something is under suspicion: that takes many more rows.
	if choices, err = s.choicesOfOwners(ctx, x, actors, start, end); err != nil {
		return nil, err
	}
	err = s.eachParameter(ctx, choices, func(c choice, p Parameter, value string, chosen bool) {
		if suspect := suspects[parameterAtom{key: parameterKey(p), value: value}]; chosen && suspect != nil {
			suspect.people[c.OwnerID] = struct{}{}
		}
	})
	for atom, suspect := range suspects {
		groups.of(suspect.definition).add(atom.value, suspect)
	}
	return groups.usage(suspicion.newest), err
}

// parameterGroups are groups by their keys.
type parameterGroups map[string]*parameterGroup

// of is the group of a definition.
func (groups parameterGroups) of(p Parameter) *parameterGroup {
	key := parameterKey(p)
	g := groups[key]
	if g == nil {
		g = &parameterGroup{p, map[uuid.UUID]bool{}, map[string]int64{}, map[string]int64{}}
		groups[key] = g
	}
	return g
}

// add adds those who chose a value. One under suspicion is hidden unless many owners chose it.
func (g *parameterGroup) add(value string, chosen *parameterChoices) {
	if chosen.suspect && len(chosen.people) < fewestOwners {
		g.hidden[value] += chosen.workspaces
	} else {
		g.values[value] += chosen.workspaces
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
func (s *Store) eachParameter(ctx context.Context, choices []choice, f func(c choice, p Parameter, value string, chosen bool)) error {
	ids := map[uuid.UUID]bool{}
	for _, c := range choices {
		ids[c.TemplateVersionID] = true
	}
	versions, err := s.versionsOf(ctx, ids)
	if err != nil {
		return err
	}
	for _, c := range choices {
		if err := ctx.Err(); err != nil { // looking at long values takes time
			return fmt.Errorf("look at parameters: %w", err)
		}
		values := map[string]string{}
		for _, p := range c.Parameters {
			values[p.Name] = p.Value
		}
		for _, p := range versions[c.TemplateVersionID].Parameters {
			value, chosen := values[p.Name]
			f(c, p, value, chosen)
		}
	}
	return nil
}

// parameterKey is equal for equal definitions and sorts like their parts, one after the other.
func parameterKey(p Parameter) string {
	options, _ := json.Marshal(p.Options) // strings only: cannot fail
	sensitive := ""
	if p.Sensitive {
		sensitive = "sensitive"
	}
	return strings.Join([]string{p.Name, p.Type, p.DisplayName, p.Description, string(options), sensitive}, "\x00")
}

// newestParameters are the parameters that the newest version of each template of the choices asks for. Of versions that are
// equally old all count.
func (s *Store) newestParameters(ctx context.Context, choices []choice) (map[uuid.UUID][]Parameter, error) {
	newest := map[uuid.UUID][]Parameter{}
	for _, c := range choices {
		newest[c.TemplateID] = nil
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

// choice is a number of workspaces whose newest starts chose the same.
type choice struct {
	TemplateID        uuid.UUID
	TemplateVersionID uuid.UUID
	OwnerID           uuid.UUID        // of the workspaces, where owners are told apart
	Parameters        []BuildParameter `gorm:"serializer:json"`
	Workspaces        int64
}

// changesWorkspace is the condition that a build changed what its workspace runs with: parameters and template version.
const changesWorkspace = `transition = 'start' AND status = 'succeeded'`

// latestStarts is the condition that a build is the newest start of a workspace of some actors that succeeded, among those of the
// templates that were created in [start, end), and its arguments. The newest has the highest number, and of equal ones the highest id.
func latestStarts(x usage.Index, actors minute.Actors, start, end time.Time) (condition string, args []any) {
	condition, args = x.Where(changesWorkspace+" AND created_at >= ? AND created_at < ?", At(start), At(end))
	owned, kinds := ownedBy(actors, "builds.workspace_id")
	return condition + ` AND NOT EXISTS (SELECT 1 FROM builds AS newer
		WHERE newer.workspace_id = builds.workspace_id AND (newer.number, newer.id) > (builds.number, builds.id) AND ` + condition +
		`) AND ` + owned, append(slices.Concat(args, args), kinds)
}

// latestChoices are what the newest starts of workspaces chose.
func (s *Store) latestChoices(
	ctx context.Context, x usage.Index, actors minute.Actors, start, end time.Time,
) ([]choice, error) {
	condition, args := latestStarts(x, actors, start, end)
	var choices []choice
	err := s.db.Reads.WithContext(ctx).Raw(
		`SELECT template_id, template_version_id, parameters, COUNT(*) AS workspaces FROM builds WHERE `+condition+`
		GROUP BY template_id, template_version_id, parameters`, args...,
	).Scan(&choices).Error
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	return choices, nil
}

// choicesOfOwners is latestChoices, with a choice for each owner.
func (s *Store) choicesOfOwners(
	ctx context.Context, x usage.Index, actors minute.Actors, start, end time.Time,
) ([]choice, error) {
	condition, args := latestStarts(x, actors, start, end)
	var choices []choice
	err := s.db.Reads.WithContext(ctx).Raw(`SELECT chosen.template_id, template_version_id, owner_id, parameters, COUNT(*) AS workspaces
		FROM (SELECT workspace_id, template_id, template_version_id, parameters FROM builds WHERE `+condition+`) AS chosen
		JOIN workspaces ON workspaces.id = workspace_id GROUP BY chosen.template_id, template_version_id, owner_id, parameters`,
		args...).Scan(&choices).Error
	if err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	return choices, nil
}
