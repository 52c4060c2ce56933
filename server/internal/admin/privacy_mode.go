package admin

import (
	"context"
	"slices"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// SetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) SetPrivacyMode(ctx context.Context, req *insightsv1.SetPrivacyModeRequest) (*insightsv1.SetPrivacyModeResponse, error) {
	if !slices.Contains(store.PrivacyModeNames, req.GetMode()) {
		return nil, call.OneOf("mode", store.PrivacyModeNames...)
	}
	organization, err := optionalOrganization(req.GetOrganizationId())
	if err != nil {
		return nil, err
	}
	previous, err := p.store.SetPrivacyMode(ctx, organization, store.PrivacyMode(req.GetMode()))
	if err != nil {
		return nil, err
	}
	// The next scrape may tell no more of people than the mode allows.
	if err := p.erasures.forgetAll(ctx); err != nil {
		return nil, err
	}
	return &insightsv1.SetPrivacyModeResponse{
		OrganizationId: call.OptionalID(organization), Mode: req.GetMode(), PreviousMode: string(previous),
	}, nil
}

// GetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) GetPrivacyMode(ctx context.Context, req *insightsv1.GetPrivacyModeRequest) (*insightsv1.GetPrivacyModeResponse, error) {
	organization, err := optionalOrganization(req.GetOrganizationId())
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
	return &insightsv1.GetPrivacyModeResponse{
		OrganizationId: call.OptionalID(organization), Mode: string(modes.Of(organization)),
		Since: call.Timestamp(modes.Since(organization)), TreatedAt: call.Timestamp(modes.TreatedAt(organization)),
		UsersToHide: int64(left),
	}, nil
}

// optionalOrganization reads the id of an organization; without one it is uuid.Nil, which stands for the deployment.
func optionalOrganization(text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := call.ParseID(text)
	if err != nil {
		return id, call.InvalidParam("organization_id", "%v", err)
	}
	return id, nil
}
