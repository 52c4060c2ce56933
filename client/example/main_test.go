package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// The session of the command is in the answers when the command has ended.
func TestRun(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	// the agent's clock is the machine's
	srv := servertest.Run(t, f.Database, storetest.Now, func(o *server.Options) { o.IngestMaxAhead = 100 * 365 * 24 * time.Hour })
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secrets[0].Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(exec.Command("true"), srv.GRPCAddress(), token, f.Agents[0][0].String(), "vscode"); err != nil {
		t.Error(err)
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	window := minute.NewWindow(today.AddDate(0, 0, -1), today.AddDate(0, 0, 2))
	users, _, err := f.UserActivity(t.Context(), f.Everything, minute.People, window)
	if err != nil || len(users) != 1 || users[0].UserID != f.Users[0] || users[0].Minutes == 0 || users[0].Apps[0].Slug != "vscode" {
		t.Errorf("%+v %v, want the first user in vscode", users, err)
	}
}
