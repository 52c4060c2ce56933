package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// rounds is how often each question is asked; the median counts.
const rounds = 5

// days are the UTC days that the questions are about, the last of them yesterday.
const days = 30

// measureQuestions builds a month of a company and asks about it over REST.
func measureQuestions(ctx context.Context, t *table, d database, s sizes) (err error) {
	name, st, err := d.create(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	m, err := newMonth(ctx, st, s)
	if err != nil {
		return err
	}
	if err := m.fill(ctx, t, d, name, st); err != nil {
		return err
	}
	token, err := newToken(ctx, st, access.RoleOwner)
	if err != nil {
		return err
	}
	child, err := startServer(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	q := &questions{base: "http://" + child.HTTP, token: token}
	first := today().Add(-days * 24 * time.Hour).Format(time.RFC3339)
	window := url.Values{"start_time": {first}, "end_time": {today().Format(time.RFC3339)}}
	with := func(name, value string) url.Values {
		v := url.Values{name: {value}}
		for k, x := range window {
			v[k] = x
		}
		return v
	}
	month, err := q.median(ctx, "/api/v2/insights/templates", window)
	if err != nil {
		return err
	}
	daily := with("interval", "day")
	daily.Set("sections", "interval_reports")
	t.add(d, "template insights, 30 days, custom apps with launches in them", month, "ms", "≥ 100 × baseline (8.8 s in design 2: ≤ 88)")
	for _, x := range []struct {
		what, path string
		params     url.Values
		goal       string
	}{
		{"users per day", "/api/v2/insights/templates", daily, "≥ 40 × baseline (3.2 s: ≤ 80)"},
		{"user activity", "/api/v2/insights/user-activity", window, "≥ 200 × baseline (14.8 s: ≤ 74)"},
		{"user latency", "/api/v2/insights/user-latency", window, "≥ 12 × baseline (3.7 s: ≤ 308)"},
		{"template insights of one template of 50", "/api/v2/insights/templates", with("template_ids", m.templates[0].String()), "≤ 20"},
		{"user activity of one template of 50", "/api/v2/insights/user-activity", with("template_ids", m.templates[0].String()), "≤ 20"},
	} {
		ms, err := q.median(ctx, x.path, x.params)
		if err != nil {
			return err
		}
		t.add(d, x.what, ms, "ms", x.goal)
	}
	if err := repeat(ctx, d, name); err != nil {
		return err
	}
	again, err := q.median(ctx, "/api/v2/insights/templates", window)
	if err != nil {
		return err
	}
	t.add(d, "the same 30 days with ten times the history", again/month, "×", "≤ 1.1")
	return nil
}

func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// month is a company whose month the questions are about.
type month struct {
	sizes     sizes
	templates []uuid.UUID
	subjects  []int64
}

var editors = []string{"vscode", "vscode", "cursor", "jetbrains", "ssh"}

var slugs = []string{"code-server", "jupyter", "filebrowser"}

func newMonth(ctx context.Context, st *store.Store, s sizes) (*month, error) {
	m := &month{sizes: s}
	organization := uuid.New()
	c := store.Catalog{Organizations: []store.Organization{{ID: organization, Name: "acme"}}}
	users := make([]uuid.UUID, s.Users)
	for i := range users {
		users[i] = uuid.New()
		c.Users = append(c.Users, store.User{ID: users[i], Username: fmt.Sprint("user-", i), Kind: "human", Status: "active"})
	}
	for i := range s.Templates {
		id, workspace, agent := uuid.New(), uuid.New(), uuid.New()
		m.templates = append(m.templates, id)
		c.Templates = append(c.Templates, store.Template{ID: id, OrganizationID: organization, Name: fmt.Sprint("template-", i)})
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: workspace, OwnerID: users[0], TemplateID: id})
		c.Agents = append(c.Agents, store.Agent{ID: agent, WorkspaceID: workspace})
		for _, slug := range slugs {
			c.Apps = append(c.Apps, store.App{AgentID: agent, Slug: slug, DisplayName: slug})
		}
	}
	refusals, err := st.ApplyCatalog(ctx, c, anyone)
	if err != nil || len(refusals) > 0 {
		return nil, fmt.Errorf("apply catalog: %d refusals: %w", len(refusals), err)
	}
	for batch := range slices.Chunk(users, 5000) {
		subjects, err := st.Subjects(ctx, batch)
		if err != nil {
			return nil, err
		}
		for _, subject := range subjects {
			m.subjects = append(m.subjects, subject)
		}
	}
	return m, nil
}

