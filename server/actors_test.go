package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// actorParams are the parameters of a question about some actors on the whole day of machines.
func (q question) actorParams(actor string) url.Values {
	params := q.params()
	for name, value := range map[string]string{
		"start_time": wholeDay.Get("start_time"), "end_time": wholeDay.Get("end_time"),
		"start": wholeDay.Get("start_time"), "end": wholeDay.Get("end_time"),
	} {
		if params.Has(name) {
			params.Set(name, value)
		}
	}
	if actor != "" {
		params.Set("actor", actor)
	}
	return params
}

// othersIn are those whom an answer says it leaves out: of the first template where it tells of each.
func othersIn(q question, body map[string]any) any {
	if q.method == insightsv1.InsightsService_ListTemplateUsage_FullMethodName {
		report, _ := body["report"].(map[string]any)
		templates, _ := report["templates"].([]any)
		body, _ = templates[0].(map[string]any)
	}
	return body["other_actors"]
}

// Every question is about people unless it asks for others, says about whom it is, and who was active beside them.
func TestEveryQuestionHasActors(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := machines(t, open(t))
			other := func(actor string) any {
				return map[string]any{"actor": actor, "actors": 1.0, "seconds": 60.0}
			}
			for _, q := range questions(t, p.Templates[0]) {
				if !q.has("actor") {
					continue // about templates or organizations
				}
				for _, tt := range []struct {
					actor          string
					actors, others any
				}{
					{"", []any{"person"}, []any{other("service"), other("system")}},
					{"system,person", []any{"person", "system"}, []any{other("service")}},
					{"all", []any{"person", "service", "system"}, nil},
				} {
					status, body := p.Get(t, p.owner, q.path, q.actorParams(tt.actor))
					if status != http.StatusOK {
						t.Fatalf("%s about %q: %d %v", q.path, tt.actor, status, body)
					}
					if diff := cmp.Diff(tt.actors, body["actors"]); diff != "" {
						t.Errorf("%s about %q: actors (-want +got):\n%s", q.path, tt.actor, diff)
					}
					if q.method == insightsv1.InsightsService_GetUserStatusCounts_FullMethodName {
						continue // which is not about activity, and nobody's status is known
					}
					if diff := cmp.Diff(tt.others, othersIn(q, body)); diff != "" {
						t.Errorf("%s about %q: others (-want +got):\n%s", q.path, tt.actor, diff)
					}
				}
			}
		})
	}
}

// An answer without people says that somebody else was active, and not that nobody connected.
func TestOnlyOtherActors(t *testing.T) {
	t.Parallel()
	p := machinesWith(t, storetest.SQLite(t), nil, "service", "system", "service")
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	activity := servertest.Must(t, client.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
		StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"),
	}).GetReport()
	if r := activity.GetReasons(); len(r) != 1 || r[0].GetReason() != "other_actors" {
		t.Errorf("no people because of %v", r)
	}
	findings := servertest.Must(t, client.GetDiagnosis, p.owner, &insightsv1.GetDiagnosisRequest{
		StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"),
	}).GetFindings()
	for i, f := range findings {
		if reason := f.GetReason(); (reason == "other_actors") != (i == 0) || strings.HasPrefix(reason, "no_connections") {
			t.Errorf("finding %d is %s", i, reason)
		}
	}
	if len(findings) == 0 {
		t.Error("no findings")
	}
}

