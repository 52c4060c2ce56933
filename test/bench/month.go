package main

import (
	"context"
	"fmt"
	"maps"
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
// agree. Nobody is at two workspaces in one half hour, where the baseline adds minutes of templates and we unite them, and days are
// those of UTC. It is no company that is easy to count: 15 % of its people have two workspaces in their template, 5 % one in another
// template as well, and 30 % use two editors of one family on a day, now and then in the same half hour.
type month struct {
	sizes     sizes
	users     []uuid.UUID
	templates []uuid.UUID
	versions  []uuid.UUID   // of the templates, one each
	places    [][]workspace // of each user, the home first
}

// workspace is where a user works. Its index among those of the user is the seat.
type workspace struct {
	id, agent, build uuid.UUID
	template         int // index
}

var editors = []string{"vscode", "vscode", "cursor", "jetbrains", "ssh"}

// otherEditor is the second editor of the family of the first; empty for those who use one.
func otherEditor(user int) string {
	return []string{0: "cursor", 1: "cursor", 2: "vscode", 9: ""}[user%10]
}

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
		switch i % 20 {
		case 0:
			places = append(places, workspace{uuid.New(), uuid.New(), uuid.New(), (i + 1) % s.Templates})
		case 5, 6, 7:
			places = append(places, workspace{uuid.New(), uuid.New(), uuid.New(), i % s.Templates})
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

// rows are what the company did on a day, by template. Subjects are made of the indexes of users and of their places. About eight hours
// in one editor, or in two of its family, with breaks, now and then another app, and a latency in each minute. Of some half hours no
// connection is known.
func (m *month) rows(day int32) [][]minute.Row {
	rows := make([][]minute.Row, len(m.templates))
	for user, places := range m.places {
		r := rand.New(rand.NewPCG(uint64(user), uint64(day)))
		latency, begin := 60+user%80, day*minute.HalfHoursPerDay+14+int32(r.IntN(6))
		for half := begin; half < begin+17; half++ {
			if r.IntN(17) == 0 {
				continue // a break
			}
			seat := 0
			if len(places) > 1 && half >= begin+8 {
				seat = 1
			}
			used := minute.Mask(1<<minute.MinutesPerHalfHour - 1)
			if r.IntN(4) == 0 {
				used &= minute.Mask(1<<(1+r.IntN(minute.MinutesPerHalfHour)) - 1)
			}
			row := minute.Row{Subject: minute.SubjectOf(int64(user), int32(seat)), HalfHour: half, Minutes: used}
			session, connection := row, row
			session.Kind, session.App, session.Connected = minute.Session, editors[user%len(editors)], r.IntN(50) > 0
			connection.Kind, connection.Bins = minute.Connection, make([]byte, used.Count())
			for b := range connection.Bins {
				connection.Bins[b] = byte(latency + int(3*r.NormFloat64()))
			}
			at := &rows[places[seat].template]
			*at = append(*at, session, connection)
			if other := otherEditor(user); other != "" {
				last := len(*at) - 2
				switch r.IntN(6) {
				case 0: // instead
					(*at)[last].App = other
				case 1: // beside
					session.App = other
					*at = append(*at, session)
				}
			}
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

// mix is how many days of people are hard to count.
type mix struct {
	days         int // of people who did anything
	twoTemplates int // sums of whole days cannot be added
	twoSeats     int // in one template
	twoEditors   int // of one family
	sameHalfHour int // of those, with both in one half hour, so that the minutes of the family are no sum
}

// add counts what rows returned of a day.
func (m *mix) add(rows [][]minute.Row) {
	type person struct {
		templates, seats, editors map[any]bool
		halfHours                 map[int32]string // the last editor
		both                      bool
	}
	people := map[int64]*person{}
	for template, list := range rows {
		for _, r := range list {
			p := people[minute.PersonOf(r.Subject)]
			if p == nil {
				p = &person{map[any]bool{}, map[any]bool{}, map[any]bool{}, map[int32]string{}, false}
				people[minute.PersonOf(r.Subject)] = p
			}
			p.templates[template] = true
			p.seats[r.Subject] = true
			if r.Kind == minute.Session {
				p.editors[r.App] = true
				p.both = p.both || p.halfHours[r.HalfHour] != ""
				p.halfHours[r.HalfHour] = r.App
			}
		}
	}
	for _, p := range people {
		m.days++
		switch {
		case len(p.templates) > 1:
			m.twoTemplates++
		case len(p.seats) > 1:
			m.twoSeats++
		}
		if len(p.editors) > 1 {
			m.twoEditors++
		}
		if p.both {
			m.sameHalfHour++
		}
	}
}

// tell notes the shares.
func (m *mix) tell(t *table, d database) {
	for _, share := range []struct {
		what string
		days int
	}{
		{"person-days in two templates, which are counted by minutes", m.twoTemplates},
		{"person-days at two seats in one template", m.twoSeats},
		{"person-days with two editors of one family", m.twoEditors},
		{"person-days with both in one half hour", m.sameHalfHour},
	} {
		t.add(d, share.what, 100*float64(share.days)/float64(m.days), "%", "")
	}
}

// apply puts the company into a store and returns the subjects of its users at their places.
func (m *month) apply(ctx context.Context, st *store.Store) ([][]int64, error) {
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
	return m.atPlaces(ctx, st)
}

// atPlaces are the subjects of users at their places.
func (m *month) atPlaces(ctx context.Context, st *store.Store) ([][]int64, error) {
	var visits []store.Visit
	for i, places := range m.places {
		for _, w := range places {
			visits = append(visits, store.Visit{User: m.users[i], Workspace: w.id})
		}
	}
	known, err := subjectsOf(ctx, st, visits)
	subjects := make([][]int64, len(m.users))
	for i, places := range m.places {
		for _, w := range places {
			subjects[i] = append(subjects[i], known[store.Visit{User: m.users[i], Workspace: w.id}])
		}
	}
	return subjects, err
}

// subjectsOf are the subjects of visits.
func subjectsOf(ctx context.Context, st *store.Store, visits []store.Visit) (map[store.Visit]int64, error) {
	subjects := make(map[store.Visit]int64, len(visits))
	for batch := range slices.Chunk(visits, 5000) {
		known, err := st.Subjects(ctx, batch)
		if err != nil {
			return nil, err
		}
		maps.Copy(subjects, known)
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
