package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/credential"
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
		if !released {
			deleted := tx.Delete(&row)
			previous = deleted.RowsAffected > 0
			return deleted.Error
		}
		created := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row)
		previous = created.RowsAffected == 0
		return created.Error
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

// suspicion knows the templates of the choices.
func (s *Store) suspicion(ctx context.Context, choices []choice) (suspicion, error) {
	newest, err := s.newestParameters(ctx, choices)
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
