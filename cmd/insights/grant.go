package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

type grantCreateCommand struct {
	databaseFlag
	User         string `xor:"whom" required:"" placeholder:"ID" help:"To this user."`
	Group        string `xor:"whom" required:"" placeholder:"ID" help:"To everyone in this group."`
	Service      string `xor:"whom" required:"" placeholder:"ID" help:"To this service."`
	Role         string `required:"" placeholder:"ROLE" help:"owner, template-admin, auditor, user-admin, member, organization-admin, organization-template-admin, organization-auditor, organization-user-admin, proxy, control-plane; or one permission: view-insights, view-insights-aggregate, read-users, manage-access, manage-privacy, read-audit, resolve-pseudonyms; or view-group-insights."`
	Organization string `placeholder:"ID" help:"Limit the role to this organization."`
	Template     string `placeholder:"ID" help:"Limit the role to this template."`
	AboutGroup   string `placeholder:"ID" help:"Limit the role to the members of this group."`
}

// Run grants the role and prints the id of the grant alone.
func (f grantCreateCommand) Run(ctx context.Context, c console) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := store.RoleBinding{Role: access.Role(f.Role)}
	for _, whom := range []struct {
		flag, text string
		kind       access.Kind
	}{{"--user", f.User, access.KindUser}, {"--group", f.Group, store.KindGroup}, {"--service", f.Service, access.KindService}} {
		if whom.text == "" {
			continue
		}
		if b.PrincipalID, err = parseID(whom.flag, whom.text); err != nil {
			return err
		}
		b.PrincipalKind = whom.kind
	}
	if b.PrincipalID, err = s.FindPrincipal(ctx, b.PrincipalKind, b.PrincipalID); err != nil {
		return err
	}
	if err := audit(ctx, s, "grant create", f); err != nil {
		return err
	}
	if b.GroupID, err = parseID("--about-group", f.AboutGroup); err != nil {
		return err
	}
	if b, err = grant(ctx, s, b, f.Organization, f.Template); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, b.ID)
	return err
}

// bindingFlags are the flags that say the fields of a binding.
var bindingFlags = map[string]string{
	"role": "--role", "organization_id": "--organization", "template_id": "--template", "group_id": "--about-group",
}

// grant gives a role within an organization or template, or everywhere if they are empty.
func grant(ctx context.Context, s *store.Store, b store.RoleBinding, organization, template string) (store.RoleBinding, error) {
	var err error
	if b.OrganizationID, err = parseID("--organization", organization); err != nil {
		return b, err
	}
	if b.TemplateID, err = parseID("--template", template); err != nil {
		return b, err
	}
	if err := s.CheckScope(ctx, b.Binding()); err != nil {
		return b, err
	}
	b, err = s.GrantRole(ctx, b)
	var binding *access.BindingError
	if errors.As(err, &binding) {
		return b, usageError(bindingFlags[binding.Field] + ": " + binding.Detail)
	}
	return b, err
}

type grantListCommand struct{ databaseFlag }

// Run prints a table of grants.
func (f grantListCommand) Run(ctx context.Context, c console) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	bindings, err := s.RoleBindings(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tPRINCIPAL\tROLE\tORGANIZATION\tTEMPLATE\tGROUP\tGRANTED")
	for _, b := range bindings {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.ID, b.PrincipalKind, b.PrincipalID, b.Role, showID(b.OrganizationID),
			showID(b.TemplateID), showID(b.GroupID), showTime(b.CreatedAt),
		)
	}
	return w.Flush()
}

func showID(id uuid.UUID) string {
	if id == uuid.Nil {
		return "-"
	}
	return id.String()
}

type grantRevokeCommand struct {
	databaseFlag
	ID string `arg:"" help:"The grant's id: the first column of insights grant list."`
}

// Run takes a role back.
func (f grantRevokeCommand) Run(ctx context.Context) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	id, err := parseID("ID", f.ID)
	if err != nil {
		return err
	}
	if err := audit(ctx, s, "grant revoke", f); err != nil {
		return err
	}
	return s.RevokeRole(ctx, id)
}
