package server

import (
	"context"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// ResolvePseudonym implements [insightsv1.PrivacyServiceServer].
func (p *privacyService) ResolvePseudonym(ctx context.Context, req *insightsv1.ResolvePseudonymRequest) (*insightsv1.ResolvePseudonymResponse, error) {
	pseudonym, err := parseID(req.GetUserId())
	if err != nil {
		return nil, invalidParam("user_id", "%v", err)
	}
	who, err := p.store.ResolvePseudonym(ctx, pseudonym)
	if err != nil {
		return nil, err
	}
	return &insightsv1.ResolvePseudonymResponse{UserId: who.UserID.String(), Username: who.Username}, nil
}
