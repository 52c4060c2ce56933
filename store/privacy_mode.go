package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
)

// PrivacyMode is how much is known about persons. Each mode after the first holds back what the one before it does, and more.
type PrivacyMode string

const (
	// PrivacyFull names users.
	PrivacyFull PrivacyMode = "full"
	// PrivacyPseudonym shows users under a stable pseudonym, and counts of people only from the floor on.
	PrivacyPseudonym PrivacyMode = "pseudonym"
	// PrivacyAggregate says nothing about single users and keeps no latencies.
	PrivacyAggregate PrivacyMode = "aggregate"
	// PrivacyOff takes reports and stores nothing of them.
	PrivacyOff PrivacyMode = "off"
)

// PrivacyInherit is no mode: it is set for an organization that is to have that of the deployment.
const PrivacyInherit PrivacyMode = "inherit"

// PrivacyModeNames are the modes, the strictest last.
var PrivacyModeNames = []string{string(PrivacyFull), string(PrivacyPseudonym), string(PrivacyAggregate), string(PrivacyOff)}

// Meaning says what is kept and told in a mode, in English.
func (m PrivacyMode) Meaning() string {
	switch m {
	case PrivacyFull:
		return "Everything is kept, and answers name people."
	case PrivacyPseudonym:
		return "Everything is kept under pseudonyms, without pictures and free text. Answers list people by pseudonym, and tell totals " +
			"of groups only."
	case PrivacyAggregate:
		return "As pseudonym, and no latencies are kept. Answers tell nothing about single people, and totals of groups only."
	case PrivacyOff:
		return "Nothing that comes in is kept. Answers are those of aggregate, about what was kept before."
	}
	return ""
}

// AtLeast reports whether a mode is as strict as another one.
func (m PrivacyMode) AtLeast(other PrivacyMode) bool {
	return slices.Index(PrivacyModeNames, string(m)) >= slices.Index(PrivacyModeNames, string(other))
}

// stricter is the stricter one of two modes.
func stricter(a, b PrivacyMode) PrivacyMode {
	if a.AtLeast(b) {
		return a
	}
	return b
}

// privacyModeRow is the mode that was set for an organization, or under uuid.Nil for the deployment.
type privacyModeRow struct {
	OrganizationID uuid.UUID `gorm:"primaryKey"`
	Mode           PrivacyMode
	Since          Instant
	TreatedAt      Instant
}

// TableName implements the naming of GORM.
func (privacyModeRow) TableName() string { return "privacy_modes" }

// PrivacyModes says which mode holds where.
type PrivacyModes struct {
	set map[uuid.UUID]privacyModeRow
}

// row is what holds for an organization: what was set for it, or else for the deployment. A mode that an organization inherits holds
// since the later one of two moments: when it was set, and when the organization was made to inherit it.
func (m PrivacyModes) row(organization uuid.UUID) privacyModeRow {
	deployment, set := m.set[uuid.Nil]
	if !set {
		deployment.Mode = PrivacyFull
	}
	own, ok := m.set[organization]
	switch {
	case !ok:
		return deployment
	case own.Mode != PrivacyInherit:
		return own
	}
	own.Mode = deployment.Mode
	if own.Since.Before(deployment.Since.Time) {
		own.Since = deployment.Since
	}
	if set && (deployment.TreatedAt.IsZero() || !own.TreatedAt.IsZero() && own.TreatedAt.Before(deployment.TreatedAt.Time)) {
		own.TreatedAt = deployment.TreatedAt
	}
	return own
}

// Of is the mode of the data of an organization; uuid.Nil is the deployment.
func (m PrivacyModes) Of(organization uuid.UUID) PrivacyMode { return m.row(organization).Mode }

// Decided reports whether anybody ever set a mode for the deployment, be it PrivacyFull, which holds until then as well.
func (m PrivacyModes) Decided() bool {
	_, set := m.set[uuid.Nil]
	return set
}

// Since is when the mode of an organization was set; never if nobody did.
func (m PrivacyModes) Since(organization uuid.UUID) Instant { return m.row(organization).Since }

// TreatedAt is when all that was stored before was treated as the mode of an organization says; never if it is not yet.
func (m PrivacyModes) TreatedAt(organization uuid.UUID) Instant { return m.row(organization).TreatedAt }

// Equal reports whether the same modes were set at the same times.
func (m PrivacyModes) Equal(other PrivacyModes) bool {
	return maps.EqualFunc(m.set, other.set, func(a, b privacyModeRow) bool { return a.Mode == b.Mode && a.Since.Equal(b.Since.Time) })
}

// Inherits reports whether an organization has the mode of the deployment because it has none of its own.
func (m PrivacyModes) Inherits(organization uuid.UUID) bool {
	own, ok := m.set[organization]
	return !ok || own.Mode == PrivacyInherit
}

// Overrides are the organizations that have a mode of their own, in no order.
func (m PrivacyModes) Overrides() []uuid.UUID {
	return slices.DeleteFunc(slices.Collect(maps.Keys(m.set)), func(id uuid.UUID) bool { return id == uuid.Nil || m.Inherits(id) })
}

