package coder

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/workspace"
)

// past is a deployment of 90 days in which people had several workspaces of a template, took prebuilt ones, and gave some away.
type past struct {
	*world
	rng        *rand.Rand
	first, end time.Time
	people     []uuid.UUID
	kinds      []uuid.UUID // templates
	machines   []*machine
}

// machine is a workspace with what really happened in it.
type machine struct {
	id, template uuid.UUID
	tenants      []tenantSince
	deleted      time.Time
	runs         []run
	used         map[int64]bool // minutes
}

// tenantSince is who has a workspace from a moment on.
type tenantSince struct {
	user uuid.UUID
	from time.Time
}

// run is a time in which a workspace ran.
type run struct{ from, to time.Time }

// tenantAt is who had the workspace at a moment.
func (m *machine) tenantAt(at time.Time) uuid.UUID {
	user := m.tenants[0].user
	for _, t := range m.tenants {
		if !at.Before(t.from) {
			user = t.user
		}
	}
	return user
}

func newPast(t *testing.T) *past {
	t.Helper()
	end := time.Now().UTC().Truncate(halfHour)
	p := &past{
		world: &world{organization: uuid.New()}, rng: rand.New(rand.NewPCG(23, 90)), end: end, first: end.Add(-90 * 24 * time.Hour),
	}
	p.url, p.conn = newDatabase(t)
	execute(t, p.conn, codertest.Schema(551))
	p.exec(t, `INSERT INTO organizations VALUES ($1, 'acme', 'Acme', true)`, p.organization)
	p.exec(t, `INSERT INTO users (id, username, is_system) VALUES ($1, 'prebuilds', true)`, prebuilds)
	for _, name := range []string{"ann", "bob", "cid", "dora", "eve", "fay"} {
		p.people = append(p.people, p.addUser(t, name))
	}
	for _, name := range []string{"docker", "kubernetes"} {
		p.kinds = append(p.kinds, p.addTemplate(t, name))
	}
	for n, user := range p.people {
		for i := range 1 + n%3 + p.rng.IntN(2) {
			p.addMachine(t, p.kinds[(n+i)%2], user, (n+i)%4)
		}
	}
	p.work()
	p.keep(t)
	return p
}

// addMachine adds a workspace: of user from the beginning, as a prebuilt one that user takes later, as one of somebody else that is
// given to user, or as one that is deleted.
func (p *past) addMachine(t *testing.T, template, user uuid.UUID, sort int) {
	m := &machine{id: uuid.New(), template: template, used: map[int64]bool{}, tenants: []tenantSince{{user, p.first}}}
	later := p.first.Add(time.Duration(20+p.rng.IntN(40))*24*time.Hour + time.Duration(p.rng.IntN(24*60))*time.Minute)
	switch sort {
	case 1:
		m.tenants = []tenantSince{{uuid.MustParse(prebuilds), p.first}, {user, later}}
	case 2:
		m.tenants = []tenantSince{{p.people[p.rng.IntN(len(p.people))], p.first}, {user, later}}
	case 3:
		m.deleted = later
	}
	p.machines = append(p.machines, m)
	p.exec(t, `INSERT INTO workspaces (id, owner_id, organization_id, template_id, name, created_at, deleted)
		VALUES ($1, $2, $3, $4, 'w', $5, $6)`, m.id, user, p.organization, template, p.first, sort == 3)
	var jobs, builds [][]any
	build := func(transition string, at time.Time, by uuid.UUID, fault string) {
		job := uuid.New()
		jobs = append(jobs, []any{job, at, at, at.Add(time.Minute), fault})
		builds = append(builds, []any{uuid.New(), at, m.id, uuid.New(), len(builds) + 1, transition, job, by})
	}
	taken := sort != 1
	for day := range 90 {
		start := p.first.Add(time.Duration(day)*24*time.Hour + time.Duration(p.rng.IntN(12*60))*time.Minute)
		stop := start.Add(time.Duration(1+p.rng.IntN(11*60)) * time.Minute)
		switch {
		case !m.deleted.IsZero() && stop.After(m.deleted.Add(-time.Hour)) || stop.After(p.end.Add(-time.Hour)):
			continue
		case !taken: // it runs all the time, until it is taken
			if len(builds) == 0 {
				build("start", start, m.tenants[0].user, "")
			}
			if stop.Before(later) {
				continue
			}
			taken, start = true, later
			stop = start.Add(3 * time.Hour)
		case p.rng.IntN(4) == 0:
			continue
		}
		if p.rng.IntN(5) == 0 {
			build("start", start.Add(-10*time.Minute), m.tenantAt(start), "out of quota")
		}
		build("start", start, m.tenantAt(start), "")
		build("stop", stop, m.tenantAt(stop), "")
		m.runs = append(m.runs, run{start.Add(time.Minute), stop})
	}
	if !m.deleted.IsZero() {
		build("delete", m.deleted, user, "")
	}
	p.copy(t, "provisioner_jobs", jobs, "id", "updated_at", "started_at", "completed_at", "error")
	p.copy(t, "workspace_builds", builds, "id", "created_at", "workspace_id", "template_version_id", "build_number", "transition", "job_id",
		"initiator_id")
}

