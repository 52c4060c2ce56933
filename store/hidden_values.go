package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/credential"
	"github.com/template-insights/insights/store/minute"
)

// Free text of parameters may hold secrets, whatever the control plane says of a parameter. So values that look like credentials are
// counted together. Three kinds of them are shown all the same: what the template itself offers, what many owners chose, and values of
// parameters that somebody released because they only look like credentials.

// HiddenValue is what values that look like credentials are called together.
const HiddenValue = "(hidden)"

// fewestOwners is how many owners choose a value that looks like a credential before it is shown: what so many know is no secret.
const fewestOwners = 5

// parameterRelease says that values of a parameter of a template are shown although they look like credentials.
type parameterRelease struct {
	TemplateID uuid.UUID `gorm:"primaryKey"`
	Name       string    `gorm:"primaryKey"`
}

// SetParameterRelease releases a parameter of a template, or takes the release back, and returns whether it was released before. It
// fails with ErrUnknown if no version of the template has the parameter.
func (s *Store) SetParameterRelease(ctx context.Context, template uuid.UUID, name string, released bool) (previous bool, err error) {
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		var versions []TemplateVersion
		if err := tx.Where("template_id = ?", template).Find(&versions).Error; err != nil {
			return err
		}
		if !slices.ContainsFunc(versions, func(v TemplateVersion) bool {
			return slices.ContainsFunc(v.Parameters, func(p Parameter) bool { return p.Name == name })
		}) {
			return fmt.Errorf("parameter %q of template %s %w", name, template, ErrUnknown)
		}
		row := parameterRelease{template, name}
		var changed *gorm.DB
		if released {
			changed = tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row)
		} else {
			changed = tx.Delete(&row)
		}
		if changed.Error != nil {
			return changed.Error
		}
		previous = released == (changed.RowsAffected == 0)
		return raiseParameters(tx, "id = ?", template)
	})
	if err != nil {
		return false, fmt.Errorf("set parameter release: %w", err)
	}
	return previous, nil
}

// suspicion tells which values look like credentials and are neither offered nor released.
type suspicion struct {
	newest   map[uuid.UUID][]Parameter // that the newest versions of templates ask for
	released map[parameterRelease]bool
	found    map[string]bool // whether values hold credentials, alone or as members of a list, whatever their parameters are
}

// suspicion reads what it takes to tell of templates.
func (s *Store) suspicion(ctx context.Context, templates []uuid.UUID) (suspicion, error) {
	newest, err := s.newestParameters(ctx, templates)
	if err != nil {
		return suspicion{}, err
	}
	var rows []parameterRelease
	if err := s.db.Reads.WithContext(ctx).Find(&rows).Error; err != nil {
		return suspicion{}, fmt.Errorf("read parameter releases: %w", err)
	}
	known := suspicion{newest: newest, released: map[parameterRelease]bool{}, found: map[string]bool{}}
	for _, row := range rows {
		known.released[row] = true
	}
	return known, nil
}

// of reports whether a value that a workspace of the template chose is under suspicion. The definition is that of its version.
func (s suspicion) of(template uuid.UUID, p Parameter, value string) bool {
	if namesValue(p, value) || s.released[parameterRelease{template, p.Name}] {
		return false
	}
	found, known := s.found[value]
	if !known {
		found = slices.ContainsFunc(append(membersOf(Parameter{Type: listType}, value), value), credential.In)
		s.found[value] = found
	}
	return found && !slices.ContainsFunc(s.newest[template], func(now Parameter) bool {
		return now.Name == p.Name && namesValue(now, value)
	})
}

// namesValue reports whether a definition itself names a value: as its default, or among its options.
func namesValue(p Parameter, value string) bool {
	return value == p.DefaultValue || len(p.Options) > 0 && offered([]Parameter{p}, membersOf(p, value))
}

// parameterValues tells the values of a parameter in the choices of a query, as far as their versions define it, as [Store.ParameterUsage]
// shows them: the empty text for all values of a sensitive parameter, and HiddenValue for those that look like credentials, unless many
// owners whom the query counts chose them for what workspaces run with in its window.
func (r dimensionReader) parameterValues(name string, all *queryWorkspaces, v *queryValues, of []int64) error {
	asked, suspicion, err := r.definitionsOf(name, all)
	if err != nil {
		return err
	}
	atomOf := func(c queryChoice) (atom parameterAtom, chosen bool) {
		p, defined := asked[c.version]
		atom.key, atom.value = p.key, c.parameters[name]
		_, chosen = c.parameters[name]
		return atom, defined && chosen
	}
	suspects, owners := make([]bool, len(of)), map[parameterAtom]map[uuid.UUID]bool{}
	for i, c := range all.choices {
		if err := r.ctx.Err(); err != nil { // looking at long values takes time
			return fmt.Errorf("look at parameters: %w", err)
		}
		if atom, chosen := atomOf(c); chosen && !asked[c.version].Sensitive &&
			suspicion.of(r.x.IDs[c.template], asked[c.version].Parameter, atom.value) {
			suspects[i], owners[atom] = true, map[uuid.UUID]bool{}
		}
	}
	for _, w := range all.list {
		for _, s := range w.states {
			atom, chosen := atomOf(all.choices[s.choice])
			if known := owners[atom]; chosen && known != nil && r.counts(w) {
				known[w.ownerID] = true
			}
		}
	}
	for i, c := range all.choices {
		atom, chosen := atomOf(c)
		shown := QueryKey{Value: atom.value, Label: atom.value}
		switch {
		case !chosen:
			of[i] = minute.NoValue
			continue
		case asked[c.version].Sensitive:
			shown = QueryKey{}
		case suspects[i] && len(owners[atom]) < fewestOwners:
			shown = QueryKey{Value: HiddenValue, Label: HiddenValue}
		}
		of[i] = v.add(shown)
	}
	return nil
}

// definitionsOf are the definitions of a parameter, by version, and what is known of values that look like credentials. One is sensitive if
// it, or the newest version of a template that has the same one, says so.
func (r dimensionReader) definitionsOf(name string, all *queryWorkspaces) (map[uuid.UUID]askedParameter, suspicion, error) {
	ids := map[uuid.UUID]bool{}
	for _, c := range all.choices {
		ids[c.version] = true
	}
	versions, err := r.versionsOf(r.ctx, ids)
	if err != nil {
		return nil, suspicion{}, err
	}
	templates := make([]uuid.UUID, 0, len(versions))
	for _, version := range versions {
		templates = append(templates, version.TemplateID)
	}
	known, err := r.suspicion(r.ctx, templates)
	if err != nil {
		return nil, known, err
	}
	asked, sensitive := map[uuid.UUID]askedParameter{}, map[string]bool{}
	for id, version := range versions {
		for _, p := range version.Parameters {
			if p.Name != name {
				continue
			}
			asked[id] = askedParameter{p, parameterKey(p)}
			sensitive[asked[id].key] = sensitive[asked[id].key] || p.Sensitive || slices.ContainsFunc(
				known.newest[version.TemplateID], func(now Parameter) bool { return now.Name == name && now.Sensitive },
			)
		}
	}
	for id, p := range asked {
		p.Sensitive = sensitive[p.key]
		asked[id] = p
	}
	return asked, known, nil
}
