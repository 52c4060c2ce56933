package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/yuin/goldmark"
	"golang.org/x/net/html"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

const fuzzAgent = "11111111-1111-4111-8111-111111111111"

// fuzzLimits are those of a control plane: everything since the epoch.
func fuzzLimits() limits { return limits{time.Unix(0, 0), storetest.Now.Add(5 * time.Minute)} }

// wire is a message as it travels.
func wire(f *testing.F, m proto.Message) []byte {
	f.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// checkRejection wants an item to be refused in words that can travel.
func checkRejection(t *testing.T, r *rejection) {
	t.Helper()
	if r.reason == "" || len(r.reason) > 500 || !utf8.ValidString(r.reason) || r.cause == "" {
		t.Errorf("rejection %+v", r)
	}
}

// minutesOf are the minutes of rows by kind and app, each row one that a page takes.
func minutesOf(t *testing.T, rows []store.OpenRow) map[minute.Kind]map[string][]int64 {
	t.Helper()
	all := map[minute.Kind]map[string][]int64{}
	for _, r := range rows {
		if _, err := minute.EncodePage(r.HalfHour/minute.HalfHoursPerDay, []minute.Row{r.Row}); err != nil || r.HalfHour < 0 || r.Minutes == 0 {
			t.Fatalf("row %+v: %v", r, err)
		}
		if all[r.Kind] == nil {
			all[r.Kind] = map[string][]int64{}
		}
		for i := range int64(minute.MinutesPerHalfHour) {
			if r.Minutes>>i&1 == 1 {
				all[r.Kind][r.App] = append(all[r.Kind][r.App], int64(r.HalfHour)*minute.MinutesPerHalfHour+i)
			}
		}
	}
	return all
}

// minutesBetween are all minutes from the first to the last, without those before the epoch.
func minutesBetween(first, last int64) (minutes []int64) {
	for m := first; m <= last; m++ {
		if m >= 0 {
			minutes = append(minutes, m)
		}
	}
	return minutes
}

// A report that is taken touches the minutes that it covers, one by one, and no other.
func FuzzReport(f *testing.F) {
	report := sessionAt(fuzzAgent, 1, storetest.Now)
	f.Add(wire(f, report))
	report.Interval = durationpb.New(61 * time.Second)
	f.Add(wire(f, report))
	report.Interval, report.ConnectionMedianLatencyMs = durationpb.New(10*time.Minute), 12.5
	f.Add(wire(f, report))
	report.CollectedAt = timestamppb.New(time.Unix(59, 999_999_999))
	f.Add(wire(f, report))
	report.Interval, report.SessionCounts = &durationpb.Duration{Seconds: math.MaxInt64}, map[string]int64{"\u202ea": 1, "": math.MaxInt64, "B-b": -1}
	f.Add(wire(f, report))
	f.Add(wire(f, &insightsv1.AgentReport{AgentId: fuzzAgent, CollectedAt: &timestamppb.Timestamp{Seconds: 1, Nanos: -1}, ConnectionMedianLatencyMs: math.NaN()}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.AgentReport
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		l := fuzzLimits()
		r, rejected := parseReport(&m, l)
		if rejected != nil {
			checkRejection(t, rejected)
			return
		}
		if r.agent == uuid.Nil || r.collected.Before(l.oldest) || r.collected.After(l.newest) {
			t.Fatalf("agent %s, collected at %v", r.agent, r.collected)
		}
		got := minutesOf(t, r.rows(store.Placement{Template: uuid.New(), Subject: 1}, slices.Collect(maps.Keys(r.sessions))))
		covered := m.GetInterval().AsDuration()
		n := int64(math.Ceil(covered.Minutes()))
		last := m.GetCollectedAt().GetSeconds() / 60
		want := minutesBetween(last-max(n, 1)+1, last)
		for app, minutes := range got[minute.Session] {
			if !slices.Equal(minutes, want) || store.NormalizeSessionName(app) != app {
				t.Errorf("app %q: minutes %v, want %v", app, minutes, want)
			}
		}
		if len(got[minute.Session]) != len(r.sessions) {
			t.Errorf("rows of %d apps, want %d", len(got[minute.Session]), len(r.sessions))
		}
		if measured := m.GetConnectionMedianLatencyMs() > 0; measured != slices.Equal(got[minute.Connection][""], []int64{last}) {
			t.Errorf("latency %v: minutes %v", m.GetConnectionMedianLatencyMs(), got[minute.Connection])
		}
	})
}

// A session that is taken touches every minute in which it was open and no other.
func FuzzAppSession(f *testing.F) {
	session := &insightsv1.AppSession{
		AgentId: fuzzAgent, UserId: fuzzAgent, AccessMethod: "path", SlugOrPort: "8080",
		StartedAt: timestamppb.New(storetest.Now.Add(-time.Hour)), EndedAt: timestamppb.New(storetest.Now),
	}
	f.Add(wire(f, session))
	session.StartedAt = timestamppb.New(storetest.Now.AddDate(0, 0, -31))
	f.Add(wire(f, session))
	session.AccessMethod, session.StartedAt, session.EndedAt = "terminal", timestamppb.New(time.Unix(0, 0)), timestamppb.New(time.Unix(0, 0))
	f.Add(wire(f, session))
	session.EndedAt = timestamppb.New(time.Unix(60, 0))
	f.Add(wire(f, session))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.AppSession
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		s, rejected := parseSession(&m, fuzzLimits())
		if rejected != nil {
			checkRejection(t, rejected)
			return
		}
		if len(s.app) > maxStringBytes || s.app == "" || (s.app == store.TerminalApp) != (m.GetAccessMethod() == "terminal") {
			t.Fatalf("app %q", s.app)
		}
		got := minutesOf(t, s.rows(uuid.New(), 1))
		first, end := m.GetStartedAt().GetSeconds()/60, m.GetEndedAt().AsTime().UnixNano()
		var want []int64
		for m := first; m*60_000_000_000 <= end-1000; m++ { // in microseconds, as everything that is kept
			want = append(want, m)
		}
		if !slices.Equal(got[minute.App][s.app], want) {
			t.Errorf("from %v to %v: minutes %v, want %v", m.GetStartedAt().AsTime(), m.GetEndedAt().AsTime(), got[minute.App][s.app], want)
		}
	})
}