// work makes up who used what: stretches of up to an hour while a workspace runs.
func (p *past) work() {
	for _, m := range p.machines {
		for _, r := range m.runs {
			at, last := r.from.Unix()/60+1, r.to.Unix()/60-1
			for at < last {
				for end := min(at+p.rng.Int64N(60), last); at < end; at++ {
					if p.rng.IntN(3) > 0 {
						m.used[at] = true
					}
				}
				at += 1 + p.rng.Int64N(150)
			}
		}
	}
}

// keep writes what Coder keeps of the use: reports of the last day, and half hours of all before.
func (p *past) keep(t *testing.T) {
	reports := p.end.Add(-24 * time.Hour)
	type key struct {
		user, template uuid.UUID
		half           int64
	}
	half := map[key]map[int64]bool{}
	var rows, stats [][]any
	for _, m := range p.machines {
		for at := range m.used {
			moment := time.Unix(at*60, 0).UTC()
			user := m.tenantAt(moment)
			k := key{user, m.template, at / minute.MinutesPerHalfHour}
			if half[k] == nil {
				half[k] = map[int64]bool{}
			}
			half[k][at] = true
			if !moment.Before(reports) {
				rows = append(rows, []any{moment.Add(time.Second), user, m.template, m.id, 1, 12.5, 1})
			}
		}
	}
	for k, minutes := range half {
		start, n := time.Unix(k.half*1800, 0).UTC(), len(minutes)
		stats = append(stats, []any{start, start.Add(halfHour), k.template, k.user, 12.5, n, 0, 0, 0, n, 0})
	}
	p.copy(t, "workspace_agent_stats", rows, "created_at", "user_id", "template_id", "workspace_id", "connection_count",
		"connection_median_latency_ms", "session_count_vscode")
	p.copy(t, "template_usage_stats", stats, "start_time", "end_time", "template_id", "user_id", "median_latency_ms", "usage_mins",
		"ssh_mins", "sftp_mins", "reconnecting_pty_mins", "vscode_mins", "jetbrains_mins")
}

// builds are the builds of all workspaces as the store has them.
func (p *past) builds(t *testing.T, i *Importer) map[uuid.UUID][]workspace.Build {
	builds := map[uuid.UUID][]workspace.Build{}
	for _, user := range append(p.people, uuid.MustParse(prebuilds)) {
		d, err := i.to.MyData(context.Background(), user)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range d.Builds {
			builds[b.WorkspaceID] = append(builds[b.WorkspaceID], workspace.Build{
				ID: b.ID, Number: b.Number, Transition: b.Transition, Succeeded: b.Status == "succeeded", Asked: b.CreatedAt.Time,
				Began: b.StartedAt.Time, Ended: b.FinishedAt.Time,
			})
		}
	}
	return builds
}

// minutesOfCells are the minutes of the cells that are wanted.
func minutesOfCells(cells map[cell]minute.Mask, wanted func(cell) bool) workspace.Minutes {
	var spans []workspace.Span
	for c, mask := range cells {
		if !wanted(c) {
			continue
		}
		for _, m := range minutesOf(mask) {
			at := int64(c.halfHour)*minute.MinutesPerHalfHour + int64(m)
			spans = append(spans, workspace.Span{From: at, To: at + 1})
		}
	}
	return workspace.MinutesOf(spans...)
}

// halfHourOf is the minutes of a half hour.
func halfHourOf(n int32) workspace.Span {
	return workspace.Span{From: int64(n) * minute.MinutesPerHalfHour, To: int64(n+1) * minute.MinutesPerHalfHour}
}

