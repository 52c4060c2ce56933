package main

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// must runs the program and returns what it wrote, without the line end.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := command(t, nil, args...)
	if code != exitOK {
		t.Fatalf("%v: code %d: %s", args, code, errs)
	}
	return strings.TrimSpace(out)
}

// Roles are given and taken back, tokens made and ended, and all of it stands in the trail; no secret does.
func TestGrantsAndTokens(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	database := "--database=" + f.Database
	first := must(t, "token", "first", database)
	if code, out, errs := command(t, nil, "token", "first", database); code != exitError || out != "" ||
		!strings.Contains(errs, "an owner already") {
		t.Errorf("the first token again: code %d, %q, %q", code, out, errs)
	}
	user, organization := f.Users[0].String(), f.Organization.String()
	grant := must(t, "grant", "create", database, "--user="+user, "--role=view-insights", "--organization="+organization)
	if list := must(t, "grant", "list", database); !strings.Contains(list, grant) || !strings.Contains(list, "view-insights") {
		t.Errorf("grants: %s", list)
	}
	secret := must(t, "token", "create", database, "--user="+user, "--expires=1h")
	if list := must(t, "token", "list", database); !strings.Contains(list, user) || strings.Contains(list, secret) {
		t.Errorf("tokens: %s", list)
	}
	id := strings.Split(strings.TrimPrefix(secret, "tia_"), "_")[0]
	must(t, "token", "revoke", database, id)
	must(t, "grant", "revoke", database, grant)
	for name, args := range map[string][]string{
		"unknown user":       {"grant", "create", database, "--user=" + uuid.NewString(), "--role=auditor"},
		"role of its own":    {"grant", "create", database, "--user=" + user, "--role=king"},
		"scope of its own":   {"grant", "create", database, "--user=" + user, "--role=manage-access", "--organization=" + organization},
		"unknown grant":      {"grant", "revoke", database, uuid.NewString()},
		"expired at once":    {"token", "create", database, "--user=" + user, "--expires=-1h"},
		"two whom to grant":  {"grant", "create", database, "--user=" + user, "--service=" + user, "--role=auditor"},
		"nobody to grant to": {"grant", "create", database, "--role=auditor"},
	} {
		if code, out, _ := command(t, nil, args...); code == exitOK || out != "" {
			t.Errorf("%s: code %d, %q", name, code, out)
		}
	}
	code, _, errs := command(t, nil, "grant", "create", database, "--user="+user, "--role=view-group-insights")
	if code != exitUsage || !strings.Contains(errs, "--about-group: ") {
		t.Errorf("a role about no group: code %d, %q", code, errs)
	}
	events, err := f.AuditEvents(t.Context(), store.AuditFilter{PrincipalKind: store.KindCommandLine, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, e := range events {
		told[e.Action]++
		if strings.Contains(e.Target, secret) || strings.Contains(e.Target, first) || strings.Contains(e.Target, f.Database) {
			t.Errorf("the trail says too much: %s %s", e.Action, e.Target)
		}
	}
	for _, action := range []string{"token first", "token create", "token revoke", "grant create", "grant revoke"} {
		if told[action] == 0 {
			t.Errorf("%s is not in the trail: %v", action, told)
		}
	}
}
