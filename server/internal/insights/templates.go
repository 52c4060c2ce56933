package insights

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// ListTemplates implements [insightsv1.InsightsServiceServer].
func (s *Service) ListTemplates(ctx context.Context, req *insightsv1.ListTemplatesRequest) (*insightsv1.ListTemplatesResponse, error) {
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
	within := req.GetOrganization()
	if within != "" && !slices.ContainsFunc(organizations, func(o store.Organization) bool { return isOrganization(o, within) }) {
		return nil, access.ErrNotFound
	}
	var search templateSearch
	if req.Q != nil || within != "" {
		if search, err = parseTemplateSearch(req.GetQ(), organizations); err != nil {
			return nil, err
		}
	}
	owners := map[uuid.UUID]store.Organization{}
	for _, o := range organizations {
		owners[o.ID] = o
	}
	answer := &insightsv1.ListTemplatesResponse{}
	for _, t := range templates {
		owner := owners[t.OrganizationID]
		if search.finds(t, owner) && (within == "" || isOrganization(owner, within)) {
			answer.Templates = append(answer.Templates, templateOf(t, owner))
		}
	}
	return answer, nil
}

// GetTemplate implements [insightsv1.InsightsServiceServer].
func (s *Service) GetTemplate(ctx context.Context, req *insightsv1.GetTemplateRequest) (*insightsv1.GetTemplateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	if _, err := uuid.Parse(req.GetTemplateId()); err != nil { // its access rule takes an empty one for all templates
		return nil, call.InvalidParam("template_id", "must be the id of a template")
	}
	templates, err := s.store.Templates(ctx, call.ScopeOf(ctx))
	if err != nil {
		return nil, err
	}
	if len(templates) == 0 {
		return nil, access.ErrNotFound
	}
	organizations, err := s.store.Organizations(ctx, call.ScopeOf(ctx))
	if err != nil {
		return nil, err
	}
	owner := store.Organization{}
	if len(organizations) > 0 {
		owner = organizations[0]
	}
	return &insightsv1.GetTemplateResponse{Template: templateOf(templates[0], owner)}, nil
}

// shownName is what people see of a template.
func shownName(t store.Template) string { return cmp.Or(t.DisplayName, t.Name) }

// never is how Coder says that it does not know when something was.
var never = timestamppb.New(time.Time{})

// milliseconds are those of so many seconds, or as many whole seconds as there can be.
func milliseconds(seconds int64) int64 { return 1000 * min(seconds, math.MaxInt64/1000) }

// templateOf is a template of an organization as answers tell it, with all that clients of Coder decode.
func templateOf(t store.Template, owner store.Organization) *insightsv1.Template {
	const notCounted = -1
	return &insightsv1.Template{
		Id: t.ID.String(), OrganizationId: t.OrganizationID.String(), Name: t.Name, DisplayName: t.DisplayName, Icon: t.Icon,
		CreatedAt: cmp.Or(call.Timestamp(t.CreatedAt), never), DeletedAt: call.Timestamp(t.DeletedAt), Deleted: !t.DeletedAt.IsZero(),
		OrganizationName: owner.Name, OrganizationDisplayName: owner.DisplayName, DefaultTtlSeconds: t.DefaultTTLSeconds,
		DormantAfterSeconds: t.DormantAfterSeconds, DeleteDormantAfterSeconds: t.DeleteDormantAfterSeconds,
		DefaultTtlMs: milliseconds(t.DefaultTTLSeconds), TimeTilDormantMs: milliseconds(t.DormantAfterSeconds),
		TimeTilDormantAutodeleteMs: milliseconds(t.DeleteDormantAfterSeconds),
		UpdatedAt:                  never, ActiveVersionId: uuid.Nil.String(), CreatedById: uuid.Nil.String(), ActiveUserCount: notCounted,
		AutostopRequirement: &insightsv1.AutostopRequirement{}, AutostartRequirement: &insightsv1.AutostartRequirement{},
	}
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
			Id: o.ID.String(), Name: o.Name, DisplayName: o.DisplayName, CreatedAt: never, UpdatedAt: never,
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
