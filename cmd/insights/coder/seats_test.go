package coder

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// What Coder knows of workspaces and latencies comes along: reports are of their workspace if it is here, and the median of a half hour
// stands in each of its minutes.
func TestImportSeatsAndMedians(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	to := storetest.Open(t, storetest.SQLite(t), time.Now())
	user, elsewhere := uuid.New(), uuid.New()
	w.exec(t, `INSERT INTO users (id, username) VALUES ($1, 'late')`, user)
	old := w.begin.Add(-48 * time.Hour)
	w.exec(t, `INSERT INTO template_usage_stats (start_time, end_time, template_id, user_id, median_latency_ms, usage_mins)
		VALUES ($1, $2, $3, $4, 40, 7)`, old, old.Add(halfHour), w.templates[0], user)
	at := w.now.Add(-2 * time.Hour)
	for i, workspace := range []uuid.UUID{w.workspaces[0][0], elsewhere} {
		w.exec(t, `INSERT INTO workspace_agent_stats (created_at, user_id, template_id, workspace_id, connection_count,
			connection_median_latency_ms, session_counts) VALUES ($1, $2, $3, $4, 1, -1, '{"vscode": 1}')`,
			at.Add(time.Duration(i)*time.Minute), user, w.templates[0], workspace)
	}
	for range 2 { // the second time adds nothing
		runImport(t, w.url, to, Options{})
	}
	data, err := to.MyData(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	var workspaces []uuid.UUID
	minutes := int64(0)
	for _, u := range data.Usage {
		if u.App == "vscode" {
			workspaces, minutes = slices.Concat(workspaces, u.At), minutes+u.Minutes
		}
	}
	if minutes != 2 || !slices.Equal(slices.Compact(workspaces), []uuid.UUID{w.workspaces[0][0]}) {
		t.Errorf("%d minutes of vscode at %v, want 2 at %s and elsewhere", minutes, workspaces, w.workspaces[0][0])
	}
	if len(data.Latency) != 1 || data.Latency[0].Samples != 7 || data.Latency[0].P50 < 39 || data.Latency[0].P50 > 41 {
		t.Errorf("latencies %+v, want seven of 40 ms", data.Latency)
	}
}

// buildStep is a build of a workspace that takes a minute.
type buildStep struct {
	transition string    // empty: the build is missing
	by         uuid.UUID // uuid.Nil: the owner
	began      int       // minutes after a moment
	failed     bool
}

// addWorkspace adds a workspace with builds, times counted from a moment.
func (w *world) addWorkspace(t testing.TB, template, owner uuid.UUID, from time.Time, builds ...buildStep) (id uuid.UUID) {
	t.Helper()
	id = uuid.New()
	at := func(minutes int) time.Time { return from.Add(time.Duration(minutes) * time.Minute) }
	w.exec(t, `INSERT INTO workspaces (id, owner_id, organization_id, template_id, name, created_at) VALUES ($1, $2, $3, $4, 'w', $5)`,
		id, owner, w.organization, template, from)
	for n, b := range builds {
		if b.transition == "" {
			continue
		}
		by, job, fault := b.by, uuid.New(), ""
		if by == uuid.Nil {
			by = owner
		}
		if b.failed {
			fault = "out of quota"
		}
		w.exec(t, `INSERT INTO provisioner_jobs (id, started_at, completed_at, error) VALUES ($1, $2, $3, $4)`,
			job, at(b.began), at(b.began+1), fault)
		w.exec(t, `INSERT INTO workspace_builds (id, created_at, workspace_id, template_version_id, build_number, transition, job_id,
			initiator_id) VALUES ($1, $2, $3, $1, $4, $5::workspace_transition, $6, $7)`,
			uuid.New(), at(b.began), id, n+1, b.transition, job, by)
	}
	return id
}

// addTemplate adds a template of the organization.
func (w *world) addTemplate(t testing.TB, name string) (id uuid.UUID) {
	t.Helper()
	id = uuid.New()
	w.exec(t, `INSERT INTO templates (id, organization_id, name) VALUES ($1, $2, $3)`, id, w.organization, name)
	return id
}

// addUser adds somebody of the organization.
func (w *world) addUser(t testing.TB, name string) (id uuid.UUID) {
	t.Helper()
	id = uuid.New()
	w.exec(t, `INSERT INTO users (id, username) VALUES ($1, $2)`, id, name)
	w.exec(t, `INSERT INTO organization_members VALUES ($1, $2)`, id, w.organization)
	return id
}

// importRows imports a window and returns the rows that were stored, in cells as Coder knows them.
func importRows(t testing.TB, i *Importer, w window) map[cell]minute.Mask {
	t.Helper()
	var stored []store.OpenRow
	err := i.usage(t.Context(), w, func(ctx context.Context, rows []store.OpenRow) ([]store.OpenRow, error) {
		fresh, err := i.to.UnstoredUsage(ctx, rows)
		stored = slices.Clone(fresh)
		return fresh, err
	})
	if err != nil {
		t.Fatal(err)
	}
	visits := map[int64]store.Visit{}
	for v, subject := range i.subjects {
		visits[subject] = v
	}
	cells := map[cell]minute.Mask{}
	for _, r := range stored {
		v := visits[r.Subject]
		cells[cell{r.Template, v.User, v.Workspace, r.HalfHour, r.Kind, r.App}] |= r.Minutes
	}
	return cells
}

// An estimate is of the workspace of its template in which its person must have been: the only one that ran in its half hour, by the
// builds. Where that is not certain, no workspace is named.
func TestEstimatesFindTheirWorkspace(t *testing.T) {
	t.Parallel()
	type steps = []buildStep
	system, another := uuid.MustParse(prebuilds), uuid.New()
	ran, made := buildStep{transition: "start", began: -100}, buildStep{transition: "start", by: system, began: -100}
	first := minute.Mask(0b1111111)
	cases := []struct {
		name   string
		own    []steps     // of workspaces of the user
		others []steps     // of workspaces of somebody else; what uuid.Nil started, the user did
		in     int         // index of the workspace in own; -1: not known
		at     minute.Mask // of seven minutes of use
	}{
		{"no workspace", nil, nil, -1, first},
		{"one that ran", []steps{{ran}}, nil, 0, first},
		{"one that began to run", []steps{{{transition: "start", began: 19}}}, nil, 0, first << 20},
		{"one that ran for three minutes", []steps{{ran, {transition: "stop", began: 3}}}, nil, 0, first},
		{"one that ran for the last minutes", []steps{{{transition: "start", began: 26}}}, nil, 0, 0b1111 | 0b111<<27},
		{"one that had stopped", []steps{{ran, {transition: "stop", began: -1}}}, nil, -1, first},
		{"one that began later", []steps{{{transition: "start", began: 29}}}, nil, -1, first},
		{"one that did not stop", []steps{{ran, {transition: "stop", began: -50, failed: true}}}, nil, 0, first},
		{"one that did not start", []steps{{{transition: "start", began: -50, failed: true}}}, nil, -1, first},
		{"one of two", []steps{{ran, {transition: "stop", began: -50}}, {{transition: "start", began: -40}}}, nil, 1, first},
		{"two", []steps{{ran}, {ran}}, nil, -1, first},
		{"one after the other", []steps{{ran, {transition: "stop", began: 9}}, {{transition: "start", began: 14}}}, nil, -1, first},
		{"a prebuilt one that was taken before", []steps{{made, {transition: "start", began: -5}}}, nil, 0, first},
		{"a prebuilt one that was taken later", []steps{{made, {transition: "start", began: 29}}}, nil, -1, first},
		{
			"one, and a prebuilt one that was taken later",
			[]steps{{ran}, {made, {transition: "start", began: 29}}},
			nil, 0, first,
		},
		{"one, and one that somebody else owns now", []steps{{ran}}, []steps{{ran}}, -1, first},
		{"one that somebody else owns now", nil, []steps{{ran}}, -1, first},
		{"one, and one that somebody else started since", []steps{{ran}}, []steps{{ran, {"start", another, -50, false}}}, 0, first},
		{"one of which builds are missing", []steps{{ran, {}, {transition: "stop", began: 20}}}, nil, -1, first},
	}
	w := newWorld(t, codertest.Newest, 2)
	begin := w.begin.Add(-10 * 24 * time.Hour)
	users, templates, own := make([]uuid.UUID, len(cases)), make([]uuid.UUID, len(cases)), make([][]uuid.UUID, len(cases))
	for n, c := range cases {
		users[n], templates[n] = w.addUser(t, c.name), w.addTemplate(t, c.name)
		for _, builds := range c.own {
			own[n] = append(own[n], w.addWorkspace(t, templates[n], users[n], begin, builds...))
		}
		for _, builds := range c.others {
			for i := range builds {
				if builds[i].by == uuid.Nil {
					builds[i].by = users[n]
				}
			}
			w.addWorkspace(t, templates[n], w.users[0], begin, builds...)
		}
		w.exec(t, `INSERT INTO template_usage_stats (start_time, end_time, template_id, user_id, median_latency_ms, usage_mins)
			VALUES ($1, $2, $3, $4, 40, 7)`, begin, begin.Add(halfHour), templates[n], users[n])
	}
	for _, from := range []time.Time{begin, begin.Add(-3 * time.Hour)} { // the window around it does not matter
		i, done := newImporter(t, w.url, openStore(t, storetest.SQLite(t)), Options{})
		defer done()
		if err := i.catalog(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[cell]minute.Mask{}
		for n, c := range cases {
			at := cell{template: templates[n], user: users[n], halfHour: int32(begin.Unix() / 1800)}
			if c.in >= 0 {
				at.workspace = own[n][c.in]
			}
			at.kind, at.app = minute.ImportedConnection, ""
			want[at] = c.at
			at.kind, at.app = minute.ImportedSession, store.UnknownSession
			want[at] = c.at
		}
		whole := window{from: from, to: begin.Add(halfHour)}
		if diff := cmp.Diff(want, importRows(t, i, whole), cmp.AllowUnexported(cell{})); diff != "" {
			t.Errorf("estimates of a window from %s (-want +got):\n%s", from, diff)
		}
		w.addWorkspace(t, templates[1], users[1], begin, ran) // what an import placed stays there
		if again := importRows(t, i, whole); len(again) > 0 {
			t.Errorf("another import adds %v", again)
		}
		w.exec(t, `DELETE FROM workspaces WHERE template_id = $1 AND id <> $2`, templates[1], own[1][0])
	}
}
