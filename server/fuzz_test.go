package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"github.com/yuin/goldmark"
	"golang.org/x/net/html"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
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
		Id: fuzzAgent, OrganizationId: fuzzAgent, Provisioner: "a", Type: jobTypes[0], Status: jobStatuses[0], CreatedAt: timestamppb.New(storetest.Now),
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
	counts := newMetrics(1000)
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

// restQuestions are requests that REST makes of query parameters.
var restQuestions = []proto.Message{
	&insightsv1.GetTemplateInsightsRequest{}, &insightsv1.GetUserActivityRequest{}, &insightsv1.GetUserLatencyRequest{}, &insightsv1.GetDeploymentDAUsRequest{},
	&insightsv1.GetTemplateDAUsRequest{}, &insightsv1.GetUserStatusCountsRequest{}, &insightsv1.GetActivityRequest{}, &insightsv1.GetDiagnosisRequest{},
	&insightsv1.ListTemplatesRequest{}, &insightsv1.ListOrganizationsRequest{}, &insightsv1.ListTokensRequest{}, &insightsv1.ListRoleBindingsRequest{},
	&insightsv1.ListAuditEventsRequest{}, &insightsv1.GetMyDataRequest{}, &insightsv1.RevokeRoleRequest{}, &insightsv1.WhoAmIRequest{},
	&insightsv1.GetCapacityReportRequest{}, &insightsv1.GetOptimizationReportRequest{}, &insightsv1.GetSupportReportRequest{}, &insightsv1.GetROIReportRequest{},
}

// Every parameter of a query gets into its field, or is named as the one that is wrong.
func FuzzQuery(f *testing.F) {
	for i := range restQuestions {
		for _, query := range []string{
			week, "template_ids=a,,b&template_ids=%20c", "page_size=1&page_token=", "page_size=0x1", "page_size=", "tz_offset=-3", "tz_offset=5.5", "interval=day&interval=week", "foo=1", "=", "%ff=1", "search=%ff",
			"template_ids[a]=1", "principal.kind=PRINCIPAL_KIND_USER", "principal.kind=9", "principal.id=x&principal.id=y", "start_time.seconds=1", "sections=report,interval_reports", "timezone", "startTime=1",
			"role_binding.role=x", "role_binding.principal.kind=x", "since=1", "at=2023-08-15T12:00:00Z",
		} {
			f.Add(uint8(i), query)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		target := restQuestions[int(which)%len(restQuestions)].ProtoReflect().New()
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		found := checkQuery(target.Descriptor(), query)
		for _, e := range found {
			if !utf8.ValidString(e.Field+e.Detail) || len(e.Field) > 100 || e.Detail == "" {
				t.Errorf("what is wrong: %+v", e)
			}
		}
		err = queryParser{}.Parse(target.Interface(), query, utilities.NewDoubleArray(nil))
		if (err != nil) != (len(found) > 0) {
			t.Fatalf("%q for %s: %v, but what is wrong is %v", text, target.Descriptor().Name(), err, found)
		}
		if err != nil {
			return
		}
		for name, values := range query {
			field, in := queryField(target.Descriptor(), name), target
			for _, part := range strings.Split(name, ".")[:strings.Count(name, ".")] {
				in = in.Get(in.Descriptor().Fields().ByName(protoreflect.Name(part))).Message()
			}
			switch got := in.Get(field); {
			case field.IsList():
				var list []string
				for i := range got.List().Len() {
					list = append(list, got.List().Get(i).String())
				}
				if want := splitList(values); field.Kind() == protoreflect.StringKind && !slices.Equal(list, want) {
					t.Errorf("%s: %q, want %q", name, list, want)
				}
			case field.Kind() == protoreflect.StringKind && got.String() != values[0], field.Kind() == protoreflect.Int32Kind && values[0] != "" && got.Int() != mustInt(t, values[0]):
				t.Errorf("%s: %v, want %q", name, got, values[0])
			}
		}
	})
}