// OfUser is the mode of what belongs to a user of these organizations: the strictest of theirs, or without any that of the
// deployment.
func (m PrivacyModes) OfUser(organizations []uuid.UUID) PrivacyMode {
	if len(organizations) == 0 {
		return m.Of(uuid.Nil)
	}
	mode := PrivacyFull
	for _, id := range organizations {
		mode = stricter(mode, m.Of(id))
	}
	return mode
}

// Strictest is the strictest mode that was set for anyone.
func (m PrivacyModes) Strictest() PrivacyMode {
	mode := PrivacyFull
	for _, r := range m.set {
		mode = stricter(mode, r.Mode)
	}
	return mode
}

func readPrivacyModes(tx *gorm.DB) (PrivacyModes, error) {
	var rows []privacyModeRow
	if err := tx.Find(&rows).Error; err != nil {
		return PrivacyModes{}, fmt.Errorf("read privacy modes: %w", err)
	}
	m := PrivacyModes{set: make(map[uuid.UUID]privacyModeRow, len(rows))}
	for _, r := range rows {
		m.set[r.OrganizationID] = r
	}
	return m, nil
}

// PrivacyModes returns the modes that hold now.
func (s *Store) PrivacyModes(ctx context.Context) (PrivacyModes, error) {
	return readPrivacyModes(s.db.Lookups.WithContext(ctx))
}

// AuditModeChange is what the trail says of a privacy mode that became another one: "organization=… from=… mode=…", without a part that
// there is none for. The call that asks for it is an event of its own.
const AuditModeChange = "privacy mode"

// SetPrivacyMode sets the mode of an organization, known or not, or with uuid.Nil of the deployment, and returns the one that
// held there before. A change is in the audit trail with who made it. PrivacyInherit is for organizations alone. Modes that hide names
// need the privacy key: without one they are ErrNoPrivacyKey.
func (s *Store) SetPrivacyMode(
	ctx context.Context, by access.Principal, organization uuid.UUID, mode PrivacyMode,
) (previous PrivacyMode, err error) {
	if s.key == nil && mode.AtLeast(PrivacyPseudonym) {
		return "", ErrNoPrivacyKey
	}
	if by.Kind == access.KindUser {
		if by.ID, err = s.KeptAs(ctx, by.ID); err != nil { // a caller may be remembered under the id from before
			return "", fmt.Errorf("set privacy mode: %w", err)
		}
	}
	defer s.catalogChanges.Add(1)
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		modes, err := readPrivacyModes(tx)
		if err != nil {
			return err
		}
		previous = modes.Of(organization)
		row := privacyModeRow{OrganizationID: organization, Mode: mode, Since: At(s.clock())}
		if set, again := modes.set[organization]; again && set.Mode == mode || !again && mode == PrivacyInherit {
			return nil
		}
		if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
			return err
		}
		target := fmt.Sprintf("from=%s mode=%s", previous, mode)
		if organization != uuid.Nil {
			target = fmt.Sprintf("organization=%s %s", organization, target)
		}
		if err := tx.Create(&AuditEvent{uuid.New(), row.Since, by.Kind, by.ID, AuditModeChange, target}).Error; err != nil {
			return err
		}
		return raiseVersion(tx, nil)
	})
	if err != nil {
		return "", fmt.Errorf("set privacy mode: %w", err)
	}
	return previous, nil
}

// DecidePrivacyMode sets the mode of the deployment if nobody ever did, and reports whether it was this call that decided, which is in the
// audit trail then. What was decided before stays, whether it is stricter or looser. Errors are those of SetPrivacyMode.
func (s *Store) DecidePrivacyMode(ctx context.Context, mode PrivacyMode) (decided bool, err error) {
	defer s.catalogChanges.Add(1)
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) (err error) {
		decided, err = s.decidePrivacyMode(tx, mode)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("decide on a privacy mode: %w", err)
	}
	return decided, nil
}

func (s *Store) decidePrivacyMode(tx *gorm.DB, mode PrivacyMode) (decided bool, err error) {
	row := privacyModeRow{OrganizationID: uuid.Nil, Mode: mode, Since: At(s.clock())}
	made := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row)
	if made.Error != nil || made.RowsAffected == 0 {
		return false, made.Error
	}
	if s.key == nil && mode.AtLeast(PrivacyPseudonym) {
		return false, ErrNoPrivacyKey
	}
	event := AuditEvent{uuid.New(), row.Since, KindCommandLine, uuid.Nil, AuditModeChange, "mode=" + string(mode)}
	if err := tx.Create(&event).Error; err != nil {
		return false, err
	}
	return true, raiseVersion(tx, nil)
}

// PrivacyModeOf returns the strictest mode among the templates of a scope; without any template that of the deployment.
func (s *Store) PrivacyModeOf(ctx context.Context, scope access.Scope) (PrivacyMode, error) {
	modes, err := s.PrivacyModes(ctx)
	if err != nil || modes.Strictest() == PrivacyFull {
		return PrivacyFull, err
	}
	organizations := map[uuid.UUID]uuid.UUID{}
	if scope.All() || len(scope.Templates()) > 0 {
		if organizations, err = s.OrganizationsOf(ctx, scope.Templates()); err != nil {
			return "", err
		}
	}
	return modes.OfUser(values(nil, organizations)), nil
}