// ingestBodies are the bodies of calls that bring something in.
var ingestBodies = []func() proto.Message{
	func() proto.Message { return &insightsv1.ReportStatsRequest{} },
	func() proto.Message { return &insightsv1.ReportAppSessionsRequest{} },
	func() proto.Message { return &insightsv1.ReportEventsRequest{} },
	func() proto.Message { return &insightsv1.ApplyCatalogRequest{} },
	func() proto.Message { return &insightsv1.AgentReport{} },
	func() proto.Message { return &insightsv1.Event{} },
}

// within runs f and fails if it takes longer than a second.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s takes longer than a second", what)
	}
}

// isFinite is whether all numbers of a message are some that JSON has.
func isFinite(m proto.Message) bool {
	finite := true
	_ = protorange.Range(m.ProtoReflect(), func(p protopath.Values) error { // fails only when the function does
		if x, ok := p.Index(-1).Value.Interface().(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			finite = false
		}
		return nil
	})
	return finite
}

// JSON that is read is the same when it is written and read again, and reading takes no time worth mentioning.
func FuzzIngestJSON(f *testing.F) {
	for i, body := range []string{
		`{"reports":[{"agent_id":"` + fuzzAgent + `","sequence":"18446744073709551615","collected_at":"2023-08-15T12:00:00.5Z","interval":"30s","session_counts":{"vscode":"1"},"connection_median_latency_ms":1e-3}]}`,
		`{"sessions":[{"agentId":"` + fuzzAgent + `","access_method":"path","started_at":"1970-01-01T00:00:00Z","ended_at":"9999-12-31T23:59:59.999999999Z"}]}`,
		`{"events":[{"at":"2023-08-15T12:00:00+02:00","login":{"user_id":"x"}},{"build":{"number":1,"parameters":[{"name":"a","value":"\u0000"}]}}],"metrics":[{"value":"NaN"}]}`,
		`{"organizations":[{"id":"` + fuzzAgent + `","name":"a"}],"template_versions":[{"parameters":[{"options":[{}]}]}],"deleted":{"users":[""]}}`,
		`{"interval":"-0.000000001s","connection_median_latency_ms":"-Infinity"}`,
		`{"at":null,"login":null}`,
	} {
		f.Add(uint8(i), body)
		f.Add(uint8(i), strings.Repeat(`{"reports":[`, 200)+body)
		f.Add(uint8(i), strings.ReplaceAll(body, `"`, ""))
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		kind := ingestBodies[int(which)%len(ingestBodies)]
		m := kind()
		var err error
		within(t, "reading", func() { err = jsonMarshaler{}.NewDecoder(strings.NewReader(body)).Decode(m) })
		if err != nil {
			return
		}
		text, err := jsonMarshaler{}.Marshal(m)
		if !isFinite(m) {
			if err == nil {
				t.Errorf("written in spite of a number that JSON does not have: %s", text)
			}
			return
		}
		again := kind()
		if err != nil || !json.Valid(text) || (jsonMarshaler{}).Unmarshal(text, again) != nil || !proto.Equal(m, again) {
			t.Fatalf("%v, written as %s, is read as %v; %v", m, text, again, err)
		}
		if same, err := (jsonMarshaler{}).Marshal(again); err != nil || !bytes.Equal(text, same) {
			t.Errorf("equal messages are written as %s and %s; %v", text, same, err)
		}
	})
}