func mustInt(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The ids of a scope are read one by one, and an answer names those that are none without growing.
func FuzzTemplateIDs(f *testing.F) {
	for _, list := range []string{"", fuzzAgent, fuzzAgent + "," + fuzzAgent, "x," + fuzzAgent, "{" + fuzzAgent + "}", "urn:uuid:" + fuzzAgent, strings.Repeat("y,", 100), strings.Repeat("\u00e4", 200)} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		m := &insightsv1.GetTemplateInsightsRequest{TemplateIds: strings.Split(list, ",")}
		ids, found := templateIDs(m.ProtoReflect(), m.ProtoReflect().Descriptor().Fields().ByName("template_ids"))
		var want []uuid.UUID
		bad := 0
		for _, text := range m.GetTemplateIds() {
			if id, err := uuid.Parse(text); err == nil {
				want = append(want, id)
				continue
			}
			bad++
		}
		if bad > 0 {
			if len(ids) > 0 || len(found) != 1 || found[0].Field != "template_ids" || len(found[0].Detail) > 1000 || !utf8.ValidString(found[0].Detail) {
				t.Errorf("%d bad ids: %v, %v", bad, ids, found)
			}
			return
		}
		if len(found) > 0 || !slices.Equal(ids, want) {
			t.Errorf("%q: %v, %v", list, ids, found)
		}
	})
}

