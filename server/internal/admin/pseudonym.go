package admin

import (
	"context"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
)

// ResolvePseudonym implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) ResolvePseudonym(
	ctx context.Context, req *insightsv1.ResolvePseudonymRequest,
) (*insightsv1.ResolvePseudonymResponse, error) {
	pseudonym, err := call.ParseID(req.GetUserId())
	if err != nil {
		return nil, call.InvalidParam("user_id", "%v", err)
	}
	who, err := p.store.ResolvePseudonym(ctx, pseudonym)
	if err != nil {
		return nil, err
	}
	return &insightsv1.ResolvePseudonymResponse{UserId: who.UserID.String(), Username: who.Username}, nil
}
