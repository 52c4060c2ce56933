package insights

import (
	"context"
	"errors"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// ListTemplates implements [insightsv1.InsightsServiceServer].
func (s *Service) ListTemplates(ctx context.Context, _ *insightsv1.ListTemplatesRequest) (*insightsv1.ListTemplatesResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	scope, err := s.visible(ctx)
	if err != nil {
		return nil, err
	}
	templates, err := s.store.Templates(ctx, scope)
	if err != nil {
		return nil, err
	}
	organizations, err := s.store.Organizations(ctx, scope)
	if err != nil {
		return nil, err
	}
	owners := map[uuid.UUID]store.Organization{}
	for _, o := range organizations {
		owners[o.ID] = o
	}
	answer := &insightsv1.ListTemplatesResponse{}
	for _, t := range templates {
		owner := owners[t.OrganizationID]
		answer.Templates = append(answer.Templates, &insightsv1.Template{
			Id: t.ID.String(), OrganizationId: t.OrganizationID.String(), Name: t.Name, DisplayName: t.DisplayName, Icon: t.Icon,
			CreatedAt: call.Timestamp(t.CreatedAt), DeletedAt: call.Timestamp(t.DeletedAt),
			OrganizationName: owner.Name, OrganizationDisplayName: owner.DisplayName,
		})
	}
	return answer, nil
}

// ListOrganizations implements [insightsv1.InsightsServiceServer].
func (s *Service) ListOrganizations(
	ctx context.Context, _ *insightsv1.ListOrganizationsRequest,
) (*insightsv1.ListOrganizationsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	scope, err := s.visible(ctx)
	if err != nil {
		return nil, err
	}
	organizations, err := s.store.Organizations(ctx, scope)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.ListOrganizationsResponse{}
	for _, o := range organizations {
		answer.Organizations = append(answer.Organizations, &insightsv1.Organization{
			Id: o.ID.String(), Name: o.Name, DisplayName: o.DisplayName,
		})
	}
	return answer, nil
}

// visible is the templates whose insights the caller may see, which may be none.
func (s *Service) visible(ctx context.Context) (access.Scope, error) {
	scope, err := call.VisibleScope(ctx, s.store, access.ViewInsightsAggregate, nil)
	if errors.Is(err, access.ErrNotFound) {
		return access.Scope{}, nil
	}
	return scope, err
}
