package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// SetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) SetPrivacyMode(ctx context.Context, req *insightsv1.SetPrivacyModeRequest) (*insightsv1.SetPrivacyModeResponse, error) {
	names := store.PrivacyModeNames
	if req.GetOrganizationId() != "" {
		names = append(slices.Clone(names), string(store.PrivacyInherit))
	}
	if _, err := call.OneOf("mode", req.GetMode(), names...); err != nil {
		return nil, err
	}
	organization, err := p.optionalOrganization(ctx, req.GetOrganizationId())
	if err != nil {
		return nil, err
	}
	mode := store.PrivacyMode(req.GetMode())
	if organization == uuid.Nil && !req.GetKeepLooserModes() {
		if err := p.checkLooser(ctx, mode); err != nil {
			return nil, err
		}
	}
	previous, err := p.store.SetPrivacyMode(ctx, call.PrincipalOf(ctx), organization, mode)
	if err != nil {
		return nil, err
	}
	// The next scrape may tell no more of people than the mode allows.
	if err := p.erasures.follow(ctx); err != nil {
		return nil, err
	}
	modes, err := p.store.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	return &insightsv1.SetPrivacyModeResponse{
		OrganizationId: call.OptionalID(organization), Mode: string(modes.Of(organization)), PreviousMode: string(previous),
	}, nil
}

// checkLooser refuses a mode of the deployment that is stricter than the one before, if organizations keep looser ones of their own. Who
// sets it would think that it holds everywhere.
func (p *Privacy) checkLooser(ctx context.Context, mode store.PrivacyMode) error {
	modes, err := p.store.PrivacyModes(ctx)
	if err != nil || modes.Of(uuid.Nil).AtLeast(mode) {
		return err
	}
	overrides, err := p.overrides(ctx, modes, mode)
	if err != nil {
		return err
	}
	var looser []string
	for _, o := range overrides {
		if o.GetLooser() {
			looser = append(looser, fmt.Sprintf("%s (%s, %s)", o.GetOrganizationName(), o.GetMode(), o.GetOrganizationId()))
		}
	}
	if len(looser) == 0 {
		return nil
	}
	return call.NewError(
		codes.FailedPrecondition, call.ReasonLooser, "Organizations have looser modes of their own, and would keep them.",
		strings.Join(looser, ", ")+". Set them to inherit first, or say keep_looser_modes.", nil,
	)
}

// GetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) GetPrivacyMode(ctx context.Context, req *insightsv1.GetPrivacyModeRequest) (*insightsv1.GetPrivacyModeResponse, error) {
	organization, err := p.optionalOrganization(ctx, req.GetOrganizationId())
	if err != nil {
		return nil, err
	}
	modes, err := p.store.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	left, err := p.store.UsersToHide(ctx)
	if err != nil {
		return nil, err
	}
	mode := modes.Of(organization)
	answer := &insightsv1.GetPrivacyModeResponse{
		OrganizationId: call.OptionalID(organization), Mode: string(mode), Meaning: mode.Meaning(),
		Since: call.Timestamp(modes.Since(organization)), TreatedAt: call.Timestamp(modes.TreatedAt(organization)),
		UsersToHide: int64(left),
	}
	if organization != uuid.Nil {
		answer.Inherited = modes.Inherits(organization)
		return answer, nil
	}
	answer.Overrides, err = p.overrides(ctx, modes, mode)
	return answer, err
}

// overrides are the modes of organizations, by name, beside one of the deployment.
func (p *Privacy) overrides(
	ctx context.Context, modes store.PrivacyModes, deployment store.PrivacyMode,
) ([]*insightsv1.PrivacyModeOverride, error) {
	names, err := p.store.OrganizationNames(ctx)
	if err != nil {
		return nil, err
	}
	var overrides []*insightsv1.PrivacyModeOverride
	for _, id := range modes.Overrides() {
		mode := modes.Of(id)
		overrides = append(overrides, &insightsv1.PrivacyModeOverride{
			OrganizationId: id.String(), OrganizationName: names[id], Mode: string(mode), Looser: !mode.AtLeast(deployment),
			Meaning: mode.Meaning(), Since: call.Timestamp(modes.Since(id)), TreatedAt: call.Timestamp(modes.TreatedAt(id)),
		})
	}
	slices.SortFunc(overrides, func(a, b *insightsv1.PrivacyModeOverride) int {
		return cmp.Or(
			strings.Compare(a.GetOrganizationName(), b.GetOrganizationName()),
			strings.Compare(a.GetOrganizationId(), b.GetOrganizationId()),
		)
	})
	return overrides, nil
}

// optionalOrganization reads the id of an organization that the catalog knows; without one it is uuid.Nil, which stands for the deployment.
func (p *Privacy) optionalOrganization(ctx context.Context, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := call.ParseID(text)
	if err != nil {
		return id, call.InvalidParam("organization_id", "%v", err)
	}
	return id, p.store.CheckScope(ctx, access.Binding{Organization: id})
}
