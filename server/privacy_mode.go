package server

import (
	"context"
	"slices"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// SetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *privacyService) SetPrivacyMode(ctx context.Context, req *insightsv1.SetPrivacyModeRequest) (*insightsv1.SetPrivacyModeResponse, error) {
	if !slices.Contains(store.PrivacyModeNames, req.GetMode()) {
		return nil, oneOf("mode", store.PrivacyModeNames...)
	}
	organization, err := optionalOrganization(req.GetOrganizationId())
	if err != nil {
		return nil, err
	}
	previous, err := p.store.SetPrivacyMode(ctx, organization, store.PrivacyMode(req.GetMode()))
	if err != nil {
		return nil, err
	}
	return &insightsv1.SetPrivacyModeResponse{OrganizationId: optionalID(organization), Mode: req.GetMode(), PreviousMode: string(previous)}, nil
}

// GetPrivacyMode implements [insightsv1.PrivacyServiceServer].
func (p *privacyService) GetPrivacyMode(ctx context.Context, req *insightsv1.GetPrivacyModeRequest) (*insightsv1.GetPrivacyModeResponse, error) {
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
		OrganizationId: optionalID(organization), Mode: string(modes.Of(organization)), Since: timestamp(modes.Since(organization)),
		TreatedAt: timestamp(modes.TreatedAt(organization)), UsersToHide: int64(left),
	}, nil
}

// optionalOrganization reads the id of an organization; without one it is uuid.Nil, which stands for the deployment.
func optionalOrganization(text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := parseID(text)
	if err != nil {
		return id, invalidParam("organization_id", "%v", err)
	}
	return id, nil
}
