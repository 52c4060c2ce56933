package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// days are the UTC days that the questions are about, the last of them yesterday.
const days = 30

func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// windowStart is where the 30 days of the questions begin; they end with today.
func windowStart() time.Time { return today().Add(-days * 24 * time.Hour) }

// month is a company and its last month: what it did is the same for all who are compared, and is chosen so that they have to
// agree. Nobody is in two templates in one half hour, where the baseline adds minutes and we unite them, and days are those
// of UTC.
type month struct {
	sizes     sizes
	users     []uuid.UUID
	templates []uuid.UUID
	versions  []uuid.UUID   // of the templates, one each
	places    [][]workspace // of each user, the home first
}

// workspace is where a user works.
type workspace struct {
	id, agent, build uuid.UUID
	template         int // index
}

var editors = []string{"vscode", "vscode", "cursor", "jetbrains", "ssh"}

var slugs = []string{"code-server", "filebrowser", "jupyter"}

// parameters are those of every template.
var parameters = []store.Parameter{
	{Name: "region", DisplayName: "Region", Type: "string", Options: []store.ParameterOption{
		{Name: "Europe", Value: "eu"}, {Name: "Asia", Value: "asia"}, {Name: "America", Value: "us"},
	}},
	{Name: "cpu", DisplayName: "CPU cores", Type: "number", Description: "How many **cores** it has."},
	{Name: "disk", DisplayName: "Disk", Type: "number", Description: "GiB of the home folder."},
}

// chosen is the value of a parameter that a user has.
func chosen(user, parameter int) string {
	return [][]string{{"eu", "asia", "us"}, {"2", "4", "8", "16"}, {"10", "50"}}[parameter][user%[]int{3, 4, 2}[parameter]]
}

func newMonth(s sizes) *month {
	m := &month{sizes: s, users: uuids(s.Users), templates: uuids(s.Templates), versions: uuids(s.Templates)}
	for i := range m.users {
		places := []workspace{{uuid.New(), uuid.New(), uuid.New(), i % s.Templates}}
		if i%10 == 0 && s.Templates > 1 {
			places = append(places, workspace{uuid.New(), uuid.New(), uuid.New(), (i + 1) % s.Templates})
		}
		m.places = append(m.places, places)
	}
	return m
}

func uuids(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	return ids
}

func username(user int) string { return fmt.Sprintf("user-%05d", user) }

// workdays are the days on which the company works, the newest first: two off after five.
func (m *month) workdays() []int32 {
	list := make([]int32, m.sizes.Workdays)
	for i := range int32(len(list)) {
		list[i] = int32(today().Unix()/86400) - 1 - i - i/5*2
	}
	return list
}

// rows are what the company did on a day, by template. Subjects are the indexes of users. About eight hours in one editor with
// breaks, now and then another app, and a latency in each minute. Of some half hours no connection is known.
func (m *month) rows(day int32) [][]minute.Row {
	rows := make([][]minute.Row, len(m.templates))
	for user, places := range m.places {
		r := rand.New(rand.NewPCG(uint64(user), uint64(day)))
		latency, begin := 60+user%80, day*minute.HalfHoursPerDay+14+int32(r.IntN(6))
		for half := begin; half < begin+17; half++ {
			if r.IntN(17) == 0 {
				continue // a break
			}
			place := places[0]
			if len(places) > 1 && half >= begin+8 {
				place = places[1]
			}
			used := minute.Mask(1<<minute.MinutesPerHalfHour - 1)
			if r.IntN(4) == 0 {
				used &= minute.Mask(1<<(1+r.IntN(minute.MinutesPerHalfHour)) - 1)
			}
			row := minute.Row{Subject: int64(user), HalfHour: half, Minutes: used}
			session, connection := row, row
			session.Kind, session.App, session.Connected = minute.Session, editors[user%len(editors)], r.IntN(50) > 0
			connection.Kind, connection.Bins = minute.Connection, make([]byte, used.Count())
			for b := range connection.Bins {
				connection.Bins[b] = byte(latency + int(3*r.NormFloat64()))
			}
			at := &rows[place.template]
			*at = append(*at, session, connection)
			if r.IntN(4) == 0 {
				app := row
				app.Kind, app.App = minute.App, slugs[r.IntN(len(slugs))]
				from := r.IntN(used.Count())
				app.Minutes &= minute.Mask(1<<(from+1+r.IntN(used.Count()-from))-1) &^ minute.Mask(1<<from-1)
				*at = append(*at, app)
			}
		}
	}
	for i := range rows {
		rows[i] = minute.Normalize(rows[i])
	}
	return rows
}

// apply puts the company into a store and returns the subjects of its users.
func (m *month) apply(ctx context.Context, st *store.Store) ([]int64, error) {
	c := store.Catalog{Organizations: []store.Organization{{ID: uuid.New(), Name: "acme"}}}
	for i, id := range m.templates {
		c.Templates = append(c.Templates, store.Template{ID: id, OrganizationID: c.Organizations[0].ID, Name: fmt.Sprint("template-", i)})
		c.Versions = append(c.Versions, store.TemplateVersion{ID: m.versions[i], TemplateID: id, Name: "v1", Parameters: parameters})
	}
	var builds []store.Build
	for i, id := range m.users {
		c.Users = append(c.Users, store.User{ID: id, Username: username(i), Kind: "human", Status: "active"})
		var values []store.BuildParameter
		for p := range parameters {
			values = append(values, store.BuildParameter{Name: parameters[p].Name, Value: chosen(i, p)})
		}
		for _, w := range m.places[i] {
			template := m.templates[w.template]
			c.Workspaces = append(c.Workspaces, store.Workspace{
				ID: w.id, OwnerID: id, TemplateID: template, CreatedAt: store.At(windowStart()),
			})
			c.Agents = append(c.Agents, store.Agent{ID: w.agent, WorkspaceID: w.id, CreatedAt: store.At(windowStart())})
			for _, slug := range slugs {
				c.Apps = append(c.Apps, store.App{AgentID: w.agent, Slug: slug, DisplayName: slug})
			}
			builds = append(builds, store.Build{
				ID: w.build, WorkspaceID: w.id, TemplateID: template, TemplateVersionID: m.versions[w.template], Number: 1,
				Transition: "start", Status: "succeeded", CreatedAt: store.At(windowStart()), Parameters: values,
			})
		}
	}
	if err := applyCatalog(ctx, st, c); err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(builds, 1000) {
		if err := st.RecordBuilds(ctx, batch); err != nil {
			return nil, err
		}
	}
	return subjectsOf(ctx, st, m.users)
}

// subjectsOf are the subjects of users, in their order.
func subjectsOf(ctx context.Context, st *store.Store, users []uuid.UUID) ([]int64, error) {
	subjects := make([]int64, 0, len(users))
	for batch := range slices.Chunk(users, 5000) {
		visits := make([]store.Visit, len(batch))
		for i, user := range batch {
			visits[i] = store.Visit{User: user}
		}
		known, err := st.Subjects(ctx, visits)
		if err != nil {
			return nil, err
		}
		for _, v := range visits {
			subjects = append(subjects, known[v])
		}
	}
	return subjects, nil
}

// applyCatalog puts a catalog into a store, in full.
func applyCatalog(ctx context.Context, st *store.Store, c store.Catalog) error {
	refusals, err := st.ApplyCatalog(ctx, c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) > 0 {
		return fmt.Errorf("apply catalog: %d refusals: %w", len(refusals), err)
	}
	return nil
}