// byHalfHour is how many minutes there are in each half hour.
func byHalfHour(m workspace.Minutes) map[int64]int64 {
	n := map[int64]int64{}
	for _, s := range m {
		for at := s.From; at < s.To; at++ {
			n[at/minute.MinutesPerHalfHour]++
		}
	}
	return n
}

// Of 90 days that are imported, an estimate is never of a workspace in which its person was not, and no minute of a workspace is told to be
// unattended in which somebody may have been there.
func TestNinetyDaysClaimNothing(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	i, done := newImporter(t, p.url, openStore(t, storetest.SQLite(t)), Options{})
	defer done()
	if err := i.catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if days := time.Since(i.catalogUntil) / (24 * time.Hour); days != 0 {
		t.Errorf("%d days of the catalog are missing", days)
	}
	cells := map[cell]minute.Mask{}
	for from := p.first; from.Before(p.end); from = from.Add(step) {
		for c, m := range importRows(t, i, window{from: from, to: earlier(from.Add(step), p.end)}) {
			if !c.kind.HasBins() {
				cells[c] |= m
			}
		}
	}
	used := map[uuid.UUID]map[uuid.UUID]workspace.Minutes{} // by workspace and person
	for _, m := range p.machines {
		used[m.id] = map[uuid.UUID]workspace.Minutes{}
		for at := range m.used {
			user := m.tenantAt(time.Unix(at*60, 0))
			used[m.id][user] = append(used[m.id][user], workspace.Span{From: at, To: at + 1})
		}
		for user, minutes := range used[m.id] {
			used[m.id][user] = workspace.MinutesOf(minutes...)
		}
	}
	placed, unplaced := 0, 0
	for c := range cells {
		if _, estimate := c.kind.Measured(); !estimate {
			continue
		}
		if c.workspace == uuid.Nil {
			unplaced++
			continue
		}
		placed++
		if used[c.workspace][c.user].Intersect(workspace.Minutes{halfHourOf(c.halfHour)}) == nil {
			t.Errorf("an estimate is of a workspace in which its person was not: %+v", c)
		}
	}
	if placed < 300 || unplaced < 300 {
		t.Errorf("%d estimates are of a workspace, %d are not: too few to show anything", placed, unplaced)
	}
	builds := p.builds(t, i)
	var running, attended, unattended, unknown int64
	for _, m := range p.machines {
		runs := workspace.NewHistory(builds[m.id], m.deleted, p.end).Runs().Running
		var somewhere []workspace.Span
		for c := range cells {
			span := halfHourOf(c.halfHour)
			from, to := time.Unix(span.From*60, 0), time.Unix(span.To*60-1, 0)
			if c.workspace == uuid.Nil && c.template == m.template && (m.tenantAt(from) == c.user || m.tenantAt(to) == c.user) {
				somewhere = append(somewhere, span)
			}
		}
		a := workspace.Attend(runs, workspace.Use{
			Here:      minutesOfCells(cells, func(c cell) bool { return c.workspace == m.id }),
			Somewhere: workspace.MinutesOf(somewhere...),
		})
		if runs.Count() != a.Attended.Count()+a.Unattended.Count()+a.Unknown.Count() {
			t.Errorf("%s: %d minutes of running are not attended, unattended and unknown together", m.id, runs.Count())
		}
		real := map[int64]int64{}
		for _, minutes := range used[m.id] {
			for half, n := range byHalfHour(minutes.Intersect(runs)) {
				real[half] += n
			}
		}
		ran := byHalfHour(runs)
		for half, claimed := range byHalfHour(a.Unattended) {
			if most := ran[half] - real[half]; claimed > most {
				at := time.Unix(half*1800, 0).UTC()
				t.Errorf("%s at %s: %d minutes are told to be unattended, at most %d were", m.id, at, claimed, most)
			}
		}
		running, attended = running+runs.Count(), attended+a.Attended.Count()
		unattended, unknown = unattended+a.Unattended.Count(), unknown+a.Unknown.Count()
	}
	t.Logf("%d estimates of a workspace, %d of none; of %d hours of running %d attended, %d unattended, %d unknown",
		placed, unplaced, running/60, attended/60, unattended/60, unknown/60)
	if unattended == 0 || unknown == 0 {
		t.Error("nothing is unattended or nothing is unknown: this shows nothing")
	}
}