// eachText calls f with every string of something that was JSON.
func eachText(value any, f func(string)) {
	switch v := value.(type) {
	case string:
		f(v)
	case []any:
		for _, member := range v {
			eachText(member, f)
		}
	case map[string]any:
		for _, member := range v {
			eachText(member, f)
		}
	}
}

// Each item of a catalog is taken or rejected by name, and what is taken Postgres can keep.
func FuzzCatalog(f *testing.F) {
	id := fuzzAgent
	f.Add(wire(f, &insightsv1.ApplyCatalogRequest{
		Organizations:    []*insightsv1.Organization{{Id: id, Name: "a"}, {Id: id, Name: "a\x00"}, {}},
		Templates:        []*insightsv1.Template{{Id: id, OrganizationId: id, Name: "a", Icon: "\x00", CreatedAt: timestamppb.Now()}},
		TemplateVersions: []*insightsv1.TemplateVersion{{Id: id, TemplateId: id, Name: "a", Parameters: []*insightsv1.Parameter{{Name: "a", Type: "string", DefaultValue: "\x00", Options: []*insightsv1.ParameterOption{{Name: "b"}}}}}},
		Users:            []*insightsv1.User{{Id: id, Username: "a", OrganizationIds: []string{id, ""}}},
		Deleted:          &insightsv1.DeletedItems{Users: []string{id, "x"}},
	}))
	f.Add(wire(f, &insightsv1.ApplyCatalogRequest{Apps: []*insightsv1.App{{AgentId: id, Slug: strings.Repeat("a", 129)}}, Agents: []*insightsv1.Agent{{Id: id, CreatedAt: &timestamppb.Timestamp{Nanos: -1}}}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.ApplyCatalogRequest
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		c := parseCatalog(&m)
		if c.items < len(c.rejected) {
			t.Fatalf("%d of %d items are rejected", len(c.rejected), c.items)
		}
		for _, r := range c.rejected {
			if r.GetReason() == "" || !r.GetPermanent() || r.GetList() == "" || !utf8.ValidString(r.GetReason()) || len(r.GetReason()) > 500 {
				t.Errorf("rejection %v", r)
			}
		}
		kept, err := json.Marshal(c.catalog)
		if err != nil {
			t.Fatal(err)
		}
		var lists any
		if err := json.Unmarshal(kept, &lists); err != nil {
			t.Fatal(err)
		}
		eachText(lists, func(text string) {
			if strings.Contains(text, "\x00") {
				t.Errorf("U+0000 is taken: %q", text)
			}
		})
	})
}

// Events of the control plane that are taken have all that they need.
func FuzzEvent(f *testing.F) {
	id := uuid.MustParse(fuzzAgent)
	build := &insightsv1.Build{
		Id: fuzzAgent, WorkspaceId: fuzzAgent, TemplateVersionId: fuzzAgent, Number: 1, Transition: "start", Status: "running", CreatedAt: timestamppb.New(storetest.Now),
		Parameters: []*insightsv1.BuildParameter{{Name: "a", Value: "b"}},
	}
	f.Add(wire(f, &insightsv1.Event{Kind: &insightsv1.Event_Build{Build: build}}))
	build.FinishedAt = &timestamppb.Timestamp{Seconds: math.MaxInt64}
	f.Add(wire(f, &insightsv1.Event{Kind: &insightsv1.Event_Build{Build: build}}))
	f.Add(wire(f, &insightsv1.Event{Kind: &insightsv1.Event_Agent{Agent: &insightsv1.AgentEvent{AgentId: fuzzAgent, Status: "connected", LifecycleState: "ready", AppHealth: map[string]string{"a": "healthy"}}}}))
	f.Add(wire(f, &insightsv1.Event{Kind: &insightsv1.Event_Job{Job: &insightsv1.JobEvent{
		Id: fuzzAgent, OrganizationId: fuzzAgent, Provisioner: "a", Type: jobTypes[0], Status: store.JobStatuses[0], CreatedAt: timestamppb.New(storetest.Now),
	}}}))
	known := eventParents{
		workspaces: map[uuid.UUID]uuid.UUID{id: id}, versions: map[uuid.UUID]uuid.UUID{id: id}, templates: map[uuid.UUID]uuid.UUID{id: id},
		builds: map[uuid.UUID]uuid.UUID{}, jobs: map[uuid.UUID]uuid.UUID{}, organizations: map[uuid.UUID]string{id: "a"},
	}
	caller := access.Principal{Kind: access.KindService, ID: id}.With(access.Binding{Role: access.RoleControlPlane})
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.Event
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		var rejected *rejection
		switch {
		case m.GetBuild() != nil:
			var b store.Build
			if b, rejected = known.build(caller, m.GetBuild()); rejected == nil && (b.ID == uuid.Nil || b.TemplateID != id || b.Number < 1 || len(b.Parameters) != len(m.GetBuild().GetParameters())) {
				t.Errorf("build %+v of %v", b, &m)
			}
		case m.GetAgent() != nil:
			var c store.AgentCondition
			if c, rejected = parseAgentEvent(m.GetAgent()); rejected == nil && (c.AgentID == uuid.Nil || c.Status == "" || c.LifecycleState == "" || len(c.AppHealth) > maxMapEntries) {
				t.Errorf("condition %+v of %v", c, &m)
			}
		case m.GetJob() != nil:
			var j store.Job
			if j, rejected = known.job(caller, m.GetJob()); rejected == nil && (j.ID == uuid.Nil || j.OrganizationID != id || j.Provisioner == "" || j.Type == "" || j.Status == "") {
				t.Errorf("job %+v of %v", j, &m)
			}
		}
		if rejected != nil {
			checkRejection(t, rejected)
		}
	})
}