// rows are what the people of one template did on one day: about eight hours in one editor with breaks, now and then
// another app, and a latency in each minute.
func (m *month) rows(template int, day int32) []minute.Row {
	r := rand.New(rand.NewPCG(uint64(template), uint64(day)))
	var rows []minute.Row
	for i := template; i < len(m.subjects); i += m.sizes.Templates {
		row := minute.Row{Subject: m.subjects[i]}
		latency, begin := 60+i%80, day*minute.HalfHoursPerDay+14+int32(r.IntN(6))
		for row.HalfHour = begin; row.HalfHour < begin+17; row.HalfHour++ {
			if r.IntN(12) == 0 {
				continue // a break
			}
			used := minute.Mask(1<<30 - 1)
			if r.IntN(4) == 0 {
				used &= minute.Mask(1<<(1+r.IntN(30)) - 1)
			}
			editor := row
			editor.Kind, editor.App, editor.Minutes, editor.Connected = minute.Session, editors[i%len(editors)], used, true
			rows = append(rows, editor)
			if r.IntN(4) == 0 {
				app := row
				app.Kind, app.App, app.Minutes = minute.App, slugs[i%len(slugs)], used&minute.Mask(r.Uint32()&(1<<30-1))
				if app.Minutes != 0 {
					rows = append(rows, app)
				}
			}
			connection := row
			connection.Kind, connection.Minutes, connection.Bins = minute.Connection, used, make([]byte, used.Count())
			for b := range connection.Bins {
				connection.Bins[b] = byte(latency + int(3*r.NormFloat64()))
			}
			rows = append(rows, connection)
		}
	}
	return minute.Normalize(rows)
}

// fill writes the month: the last working day through merging and folding, which is measured, and the others as pages.
func (m *month) fill(ctx context.Context, t *table, d database, name string, st *store.Store) error {
	db, err := d.open(name)
	if err != nil {
		return err
	}
	defer db.Close()
	last := int32(today().Unix()/86400) - 1
	var usage, latency, rows, pages int
	for back := range int32(m.sizes.Workdays) {
		day := last - back - back/5*2 // two days off after five
		if back == 0 {
			if err := m.foldDay(ctx, t, d, st, day); err != nil {
				return err
			}
			continue
		}
		for template, id := range m.templates {
			all := m.rows(template, day)
			page, err := minute.EncodePage(day, all)
			if err != nil {
				return err
			}
			if err := insertPage(ctx, db, d, id, day, page); err != nil {
				return err
			}
			usage, latency, rows, pages = usage+len(page.Usage), latency+len(page.Latency), rows+len(all), pages+1
		}
	}
	userDays := float64(m.sizes.Users * (m.sizes.Workdays - 1))
	t.add(d, "pages", float64(pages), "", "")
	t.add(d, "rows in them", float64(rows), "", "")
	t.add(d, "usage per user and day", float64(usage)/userDays, "bytes", "≤ 250")
	t.add(d, "latency per user and day", float64(latency)/userDays, "bytes", "≤ 600")
	return nil
}

// open opens a database beside the store, for what the store has no reason to offer.
func (d database) open(name string) (*sql.DB, error) {
	if d.cluster != nil {
		return sql.Open("pgx", name)
	}
	return sql.Open("sqlite", "file:"+strings.TrimPrefix(name, "sqlite:")+"?_pragma=busy_timeout(10000)")
}

func insertPage(ctx context.Context, db *sql.DB, d database, template uuid.UUID, day int32, p minute.Page) error {
	statement := "INSERT INTO usage_day (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)"
	if d.cluster != nil {
		statement = "INSERT INTO usage_day (template_id, day, version, usage, latency) VALUES ($1, $2, 1, $3, $4)"
	}
	_, err := db.ExecContext(ctx, statement, template, day, p.Usage, p.Latency)
	return err
}

// repeat copies the month nine times into the past.
func repeat(ctx context.Context, d database, name string) error {
	db, err := d.open(name)
	if err != nil {
		return err
	}
	defer db.Close()
	for n := 1; n < 10; n++ {
		_, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO usage_day SELECT template_id, day - %d, version, usage, latency FROM usage_day WHERE day > %d",
			n*31, today().Unix()/86400-31))
		if err != nil {
			return fmt.Errorf("copy the month: %w", err)
		}
	}
	return nil
}

// foldDay merges a day as it comes in and measures its folding.
func (m *month) foldDay(ctx context.Context, t *table, d database, st *store.Store, day int32) error {
	var open []store.OpenRow
	for template, id := range m.templates {
		for _, r := range m.rows(template, day) {
			open = append(open, store.OpenRow{Template: id, Row: r})
		}
	}
	if err := st.Merge(ctx, open); err != nil {
		return err
	}
	begin := time.Now()
	report, err := st.Fold(ctx)
	if err != nil {
		return err
	}
	t.add(d, fmt.Sprintf("folding a day of %d people, %d rows", m.sizes.Users, report.Rows), time.Since(begin).Seconds(), "s", "0.29 in design 2")
	return nil
}

// questions asks over REST.
type questions struct{ base, token string }

// median asks a question several times and returns the median time in milliseconds.
func (q *questions) median(ctx context.Context, path string, params url.Values) (float64, error) {
	var times []float64
	for range rounds {
		begin := time.Now()
		if err := q.ask(ctx, path, params); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		times = append(times, float64(time.Since(begin).Microseconds())/1000)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func (q *questions) ask(ctx context.Context, path string, params url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.base+path+"?"+params.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Coder-Session-Token", q.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || len(body) < 1000 {
		return fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return nil
}
