package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

type tokenCreateCommand struct {
	databaseFlag
	Agent        string        `xor:"whom" required:"" placeholder:"ID" help:"For the agent with this id, to report for itself alone."`
	User         string        `xor:"whom" required:"" placeholder:"ID" help:"For the user with this id, who has the roles that were granted."`
	Role         string        `xor:"whom" required:"" placeholder:"ROLE" help:"For a new service with this role; insights grant create --help lists them."`
	Organization string        `placeholder:"ID" help:"Limit the role to this organization."`
	Template     string        `placeholder:"ID" help:"Limit the role to this template."`
	Expires      time.Duration `placeholder:"DURATION" range:"0|1m..876000h" help:"End the token by itself after this time, such as 720h. Default: never."`
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
	if f.Expires > 0 {
		token.ExpiresAt = store.At(time.Now().Add(f.Expires))
	}
	if err := audit(ctx, s, "token create", f); err != nil {
		return err
	}
	secrets, err := s.CreateTokens(ctx, []store.Token{token})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, secrets[0].Reveal())
	return err
}

// audit writes a command to the trail before it is carried out. The database's name, which may hold a password, is no part
// of it.
func audit(ctx context.Context, s *store.Store, action string, command any) error {
	var said []string
	v := reflect.ValueOf(command)
	for i := range v.NumField() {
		if field := v.Field(i); field.Kind() == reflect.String && field.String() != "" {
			said = append(said, strings.ToLower(v.Type().Field(i).Name)+"="+field.String())
		}
	}
	return s.RecordAudit(ctx, store.KindCommandLine, uuid.Nil, action, strings.Join(said, " "))
}

type tokenFirstCommand struct {
	databaseFlag
	privacyKeyFlag
	privacyModeFlag
}

// Run makes the first owner's token and prints it alone.
func (f tokenFirstCommand) Run(ctx context.Context, c console) (err error) {
	key, err := f.openFor(f.Database)
	if err != nil {
		return err
	}
	o := f.options()
	o.PrivacyKey, o.ErasedList = key, f.ErasedList
	s, err := openDatabase(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	mode, err := f.choose(ctx, c, s)
	if err != nil {
		return err
	}
	secret, err := s.FirstToken(ctx, mode)
	if errors.Is(err, store.ErrNotFirst) {
		return fmt.Errorf("%w: ask an owner for a token, or use insights token create --role owner", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, secret.Reveal())
	return err
}

// principal is whom the token is for. A service is made by giving it its role.
func (f tokenCreateCommand) principal(ctx context.Context, s *store.Store) (store.Token, error) {
	if f.Agent != "" {
		id, err := parseID("--agent", f.Agent)
		if err != nil {
			return store.Token{}, err
		}
		_, err = s.FindPrincipal(ctx, access.KindAgent, id)
		return store.Token{PrincipalKind: access.KindAgent, PrincipalID: id}, err
	}
	if f.User != "" {
		id, err := parseID("--user", f.User)
		if err != nil {
			return store.Token{}, err
		}
		id, err = s.FindPrincipal(ctx, access.KindUser, id)
		return store.Token{PrincipalKind: access.KindUser, PrincipalID: id}, err
	}
	b := store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.Role(f.Role)}
	_, err := grant(ctx, s, b, f.Organization, f.Template)
	return store.Token{Name: f.Role, PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID}, err
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
	fmt.Fprintln(w, "ID\tNAME\tPURPOSE\tKIND\tPRINCIPAL\tCREATED\tEXPIRES\tLAST USED\tREVOKED")
	for _, t := range tokens {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, cmp.Or(t.Purpose, "calls"), t.PrincipalKind, t.PrincipalID,
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
	if err := audit(ctx, s, "token revoke", f); err != nil {
		return err
	}
	return s.RevokeToken(ctx, f.ID)
}