// Series that are taken are finite, of a family that their sender may fill, and their labels can be shown.
func FuzzSeries(f *testing.F) {
	id := uuid.MustParse(fuzzAgent)
	for _, m := range []*insightsv1.Metric{
		{Name: "coderd_workspace_creation_total", Type: "counter", Value: 1, Labels: map[string]string{"template_name": "a", "preset_name": "b", "organization_name": "acme"}},
		{Name: "coderd_template_workspace_build_duration_seconds_bucket", Type: "histogram", Value: 1, Labels: map[string]string{
			"template_name": "a", "transition": "start", "status": "success", "is_prebuild": "false", "organization_name": "acme", "le": "0x1p-2",
		}},
		{Name: "coderd_agentstats_startup_script_seconds", Type: "gauge", Value: -1, Labels: map[string]string{"success": "true"}},
		{Name: "a_total", Type: "counter", Value: 1, Labels: map[string]string{"b": "c\"\\\n", "__d": "e"}},
		{Name: "up", Type: "gauge", Value: math.NaN()},
		{Name: peersFamily, Type: "gauge", Value: math.Inf(1), Labels: map[string]string{"connection_type": "p2p"}},
	} {
		f.Add(wire(f, m))
	}
	counts := newMetrics(prometheus.NewRegistry())
	known := eventParents{organizations: map[uuid.UUID]string{id: "acme"}}
	caller := access.Principal{Kind: access.KindService, ID: id}.With(access.Binding{Role: access.RoleControlPlane})
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.Metric
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		if s, rejected := known.series(caller, &m, storetest.Now); rejected != nil {
			checkRejection(t, rejected)
		} else {
			var labels map[string]string
			if err := json.Unmarshal([]byte(s.Labels), &labels); err != nil || len(labels) != len(m.GetLabels()) || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Errorf("series %+v of %v: %v", s, &m, err)
			}
		}
		families := newForwardedFamilies(nil, counts)
		var values agentValues
		taken := families.take([]*insightsv1.Metric{&m, &m}, &values, 1)
		if len(taken) > 1 {
			t.Errorf("%v is taken twice", &m)
		}
		for _, s := range taken {
			if math.IsNaN(s.value) || math.IsInf(s.value, 0) || !utf8.ValidString(s.labels) || strings.ContainsAny(s.labels, "\n\x00") || s.family.name != m.GetName() {
				t.Errorf("%v is forwarded as %+v", &m, s)
			}
		}
	})
}

