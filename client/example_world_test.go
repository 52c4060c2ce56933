package client_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// world is a server of examples, with one agent, of ada's workspace.
type world struct {
	address, agent, agentToken, ownerToken string // the tokens are files
	began                                  time.Time

	folder   string
	store    *store.Store
	template uuid.UUID
	user     uuid.UUID
	stop     context.CancelFunc
	stopped  chan error
}

func newWorld() *world {
	w := &world{template: uuid.New(), user: uuid.New(), began: time.Now(), stopped: make(chan error, 1)}
	var err error
	w.folder, err = os.MkdirTemp("", "insights-example-")
	check(err)
	options := store.Options{Database: "sqlite:" + filepath.Join(w.folder, "insights.db")}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	check(store.Migrate(ctx, options))
	w.store, err = store.Open(ctx, options)
	check(err)
	organization, workspace, agent, owner := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	refusals, err := w.store.ApplyCatalog(ctx, store.Catalog{
		Organizations: []store.Organization{{ID: organization, Name: "acme"}},
		Templates:     []store.Template{{ID: w.template, OrganizationID: organization, Name: "go"}},
		Users:         []store.User{{ID: w.user, Username: "ada", Kind: "human", Status: "active"}},
		Workspaces:    []store.Workspace{{ID: workspace, OwnerID: w.user, TemplateID: w.template, Name: "dev"}},
		Agents:        []store.Agent{{ID: agent, WorkspaceID: workspace, Name: "main"}},
	}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	check(err)
	if len(refusals) > 0 {
		panic(refusals)
	}
	_, err = w.store.GrantRole(ctx, store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: owner, Role: access.RoleOwner})
	check(err)
	secrets, err := w.store.CreateTokens(ctx, []store.Token{
		{PrincipalKind: access.KindAgent, PrincipalID: agent}, {PrincipalKind: access.KindService, PrincipalID: owner},
	})
	check(err)
	w.agent, w.agentToken, w.ownerToken = agent.String(), filepath.Join(w.folder, "agent"), filepath.Join(w.folder, "owner")
	check(os.WriteFile(w.agentToken, []byte(secrets[0].Reveal()+"\n"), 0o600))
	check(os.WriteFile(w.ownerToken, []byte(secrets[1].Reveal()+"\n"), 0o600))
	srv, err := server.New(server.Options{
		Store: w.store, Logger: slog.New(slog.DiscardHandler), GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0",
		IngestMaxAge: 24 * time.Hour, IngestMaxAhead: time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
	})
	check(err)
	w.address = srv.GRPCAddress()
	go func() { w.stopped <- srv.Run(ctx) }()
	return w
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *world) close() {
	w.stop()
	check(<-w.stopped)
	check(w.store.Close())
	check(os.RemoveAll(w.folder))
}

// activity is what the store knows of the last two days.
func (w *world) activity() []store.UserUsage {
	owner := access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleOwner})
	everything, err := access.Templates(owner, access.ViewInsights, nil, nil)
	check(err)
	start := w.began.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	users, _, err := w.store.UserActivity(context.Background(), everything, minute.People, minute.NewWindow(start, start.AddDate(0, 0, 3)))
	check(err)
	return users
}

// minutes is how long ada was active.
func (w *world) minutes() (n int64) {
	for _, user := range w.activity() {
		n += user.Minutes
	}
	return n
}

// await waits until ada was active for so long.
func (w *world) await(minutes int64) {
	for w.minutes() < minutes {
		<-time.After(10 * time.Millisecond)
	}
}

// use makes ada active for the first minutes of yesterday.
func (w *world) use(minutes int) {
	visit := store.Visit{User: w.user}
	subjects, err := w.store.Subjects(context.Background(), []store.Visit{visit})
	check(err)
	yesterday := w.began.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1).Unix() / 60
	check(w.store.Merge(context.Background(), []store.OpenRow{{Template: w.template, Row: minute.Row{
		HalfHour: int32(yesterday / minute.MinutesPerHalfHour), Subject: subjects[visit], Kind: minute.Session, App: "ssh",
		Minutes: 1<<minutes - 1, Connected: true,
	}}}))
}
