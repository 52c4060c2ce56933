package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Figures that the baseline has as well.
const (
	cpuPerReport = "database CPU per report, fold included"
	walPerReport = "WAL per report, fold included"
)

// measureIngest streams reports as fast as the server takes them, and then at a fixed rate.
func measureIngest(ctx context.Context, t *table, d database, s sizes) error {
	return withLoad(ctx, d, s, func(l *load) error {
		if err := l.measureFull(ctx, t, d); err != nil {
			return err
		}
		for _, offered := range []struct {
			database string
			rate     int
			goal     string
		}{{"Postgres", 50_000, "≤ 150"}, {"Postgres", 20_000, "≤ 100"}, {"SQLite", 20_000, "≤ 100"}} {
			if offered.database != d.name {
				continue
			}
			steady, err := l.run(ctx, offered.rate)
			if err != nil {
				return err
			}
			t.add(
				d, fmt.Sprintf("acknowledged at %d offered", offered.rate), float64(steady.measured)/s.Length.Seconds(), "1/s",
				fmt.Sprintf("≥ %d", offered.rate*99/100),
			)
			t.add(d, fmt.Sprintf("acknowledgement at %d offered, p99", offered.rate), steady.percentile(0.99), "ms", offered.goal)
		}
		return nil
	})
}

// measureFull streams as fast as reports are acknowledged, and folds them.
func (l *load) measureFull(ctx context.Context, t *table, d database) error {
	server, processor, wal := l.server.cpu(), d.cpu(), d.wal(ctx, l.name)
	full, err := l.run(ctx, 0)
	if err != nil {
		return err
	}
	if _, err := l.store.Fold(ctx); err != nil {
		return err
	}
	goal := map[string]string{"Postgres": "≥ 50000", "SQLite": "≥ 20000"}[d.name]
	reports := float64(full.all)
	t.add(d, "durable acknowledged reports over gRPC", float64(full.measured)/l.sizes.Length.Seconds(), "1/s", goal)
	t.add(d, "of them, with new bits", 100*float64(full.fresh)/reports, "%", "≥ 45")
	t.add(d, "acknowledgement at full load, p50", full.percentile(0.5), "ms", "")
	t.add(d, "acknowledgement at full load, p99", full.percentile(0.99), "ms", "")
	t.add(d, "server CPU per report", (l.server.cpu()-server).Seconds()*1e6/reports, "µs", "")
	if d.cluster != nil {
		t.add(d, cpuPerReport, (d.cpu()-processor).Seconds()*1e6/reports, "µs", "≤ 8")
		t.add(d, walPerReport, float64(d.wal(ctx, l.name)-wal)/reports, "bytes", "≤ 160")
	}
	return nil
}

// withLoad starts a server on a fresh database with a fleet, and lets f stream.
func withLoad(ctx context.Context, d database, s sizes, f func(*load) error) error {
	return d.with(ctx, func(name string, st *store.Store) error {
		agents, template, token, err := newFleet(ctx, st, s)
		if err != nil {
			return err
		}
		return withServer(ctx, name, func(child *serverProcess) error {
			l := &load{sizes: s, name: name, store: st, server: child, agents: agents, template: template, token: token}
			// What the server has to learn about an agent at its first report is not what is measured.
			if err := l.introduce(ctx); err != nil {
				return err
			}
			return f(l)
		})
	})
}

// cpu is the processor time of the database's processes.
func (d database) cpu() time.Duration {
	if d.cluster == nil {
		return 0
	}
	return treeTime(d.cluster.PID())
}

// wal is how much the database has written to its log.
func (d database) wal(ctx context.Context, name string) (position int64) {
	if d.cluster == nil {
		return 0
	}
	db, err := sql.Open("pgx", name)
	if err != nil {
		return 0
	}
	defer db.Close()
	_ = db.QueryRowContext(ctx, "SELECT (pg_current_wal_lsn() - '0/0')::bigint").Scan(&position)
	return position
}

// newFleet fills the catalog and returns the agents, the template of the first one, and the token of a control plane, which may
// report for all of them.
func newFleet(ctx context.Context, st *store.Store, s sizes) (agents []uuid.UUID, template uuid.UUID, token string, err error) {
	organization := uuid.New()
	c := store.Catalog{Organizations: []store.Organization{{ID: organization, Name: "acme"}}}
	for i := range s.Templates {
		c.Templates = append(c.Templates, store.Template{ID: uuid.New(), OrganizationID: organization, Name: fmt.Sprint("template-", i)})
	}
	users := uuids(s.Agents)
	agents = uuids(s.Agents)
	for i, user := range users {
		workspace := uuid.New()
		c.Users = append(c.Users, store.User{ID: user, Username: fmt.Sprint("user-", i), Kind: "human", Status: "active"})
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: workspace, OwnerID: user, TemplateID: c.Templates[i%len(c.Templates)].ID, Name: fmt.Sprint("workspace-", i%3),
		})
		c.Agents = append(c.Agents, store.Agent{ID: agents[i], WorkspaceID: workspace, Name: "main"})
	}
	if err := applyCatalog(ctx, st, c); err != nil {
		return nil, uuid.Nil, "", err
	}
	// Not at their first report: on SQLite a commit for each of them takes its time.
	visits := make([]store.Visit, len(users))
	for i, user := range users {
		visits[i].User = user
	}
	if _, err := subjectsOf(ctx, st, visits); err != nil {
		return nil, uuid.Nil, "", err
	}
	token, err = newToken(ctx, st, access.RoleControlPlane)
	return agents, c.Templates[0].ID, token, err
}

// newToken makes a service with a role and a token for it.
func newToken(ctx context.Context, st *store.Store, role access.Role) (string, error) {
	b := store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: role}
	if _, err := st.GrantRole(ctx, b); err != nil {
		return "", err
	}
	secrets, err := st.CreateTokens(ctx, []store.Token{{PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID}})
	if err != nil {
		return "", err
	}
	return secrets[0].Reveal(), nil
}
