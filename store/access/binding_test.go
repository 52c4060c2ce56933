package access_test

import (
	"errors"
	"testing"

	"github.com/template-insights/insights/store/access"
)

func TestBindingErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		binding access.Binding
		field   string
		message string
	}{
		{"unknown role", bound("superuser", "deployment"), "role", `role: unknown role "superuser"`},
		{"no role", bound("", "organization"), "role", `role: unknown role ""`},
		{
			"organization missing", bound(access.RoleOrganizationAdmin, "deployment"), "organization_id",
			`organization_id: role "organization-admin" needs an organization`,
		},
		{
			"organization not wanted", bound(access.RoleOwner, "organization"), "organization_id",
			`organization_id: role "owner" does not bind to an organization`,
		},
		{
			"template not wanted", bound(access.RoleAuditor, "template"), "template_id",
			`template_id: role "auditor" does not bind to a template`,
		},
		{
			"template instead of organization", bound(access.RoleOrganizationAuditor, "template"), "template_id",
			`template_id: role "organization-auditor" does not bind to a template`,
		},
		{
			"both", bound(access.RoleTemplateAdmin, "organization and template"), "template_id",
			"template_id: a role binds to one organization, template or group alone",
		},
		{
			"group missing", bound(access.RoleViewGroupInsights, "deployment"), "group_id",
			`group_id: role "view-group-insights" needs a group`,
		},
		{
			"organization instead of group", bound(access.RoleViewGroupInsights, "organization"), "organization_id",
			`organization_id: role "view-group-insights" does not bind to an organization`,
		},
		{
			"group not wanted", bound(access.RoleViewInsightsAggregate, "group"), "group_id",
			`group_id: role "view-insights-aggregate" does not bind to a group`,
		},
		{
			"group and organization", bound(access.RoleViewGroupInsights, "organization and group"), "group_id",
			"group_id: a role binds to one organization, template or group alone",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.binding.Validate()
			var wrong *access.BindingError
			if !errors.As(err, &wrong) {
				t.Fatalf("Validate() = %v, want a BindingError", err)
			}
			if wrong.Field != tt.field || wrong.Error() != tt.message {
				t.Errorf("got field %q, message %q; want %q, %q", wrong.Field, wrong, tt.field, tt.message)
			}
		})
	}
}