// What is left of Markdown is what a browser shows of it, letter by letter.
func FuzzPlainText(f *testing.F) {
	for _, markdown := range []string{
		"", "**Bold**, _slanted_ and `a_b`.", "# Size\n\nOf the *disk*", "[a](b \"c\")", "![a *b*](c)", "<b>x</b>", "<script>a</script>\n\nb", "&lt;&#0;&amp;", "\\*a\\*", "[a]: b\n[a]",
		"```go\na\n```", "    code\n", "- a\n- b", "a  \nb\\\nc", "<https://a.b>", "1. a\n\n   b", "> a\n> b", "a\n===", "***", "`` a`b ``",
	} {
		f.Add(markdown)
	}
	f.Fuzz(func(t *testing.T, markdown string) {
		if !utf8.ValidString(markdown) || len(markdown) > 8<<10 || strings.Contains(markdown, "\x00") {
			return // no catalog holds it
		}
		var got string
		within(t, "stripping", func() { got = plainText(markdown) })
		if !utf8.ValidString(got) || got != strings.TrimSpace(got) {
			t.Errorf("%q became %q", markdown, got)
		}
		if want := browserText(t, markdown); letters(got) != want {
			t.Errorf("%q became %q, a browser shows %q", markdown, got, want)
		}
	})
}

// letters leaves out all white space.
func letters(text string) string { return strings.Join(strings.Fields(text), "") }

// browserText is what the page that is made of Markdown shows, without white space.
func browserText(t *testing.T, markdown string) string {
	t.Helper()
	var page bytes.Buffer
	if err := goldmark.Convert([]byte(markdown), &page); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for tokens := html.NewTokenizer(&page); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatal(tokens.Err())
			}
			return letters(shown.String())
		case html.TextToken:
			shown.WriteString(tokens.Token().Data)
		case html.SelfClosingTagToken, html.StartTagToken:
			for _, a := range tokens.Token().Attr {
				if a.Key == "alt" {
					shown.WriteString(a.Val)
				}
			}
		}
	}
}
