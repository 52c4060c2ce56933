package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

func TestParseCatalogFaults(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	good := func(change func(*insightsv1.ApplyCatalogRequest)) *insightsv1.ApplyCatalogRequest {
		req := &insightsv1.ApplyCatalogRequest{
			Templates: []*insightsv1.Template{{
				Id: id, OrganizationId: id, Name: "docker", CreatedAt: timestamppb.New(time.Time{}), // as it is told
			}},
			TemplateVersions: []*insightsv1.TemplateVersion{{
				Id: id, TemplateId: id, Name: "v1",
				Parameters: []*insightsv1.Parameter{{Name: "size", Type: "number", Description: "Of the disk\nin **GiB**"}},
			}},
			Users:      []*insightsv1.User{{Id: id, Username: "ann"}},
			Groups:     []*insightsv1.Group{{Id: id, OrganizationId: id, Name: "all", UserIds: []string{id}}},
			Apps:       []*insightsv1.App{{AgentId: id, Slug: "ide"}},
			Workspaces: []*insightsv1.Workspace{{Id: id, OwnerId: id, TemplateId: id, Name: "dev", Purpose: "ai_task"}},
		}
		change(req)
		return req
	}
	for want, change := range map[string]func(*insightsv1.ApplyCatalogRequest){
		"":                              func(*insightsv1.ApplyCatalogRequest) {},
		"templates: id: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Id = strings.ReplaceAll(id, "-", "") },
		"templates: organization_id: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].OrganizationId = uuid.Nil.String()
		},
		"templates: name: is required":                        func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Name = "" },
		"templates: name: control characters are not allowed": func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Name = "a\nb" },
		"groups: name: control characters are not allowed":    func(r *insightsv1.ApplyCatalogRequest) { r.Groups[0].Name = "a\u200bb" },
		"templates: display_name: 129 bytes, at most 128": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].DisplayName = strings.Repeat("x", 129)
		},
		"templates: icon: 1025 bytes, at most 1024": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].Icon = strings.Repeat("x", 1025)
		},
		"templates: icon: the character U+0000 is not allowed": func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Icon = "a\x00b" },
		"templates: default_ttl_seconds: must not be negative": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].DefaultTtlSeconds = -1
		},
		"templates: dormant_after_seconds: must not be negative": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].DormantAfterSeconds = -1
		},
		"templates: delete_dormant_after_seconds: must not be negative": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].DeleteDormantAfterSeconds = -1
		},
		"workspaces: ttl_seconds: must not be negative": func(r *insightsv1.ApplyCatalogRequest) { r.Workspaces[0].TtlSeconds = -1 },
		"templates: created_at: must be a time from 1970 on": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].CreatedAt = &timestamppb.Timestamp{Seconds: -1}
		},
		"users: kind: must be one of [human system service]":       func(r *insightsv1.ApplyCatalogRequest) { r.Users[0].Kind = "robot" },
		"users: status: must be one of [active dormant suspended]": func(r *insightsv1.ApplyCatalogRequest) { r.Users[0].Status = "gone" },
		"users: organization_ids[1]: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) {
			r.Users[0].OrganizationIds = []string{id, "x"}
		},
		"workspaces: purpose: must be one of [development ai_task prebuild]": func(r *insightsv1.ApplyCatalogRequest) {
			r.Workspaces[0].Purpose = "fun"
		},
		"groups: user_ids[0]: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) { r.Groups[0].UserIds[0] = "x" },
		"groups: members: must not be given together with user_ids": func(r *insightsv1.ApplyCatalogRequest) {
			r.Groups[0].Members = []*insightsv1.GroupMember{{UserId: id}}
		},
		"groups: members[1].user_id: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) {
			r.Groups[0].UserIds, r.Groups[0].Members = nil, []*insightsv1.GroupMember{{UserId: id}, {}}
		},
		"groups: members[0].from: must be a time from 1970 on": func(r *insightsv1.ApplyCatalogRequest) {
			r.Groups[0].UserIds = nil
			r.Groups[0].Members = []*insightsv1.GroupMember{{UserId: id, From: &timestamppb.Timestamp{Seconds: -1}}}
		},
		"groups: members[0].to: must be after from": func(r *insightsv1.ApplyCatalogRequest) {
			at := &timestamppb.Timestamp{Seconds: 7, Nanos: 1000}
			r.Groups[0].UserIds = nil
			r.Groups[0].Members = []*insightsv1.GroupMember{{UserId: id, From: at, To: &timestamppb.Timestamp{Seconds: 7, Nanos: 1999}}}
		},
		"groups: members[2].to: must be after from": func(r *insightsv1.ApplyCatalogRequest) {
			r.Groups[0].UserIds = nil
			r.Groups[0].Members = []*insightsv1.GroupMember{
				{UserId: id, To: &timestamppb.Timestamp{Nanos: 1000}},
				{UserId: id, From: &timestamppb.Timestamp{Seconds: 7}, To: &timestamppb.Timestamp{Seconds: 8}},
				{UserId: id, To: &timestamppb.Timestamp{}},
			}
		},
		"apps: slug: is required": func(r *insightsv1.ApplyCatalogRequest) { r.Apps[0].Slug = "" },
		"template_versions: parameters: 257 entries, at most 256": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters = parameters(257)
		},
		"template_versions: parameters[1].name: another parameter has it": func(r *insightsv1.ApplyCatalogRequest) {
			p := r.TemplateVersions[0].Parameters
			r.TemplateVersions[0].Parameters = append(p, p[0])
		},
		"template_versions: parameters[0].type: must be one of [string number bool list(string)]": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Type = "map"
		},
		"template_versions: parameters[0].options[0].name: is required": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Options = []*insightsv1.ParameterOption{{Value: "x"}}
		},
		"template_versions: parameters[0].description: 8193 bytes, at most 8192": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Description = strings.Repeat("x", 8193)
		},
	} {
		var got []string
		for _, r := range parseCatalog(good(change)).rejected {
			got = append(got, r.GetList()+": "+r.GetReason())
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func parameters(n int) []*insightsv1.Parameter {
	list := make([]*insightsv1.Parameter, n)
	for i := range list {
		list[i] = &insightsv1.Parameter{Name: uuid.NewString(), Type: "string"}
	}
	return list
}
