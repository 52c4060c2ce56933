package admin

import (
	"context"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
)

// SetParameterRelease implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) SetParameterRelease(
	ctx context.Context, req *insightsv1.SetParameterReleaseRequest,
) (*insightsv1.SetParameterReleaseResponse, error) {
	template, err := call.ParseID(req.GetTemplateId())
	if err != nil {
		return nil, call.InvalidParam("template_id", "%v", err)
	}
	name := req.GetParameterName()
	if err := call.CheckText(name); err != nil || name == "" {
		return nil, call.InvalidParam("parameter_name", "must have 1 to %d bytes without control characters", call.MaxStringBytes)
	}
	previous, err := p.store.SetParameterRelease(ctx, template, name, req.GetReleased())
	if err != nil {
		return nil, err
	}
	if previous && !req.GetReleased() { // the next scrape shall not show what is hidden again
		if err := p.erasures.forgetAll(ctx); err != nil {
			return nil, err
		}
	}
	return &insightsv1.SetParameterReleaseResponse{
		TemplateId: template.String(), ParameterName: name, Released: req.GetReleased(), PreviouslyReleased: previous,
	}, nil
}
