package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

type tokenCreateCommand struct {
	databaseFlag
	Agent        string `xor:"whom" required:"" placeholder:"ID" help:"For the agent with this id, to report for itself alone."`
	Role         string `xor:"whom" required:"" placeholder:"ROLE" help:"For a new service with this role: owner, template-admin, auditor, user-admin, member, organization-admin, organization-template-admin, organization-auditor, organization-user-admin, proxy or control-plane."`
	Organization string `placeholder:"ID" help:"Limit the role to this organization."`
	Template     string `placeholder:"ID" help:"Limit the role to this template."`
}

// Run makes the token and prints it alone.
func (f tokenCreateCommand) Run(ctx context.Context, c console) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	token, err := f.principal(ctx, s)
	if err != nil {
		return err
	}
	secrets, err := s.CreateTokens(ctx, []store.Token{token})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, secrets[0].Reveal())
	return err
}

// principal is whom the token is for. A service is made by giving it its role.
func (f tokenCreateCommand) principal(ctx context.Context, s *store.Store) (store.Token, error) {
	if f.Agent != "" {
		id, err := parseID("--agent", f.Agent)
		if err != nil {
			return store.Token{}, err
		}
		return store.Token{PrincipalKind: access.KindAgent, PrincipalID: id}, s.CheckPrincipal(ctx, access.KindAgent, id)
	}
	b := store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.Role(f.Role)}
	var err error
	if b.OrganizationID, err = parseID("--organization", f.Organization); err != nil {
		return store.Token{}, err
	}
	if b.TemplateID, err = parseID("--template", f.Template); err != nil {
		return store.Token{}, err
	}
	if err := s.CheckScope(ctx, b.OrganizationID, b.TemplateID); err != nil {
		return store.Token{}, err
	}
	if _, err := s.GrantRole(ctx, b); err != nil {
		var binding *access.BindingError
		if errors.As(err, &binding) {
			return store.Token{}, usageError(binding.Error())
		}
		return store.Token{}, err
	}
	return store.Token{Name: f.Role, PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID}, nil
}

// parseID reads the id of a flag; a flag that is not set is uuid.Nil.
func parseID(flag, text string) (uuid.UUID, error) {
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, usageError(fmt.Sprintf("%s %s: want a UUID", flag, text))
	}
	return id, nil
}

type tokenListCommand struct {
	databaseFlag
}

// Run prints a table of tokens.
func (f tokenListCommand) Run(ctx context.Context, c console) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	tokens, err := s.Tokens(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tKIND\tPRINCIPAL\tCREATED\tEXPIRES\tLAST USED\tREVOKED")
	for _, t := range tokens {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.PrincipalKind, t.PrincipalID,
			showTime(t.CreatedAt), showTime(t.ExpiresAt), showTime(t.LastUsedAt), showTime(t.RevokedAt))
	}
	return w.Flush()
}

func showTime(i store.Instant) string {
	if i.IsZero() {
		return "-"
	}
	return i.Format(time.RFC3339)
}

type tokenRevokeCommand struct {
	databaseFlag
	ID string `arg:"" help:"The token's id: the ten characters after tia_, or the first column of insights token list."`
}

// Run ends a token.
func (f tokenRevokeCommand) Run(ctx context.Context) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.RevokeToken(ctx, f.ID)
}