// fuzzMoments are seeds for times: odd days of odd zones among them.
var fuzzMoments = []struct{ start, end, zone string }{
	{"2023-08-07T00:00:00Z", "2023-08-14T00:00:00Z", ""},
	{"2023-08-07T00:00:00+05:45", "2023-08-15T11:00:00+05:45", ""},
	{"2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00", "Europe/Berlin"},
	{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", "America/Sao_Paulo"},
	{"2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", "America/St_Johns"},
	{"2010-11-06T23:01:00-03:30", "2010-11-08T00:00:00-03:30", "America/St_Johns"},
	{"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "Pacific/Apia"},
	{"2024-11-03T00:00:00-05:00", "2024-11-04T00:00:00-05:00", "America/Havana"},
	{"1970-01-01T00:00:00Z", "2023-08-15T00:00:00Z", "Africa/Monrovia"},
	{"2023-08-15T12:00:00.999999999Z", "2023-08-15T13:00:00.5Z", "UTC"},
	{"9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "../etc/passwd"},
}

// A question that is taken is about whole days of its zone up to the coming hour, and its intervals cover it; of any other
// the caller learns which field is wrong.
func FuzzQuestion(f *testing.F) {
	for _, m := range fuzzMoments {
		for _, step := range []string{"", "day", "week", "x"} {
			f.Add(m.start, m.end, m.zone, step)
		}
	}
	f.Fuzz(func(t *testing.T, start, end, zone, step string) {
		now := storetest.Now
		q, err := parseQuestion(&insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Timezone: zone}, now)
		if err == nil {
			q, err = q.split(step)
		}
		if err != nil {
			for _, fault := range faults(t, err) {
				if field, _, _ := strings.Cut(fault, ": "); !slices.Contains([]string{"start_time", "end_time", "timezone", "interval"}, field) || !utf8.ValidString(fault) || len(fault) > 300 {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if zone != "" && q.start.Location().String() != zone || q.end.Before(q.start) || q.start.Unix() < 0 || q.end.After(now.Add(time.Hour)) {
			t.Fatalf("from %v to %v", q.start, q.end)
		}
		// A day begins when the clock shows midnight, or at the first moment at which it shows that day.
		if clock := q.start.Format(time.TimeOnly); clock != "00:00:00" {
			for before := q.start.Add(-49 * time.Hour); before.Before(q.start); before = before.Add(time.Minute) {
				if dayOf(before) >= dayOf(q.start) {
					t.Fatalf("%v is not where a day begins, %v is before", q.start, before)
				}
			}
		}
		w := q.window
		if !slices.IsSorted(w.Bounds) || len(w.Bounds) > 0 && w.Bounds[0] != w.Start || len(w.Bounds) > maxDayIntervals || (step != "") != (len(w.Bounds) > 0) && w.Start < w.End {
			t.Errorf("window %+v", w)
		}
		for i, bound := range w.Bounds[min(1, len(w.Bounds)):] {
			at := time.Unix(60*bound, 0).In(q.start.Location())
			if dayOf(at) <= dayOf(at.Add(-time.Minute-time.Second)) && at.Format("15:04") != "00:00" {
				t.Errorf("interval %d begins at %v", i+1, at)
			}
		}
	})
}

// Only names of the database of zones are zones; nothing else is looked up.
func FuzzZone(f *testing.F) {
	for _, zone := range append([]string{"UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires"}, evilZones...) {
		f.Add(zone)
	}
	f.Fuzz(func(t *testing.T, name string) {
		zone, err := parseZone(name)
		if name == "" || err != nil {
			if zone != nil || (name == "") != (err == nil) {
				t.Errorf("%q: %v, %v", name, zone, err)
			}
			return
		}
		fits := strings.IndexFunc(name, func(r rune) bool {
			return r != '/' && r != '_' && r != '-' && r != '+' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) < 0
		if zone.String() != name || !fits || strings.Contains(name, "..") || strings.HasPrefix(name, "/") {
			t.Errorf("%q is taken as the zone %v", name, zone)
		}
	})
}

// naiveStep reads the grammar without its expression: digits, a blank that need not be, a unit that may have an s.
func naiveStep(text string) (step timeStep, ok bool) {
	n, digits := 0, 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		n = min(10*n+int(text[digits]-'0'), maxStepNumber+1)
		digits++
	}
	if digits == 0 || digits > 6 || n < 1 || n > maxStepNumber {
		return timeStep{}, false
	}
	switch strings.TrimSuffix(strings.TrimPrefix(text[digits:], " "), "s") {
	case "day":
		return timeStep{days: n}, true
	case "week":
		return timeStep{days: 7 * n}, true
	case "month":
		return timeStep{months: n}, true
	case "year":
		return timeStep{months: 12 * n}, true
	}
	return timeStep{}, false
}

// Steps are read as the grammar says, and cut the time from start to end without a gap.
func FuzzStep(f *testing.F) {
	for i, text := range []string{"1 day", "90days", "2 weeks", "1000 years", "3 month", "1 dayss", "0 day", "000001 day", "0000001 day", "1  day", "1 s"} {
		f.Add(text, int64(i)*17*86_400*100, int64(i)*3*86_400, uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, from, length int64, zone uint8) {
		step, err := parseStep(text)
		want, ok := naiveStep(text)
		if (err == nil) != ok || step != want {
			t.Fatalf("%q: %+v, %v; want %+v", text, step, err, want)
		}
		if err != nil {
			return
		}
		location, err := time.LoadLocation(fuzzMoments[int(zone)%(len(fuzzMoments)-1)].zone)
		if err != nil {
			t.Fatal(err)
		}
		const century = 100 * 365 * 86_400
		from, length = (from%century+century)%century, (length%century+century)%century
		year, month, day := time.Unix(from, 0).In(location).Date()
		start := minute.StartOfDay(year, month, day, location)
		end := start.Add(time.Duration(length) * time.Second)
		windows, err := step.windows(start, end)
		if err != nil {
			if !errors.Is(err, errSteps) || step.days > 0 && length/int64(86_400*step.days) < maxSteps-1 || step.months > 0 && length/int64(31*86_400*step.months) > maxSteps {
				t.Errorf("%v from %v to %v: %v", step, start, end, err)
			}
			return
		}
		whole := minute.NewWindow(start, end)
		at := whole.Start
		for i, w := range windows {
			if w.Start != at || w.End <= w.Start {
				t.Fatalf("window %d is %+v after %d", i, w, at)
			}
			at = w.End
			if most := int64(step.days)*1500 + int64(step.months)*31*1500; w.End-w.Start > most {
				t.Errorf("window %d of %+v has %d minutes", i, step, w.End-w.Start)
			}
		}
		if at != max(whole.Start, whole.End) || len(windows) > maxSteps {
			t.Errorf("%d windows end at %d, want %d", len(windows), at, whole.End)
		}
	})
}

// Page tokens are those of their list alone, and what is behind them comes back.
func FuzzPageToken(f *testing.F) {
	question := &insightsv1.GetUserActivityRequest{StartTime: "2023-08-07T00:00:00Z"}
	p, err := openPage(question, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range append([]string{p.token(position{-1, "x"}), p.token(position{}), p.token(position{math.MinInt64, "\x00\u00e4"})}, evil["page_token"]...) {
		f.Add(text, int32(10), "ann")
	}
	f.Fuzz(func(t *testing.T, text string, size int32, search string) {
		asked := proto.CloneOf(question)
		asked.PageToken, asked.PageSize = text, size
		p, err := openPage(asked, 50)
		if err != nil {
			for _, fault := range faults(t, err) {
				if !strings.HasPrefix(fault, "page_token: ") && !strings.HasPrefix(fault, "page_size: ") {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if p.size < 1 || p.size > maxPage || (p.after == nil) != (text == "") {
			t.Fatalf("page %+v", p)
		}
		if p.after == nil {
			return
		}
		// The same position in the next page's token, and in no other list's.
		asked.PageToken = p.token(*p.after)
		if again, err := openPage(asked, 50); err != nil || *again.after != *p.after {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
		other := proto.CloneOf(asked)
		other.Search = search
		if _, err := openPage(other, 50); (err == nil) != (search == "") && utf8.ValidString(search) {
			t.Errorf("the token in a list of %q: %v", search, err)
		}
		list := []position{{math.MinInt64, ""}, *p.after, {p.after.Rank, p.after.ID + "a"}, {math.MaxInt64, "\U0010ffff"}}
		items, _, err := paginate(list, asked, 50, func(x position) position { return x })
		if err != nil || slices.ContainsFunc(items, func(x position) bool { return x.compare(*p.after) <= 0 }) {
			t.Errorf("after %+v come %+v, %v", *p.after, items, err)
		}
	})
}

// A call has one credential in one header, in the form of a token; everything else is nobody.
func FuzzCredential(f *testing.F) {
	token := access.NewToken().Reveal()
	f.Add("Bearer "+token, "", "")
	f.Add("", token, "")
	f.Add("", "", token)
	f.Add("Bearer "+token, token, "")
	f.Add("", token, token)
	f.Add("bearer  "+token, "", "")
	f.Add("Basic "+token, "", token)
	f.Add("Bearer a.b.c", "", "")
	f.Fuzz(func(t *testing.T, authorization, coder, session string) {
		md := metadata.MD{}
		shown := 0
		for header, value := range map[string]string{"authorization": authorization, "coder-session-token": coder, "session-token": session} {
			if value != "" {
				md.Append(header, value)
				shown++
			}
		}
		for _, issuer := range []*tokenVerifier{nil, {}} {
			c, err := (&authenticator{issuer: issuer}).credentialOf(metadata.NewIncomingContext(t.Context(), md))
			if err != nil {
				if !errors.Is(err, store.ErrUnauthenticated) && !errors.Is(err, access.ErrMalformedToken) {
					t.Errorf("%v: %v", md, err)
				}
				continue
			}
			text := coder + session
			if authorization != "" {
				text = authorization[min(7, len(authorization)):]
				if !strings.EqualFold(authorization[:len(authorization)-len(text)], "Bearer ") {
					t.Errorf("%q is taken", authorization)
				}
			}
			own, err := access.ParseToken(text)
			asJWT := issuer != nil && strings.Count(text, ".") == 2 && len(text) <= maxJWT
			if shown != 1 || asJWT != (string(c.jwt) == text && text != "") || !asJWT && (err != nil || c.token.Reveal() != own.Reveal()) {
				t.Errorf("%v is taken as %v", md, c)
			}
		}
	})
}

// newFuzzIssuer is an issuer with a key that signs quickly, and a verifier of its tokens.
func newFuzzIssuer(f *testing.F) (*tokenVerifier, jose.JSONWebKey, map[string]any) {
	f.Helper()
	i := newIssuer(f)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "one", Algorithm: "ES256", Use: "sig"}
	i.keys = []jose.JSONWebKey{key}
	v := newTokenVerifier(OIDC{Issuer: i.URL, Audience: "insights"}, func() time.Time { return storetest.Now })
	now := storetest.Now.Unix()
	return v, key, map[string]any{"iss": i.URL, "aud": "insights", "sub": fuzzAgent, "iat": now - 60, "exp": now + 60}
}

// Nobody makes a token that counts without the issuer's key.
func FuzzForgedJWT(f *testing.F) {
	v, key, claims := newFuzzIssuer(f)
	good := sign(f, jose.ES256, key, claims)
	if user, _, err := v.verify(f.Context(), good); err != nil || user.String() != fuzzAgent {
		f.Fatal(user, err)
	}
	parts := strings.Split(good, ".")
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"one"}`, `{"alg":"ES256"}`, `{"alg":"ES256","kid":"one","crit":["exp"]}`, `{"alg":"ES256","kid":"` + strings.Repeat("k", 5000) + `"}`, `{}`, `null`, `{"alg":["ES256"]}`} {
		f.Add([]byte(header), []byte(`{"sub":"`+fuzzAgent+`"}`), parts[2])
		f.Add([]byte(header), []byte(`{"exp":1e400}`), "")
	}
	f.Fuzz(func(t *testing.T, header, payload []byte, signature string) {
		text := encodePart(header) + "." + encodePart(payload) + "." + signature
		if text == good || !isJWT(text) {
			return
		}
		if user, _, err := v.verify(t.Context(), text); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", text, user, err)
		}
		if user, _, err := v.verify(t.Context(), string(header)); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", header, user, err)
		}
	})
}

// Of the claims that the issuer signs, only the right ones let a user in.
func FuzzClaims(f *testing.F) {
	v, key, good := newFuzzIssuer(f)
	now := storetest.Now.Unix()
	for name, value := range map[string]any{
		"": nil, "iss": "x", "aud": []string{"a", "insights"}, "exp": now - 31, "nbf": now + 31, "sub": []string{fuzzAgent}, "email_verified": "true", "iat": "x", "EXP": now - 100, "Sub": "x",
	} {
		claims := maps.Clone(good)
		claims[name] = value
		text, err := json.Marshal(claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"aud":"insights","exp":1e300,"sub":"` + fuzzAgent + `"}`)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "ISS", good["iss"].(string))
		token := signText(t, jose.ES256, key, []byte(text))
		if !isJWT(token) {
			return
		}
		user, _, err := v.verify(t.Context(), token)
		if err != nil {
			if !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
				t.Errorf("%s: %v, %v", text, user, err)
			}
			return
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		audiences, _ := claims["aud"].([]any)
		expiry, _ := claims["exp"].(float64)
		if claims["iss"] != good["iss"] || claims["aud"] != "insights" && !slices.Contains(audiences, any("insights")) || expiry < float64(now)-jwtLeeway.Seconds() ||
			claims["sub"] != user.String() && !strings.EqualFold(claims["sub"].(string), user.String()) {
			t.Errorf("%s lets %v in", text, user)
		}
	})
}

// encodePart is a part of a token.
func encodePart(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// What is left of Markdown is what a browser shows of it, letter by letter.
func FuzzPlainText(f *testing.F) {
	for _, markdown := range []string{
		"", "**Bold**, _slanted_ and `a_b`.", "# Size\n\nOf the *disk*", "[a](b \"c\")", "![a *b*](c)", "<b>x</b>", "<script>a</script>\n\nb", "&lt;&#0;&amp;", "\\*a\\*", "[a]: b\n[a]",
		"```go\na\n```", "    code\n", "- a\n- b", "a  \nb\\\nc", "<https://a.b>", "1. a\n\n   b", "> a\n> b", "a\n===", "***", "`` a`b ``",
	} {
		f.Add(markdown)
	}
	f.Fuzz(func(t *testing.T, markdown string) {
		if !utf8.ValidString(markdown) || len(markdown) > maxProseBytes || strings.Contains(markdown, "\x00") {
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

// The address of a client is the last one that no trusted proxy vouches for, and it can travel to the server.
func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:5", "203.0.113.9, 10.2.2.2")
	f.Add("[::1]:5", "::ffff:10.1.1.1,fe80::1%eth0")
	f.Add("[::ffff:10.0.0.1]:5", "fe80::1%\u00e4, 10.0.0.2")
	f.Add("10.0.0.1:5", "10.0.0.2,10.0.0.3")
	f.Add("@", "10.0.0.2")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": strings.Split(forwarded, ";")}}
		got := clientAddress(r, trusted)
		direct, err := netip.ParseAddrPort(remote)
		if err != nil {
			if got != remote {
				t.Errorf("%q became %q", remote, got)
			}
			return
		}
		// The list with the direct address at its end, walked from there while all are trusted.
		chain := append(strings.Split(strings.Join(strings.Split(forwarded, ";"), ","), ","), direct.Addr().String())
		want := ""
		for i := len(chain) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
			if err != nil || i < len(chain)-1 && hop.Zone() != "" {
				break // what the last proxy said is not an address
			}
			hop = hop.Unmap()
			want = hop.String()
			if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(hop) }) {
				break
			}
		}
		if got != want {
			t.Errorf("%q, forwarded for %q, became %q, want %q", remote, forwarded, got, want)
		}
	})
}

// Whatever the headers of a REST call are: the server sees what it reads and nothing else, and the call is not lost.
func FuzzHeader(f *testing.F) {
	for _, header := range [][2]string{
		{"Coder-Session-Token", "x"},
		{"Session-Token", "\u00e4"},
		{"Authorization", "Bearer x"},
		{"Authorization", "\xff"},
		{"Grpc-Metadata-Authorization", "x"},
		{"Grpc-Timeout", "1n"},
		{"Grpc-Metadata-Insights-Caller-Address", "1.2.3.4"},
		{"Insights-Caller-Address", "1.2.3.4"},
		{"X-Forwarded-For", "fe80::1%\u00e4"},
		{"X-Forwarded-For", "\x01"},
		{"X-Forwarded-Host", "\u00e4"},
		{"X-Request-Id", "\x7f"},
		{"Traceparent", "00-0-0-01"},
		{"Traceparent-Bin", "!"},
		{"Host", "a b"},
		{"X-Http-Method-Override", "POST"},
		{"Content-Encoding", "gzip"},
		{"te", "x"},
		{":authority", "x"},
	} {
		f.Add(header[0], header[1])
	}
	g, err := newGateway(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	var seen atomic.Pointer[metadata.MD]
	probe := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		seen.Store(&md)
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	served := make(chan error, 1)
	go func() { served <- probe.Serve(g.listener) }()
	f.Cleanup(func() {
		probe.Stop()
		if err := errors.Join(<-served, g.close()); err != nil {
			f.Error(err)
		}
	})
	allowed := []string{"authorization", "coder-session-token", "session-token", "traceparent", "x-request-id", "x-forwarded-for", "x-forwarded-host", callerAddressKey, ":authority", "content-type", "user-agent", "grpc-accept-encoding"}
	f.Fuzz(func(t *testing.T, name, value string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v2/access/me", nil)
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		answer := httptest.NewRecorder()
		seen.Store(nil)
		g.ServeHTTP(answer, r)
		canonical := strings.ToLower(http.CanonicalHeaderKey(name))
		printable := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) < 0
		if answer.Code == http.StatusUnsupportedMediaType && canonical == "content-encoding" || answer.Code == http.StatusUnauthorized && slices.Contains(credentialHeaders, canonical) && !printable {
			return
		}
		md := seen.Load()
		if answer.Code != http.StatusOK || md == nil {
			t.Fatalf("%s: %q: %d %s", name, value, answer.Code, answer.Body)
		}
		for key, values := range *md {
			if !slices.Contains(allowed, key) || len(values) != 1 {
				t.Errorf("%s: %q: the server sees %s: %q", name, value, key, values)
			}
		}
		if _, forwarded := r.Header["X-Forwarded-For"]; !forwarded && !slices.Equal(md.Get(callerAddressKey), []string{"192.0.2.1"}) {
			t.Errorf("%s: %q: the caller's address is %q", name, value, md.Get(callerAddressKey))
		}
	})
}