// Where small groups are hidden nothing is told of others than people but that there are enough of them.
func TestActorsOfSmallGroups(t *testing.T) {
	t.Parallel()
	refused := func(body map[string]any) bool {
		return slices.Contains([]any{"This is told of people alone.", "This is not told here."}, body["message"])
	}
	for _, tt := range []struct {
		floor  int
		others any
	}{
		{2, []any{map[string]any{"actor": "service", "actors": 2.0, "seconds": 120.0}}},
		{3, nil},
	} {
		t.Run(fmt.Sprint("floor ", tt.floor), func(t *testing.T) {
			t.Parallel()
			p := machinesWith(t, storetest.SQLite(t), func(o *server.Options) { o.PrivacyFloor = tt.floor }, "human", "service", "service")
			p.setMode(t, store.PrivacyPseudonym)
			storetest.PublishAnew(t, p.Store, p.Database, store.Publication{Floor: tt.floor, Zone: time.UTC})
			for _, q := range questions(t, p.Templates[0]) {
				if !q.has("actor") {
					continue
				}
				for _, actor := range []string{"all", "service", "person,system"} {
					status, body := p.Get(t, p.owner, q.path, q.actorParams(actor))
					if status != http.StatusBadRequest || !refused(body) {
						t.Errorf("%s about %s: %d %v", q.path, actor, status, body)
					}
				}
				status, body := p.Get(t, p.owner, q.path, q.actorParams("person"))
				if status == http.StatusBadRequest && refused(body) {
					continue // a report that is told in the mode full alone
				}
				if status != http.StatusOK {
					t.Fatalf("%s about people: %d %v", q.path, status, body)
				}
				if q.method == insightsv1.InsightsService_GetUserStatusCounts_FullMethodName {
					continue
				}
				if diff := cmp.Diff(tt.others, othersIn(q, body)); diff != "" {
					t.Errorf("%s: others (-want +got):\n%s", q.path, diff)
				}
			}
		})
	}
}

// For some weeks after the first import from Coder whoever asks about people learns how many accounts Coder counts besides; where small
// groups are hidden, the same whether there are few or none.
func TestDifferenceFromCoder(t *testing.T) {
	t.Parallel()
	const hidden = "Coder also counts service and system accounts and whatever else is hidden here."
	for _, tt := range []struct {
		name  string
		kinds []string
		ago   time.Duration // of the import
		floor int
		actor []string
		want  string // empty: nothing is said
	}{
		{
			"others",
			[]string{"human", "service", "system"},
			time.Hour, 0, nil,
			"Coder also counts 1 service account and 1 system account.",
		},
		{"nobody else", []string{"human"}, time.Hour, 0, nil, ""},
		{"everybody is asked for", []string{"human", "service"}, time.Hour, 0, []string{"all"}, ""},
		{"after 28 days", []string{"human", "service"}, 29 * 24 * time.Hour, 0, nil, ""},
		{"without an import", []string{"human", "service"}, 0, 0, nil, ""},
		{
			"enough others",
			[]string{"human", "service", "service"},
			time.Hour, 2, nil,
			"Coder also counts at least 2 service accounts.",
		},
		{"few others", []string{"human", "service"}, time.Hour, 2, nil, hidden},
		{"nobody else where groups are hidden", []string{"human", "human"}, time.Hour, 2, nil, hidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			database := storetest.SQLite(t)
			p := machinesWith(t, database, func(o *server.Options) { o.PrivacyFloor = 2 }, tt.kinds...)
			if tt.ago > 0 {
				if err := p.BeginFirstImport(t.Context(), "coder"); err != nil {
					t.Fatal(err)
				}
				err := storetest.OpenDB(t, database).Writes.Exec(
					`UPDATE audit_events SET at = at - ? WHERE action = 'first import'`, tt.ago.Microseconds(),
				).Error
				if err != nil {
					t.Fatal(err)
				}
			}
			if tt.floor > 0 {
				p.setMode(t, store.PrivacyPseudonym)
				storetest.PublishAnew(t, p.Store, p.Database, store.Publication{Floor: tt.floor, Zone: time.UTC})
			}
			got := ""
			client := insightsv1.NewInsightsServiceClient(p.Conn)
			diagnosis := servertest.Must(t, client.GetDiagnosis, p.owner, &insightsv1.GetDiagnosisRequest{
				StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"), Actor: tt.actor,
			})
			for _, f := range diagnosis.GetFindings() {
				if f.GetReason() == "differs_from_coder" {
					got = f.GetMessage()
				}
			}
			if got != tt.want {
				t.Errorf("said: %q, want %q", got, tt.want)
			}
		})
	}
}
