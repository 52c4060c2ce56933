package insights

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// DefaultPrivacyFloor is how many people must take part in what is published where small groups are hidden, unless it is
// configured otherwise.
const DefaultPrivacyFloor = 5

// Disclosed says how much the caller may be told of the templates of a scope: the strictest privacy mode among them, and from how
// many people on; 0: of anyone.
func (s *Service) Disclosed(ctx context.Context, scope access.Scope) (mode store.PrivacyMode, floor int, err error) {
	if mode, err = s.store.PrivacyModeOf(ctx, scope); err != nil {
		return "", 0, err
	}
	whole, err := s.viewsWhole(ctx, scope)
	if err != nil || whole && mode == store.PrivacyFull {
		return mode, 0, err
	}
	return mode, s.options.PrivacyFloor, nil
}

// PublishedZone is the time zone whose days are published.
func (s *Service) PublishedZone() *time.Location { return s.options.Location }

// viewsWhole reports whether the caller may see more of the templates of a scope than totals.
func (s *Service) viewsWhole(ctx context.Context, scope access.Scope) (bool, error) {
	if scope.All() {
		return call.PrincipalOf(ctx).HoldsEverywhere(access.ViewInsights), nil
	}
	_, err := call.TemplateScope(ctx, s.store, access.ViewInsights, scope.Templates())
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// namesPeople returns the privacy mode of a scope, or the refusal of a question about single users.
func (s *Service) namesPeople(ctx context.Context, scope access.Scope) (store.PrivacyMode, error) {
	mode, err := s.store.PrivacyModeOf(ctx, scope)
	if err == nil && mode.AtLeast(store.PrivacyAggregate) {
		detail := fmt.Sprintf(
			"The privacy mode of these templates is %s. Ask for totals, or name templates of an organization with another mode.", mode,
		)
		err = call.NewError(codes.FailedPrecondition, call.ReasonAggregate, "Nothing is told about single users here.", detail, nil)
	}
	return mode, err
}

// alike gives a user of an answer an alias if its mode hides others: an answer about several organizations is as strict to everybody as its
// mode says.
func (s *Service) alike(mode store.PrivacyMode, user *uuid.UUID, username, avatar *string) (err error) {
	if mode == store.PrivacyFull {
		return nil
	}
	*avatar = ""
	*user, *username, err = s.store.Alias(*user, *username)
	return err
}

// alikeUser is alike for a user with a place among others.
func (s *Service) alikeUser(mode store.PrivacyMode, u *store.UserUsage) error {
	if mode == store.PrivacyFull {
		return nil
	}
	if err := s.alike(mode, &u.UserID, &u.Username, &u.AvatarURL); err != nil {
		return err
	}
	u.Place = store.PlaceOf(u.Username, u.UserID)
	return nil
}

// CollectionMode is how answers tell a privacy mode.
func CollectionMode(mode store.PrivacyMode) string {
	if mode == store.PrivacyFull {
		return ""
	}
	return string(mode)
}

// Timezone is the time zone of the only days that the caller's insights may be about, if they may not be about any.
func (s *Service) Timezone(ctx context.Context) (string, error) {
	scope, err := call.VisibleScope(ctx, s.store, access.ViewInsightsAggregate, nil)
	if errors.Is(err, access.ErrNotFound) || status.Code(err) == codes.InvalidArgument { // or more than may be asked about
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_, floor, err := s.Disclosed(ctx, scope)
	if err != nil || floor == 0 {
		return "", err
	}
	return s.options.Location.String(), nil
}

// suppress says of entries that have nothing published that their numbers tell nothing.
func suppress(report *insightsv1.TemplateInsightsReport) {
	report.Suppressed = report.GetActiveUsers() == 0
	for _, a := range report.GetAppsUsage() {
		a.Suppressed = a.GetSeconds() == 0
	}
}
