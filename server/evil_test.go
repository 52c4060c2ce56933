package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// evilQuestion is a question that has an answer until one of its fields is replaced.
type evilQuestion struct {
	path    string
	method  string
	request proto.Message
}

func evilQuestions(template string) []evilQuestion {
	const start, end = "2023-08-01T00:00:00Z", "2023-08-15T00:00:00Z"
	return []evilQuestion{
		{
			"/api/v2/insights/templates", insightsv1.InsightsService_GetTemplateInsights_FullMethodName,
			&insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Interval: "day"},
		},
		{
			"/api/v2/insights/user-activity", insightsv1.InsightsService_GetUserActivity_FullMethodName,
			&insightsv1.GetUserActivityRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/user-latency", insightsv1.InsightsService_GetUserLatency_FullMethodName,
			&insightsv1.GetUserLatencyRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/diagnosis", insightsv1.InsightsService_GetDiagnosis_FullMethodName,
			&insightsv1.GetDiagnosisRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/reports/capacity", insightsv1.InsightsService_GetCapacityReport_FullMethodName,
			&insightsv1.GetCapacityReportRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/reports/optimization", insightsv1.InsightsService_GetOptimizationReport_FullMethodName,
			&insightsv1.GetOptimizationReportRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/reports/support", insightsv1.InsightsService_GetSupportReport_FullMethodName,
			&insightsv1.GetSupportReportRequest{StartTime: start, EndTime: end},
		},
		{
			"/api/v2/insights/reports/roi", insightsv1.InsightsService_GetROIReport_FullMethodName,
			&insightsv1.GetROIReportRequest{StartTime: start, EndTime: end},
		},
		{"/api/v2/insights/daus", insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, &insightsv1.GetDeploymentDAUsRequest{}},
		{
			"/api/v2/templates/" + template + "/daus", insightsv1.InsightsService_GetTemplateDAUs_FullMethodName,
			&insightsv1.GetTemplateDAUsRequest{TemplateId: template},
		},
		{
			"/api/v2/insights/user-status-counts", insightsv1.InsightsService_GetUserStatusCounts_FullMethodName,
			&insightsv1.GetUserStatusCountsRequest{},
		},
		{
			activityPath, insightsv1.InsightsService_GetActivity_FullMethodName,
			&insightsv1.GetActivityRequest{Start: start, End: end, Interval: "1 week"},
		},
		{"/api/v2/templates", insightsv1.InsightsService_ListTemplates_FullMethodName, &insightsv1.ListTemplatesRequest{}},
		{"/api/v2/organizations", insightsv1.InsightsService_ListOrganizations_FullMethodName, &insightsv1.ListOrganizationsRequest{}},
	}
}

func TestEvilRequests(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	asked, read := 0, map[string]bool{}
	for _, q := range evilQuestions(f.Templates[0].String()) {
		fields := q.request.ProtoReflect().Descriptor().Fields()
		shape := ""
		for i := range fields.Len() {
			shape += " " + string(fields.Get(i).Name())
		}
		if read[shape] {
			continue // requests with the same fields are read by the same code
		}
		read[shape] = true
		for i := range fields.Len() {
			field := fields.Get(i)
			values, known := wiretest.Evil[field.Name()]
			if !known {
				t.Fatalf("no evil values for %s", field.FullName())
			}
			if q.path == "/api/v2/insights/user-status-counts" && field.Name() == "interval" {
				continue // accepted and ignored, whatever it is
			}
			for _, value := range values {
				asked++
				q.evilREST(t, r, owner, string(field.Name()), value)
				q.evilGRPC(t, r, owner, field, value)
			}
		}
		for _, query := range []string{
			"foo=1", "=1", "FOO", "start_time%00=1", "template_ids[]=1", strings.Repeat("k", 300) + "=1", "%ff=1",
		} {
			q.checkREST(t, r, owner, q.query()+"&"+query, "")
		}
		for name := range q.params() {
			q.checkREST(t, r, owner, q.query()+"&"+name+"=again", name)
		}
		q.checkGood(t, r, owner)
	}
	if asked < 500 {
		t.Errorf("asked %d times only", asked)
	}
}

// params are the parameters of the question as it has an answer.
func (q evilQuestion) params() url.Values {
	params := url.Values{}
	q.request.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() != "template_id" { // part of the path
			params.Set(string(f.Name()), v.String())
		}
		return true
	})
	return params
}

func (q evilQuestion) query() string { return q.params().Encode() }

func (q evilQuestion) checkGood(t *testing.T, r *running, owner string) {
	t.Helper()
	if code, body := q.get(t, r, owner, q.query()); code != 200 {
		t.Errorf("%s in the end: %d %s", q.path, code, body)
	}
}

func (q evilQuestion) evilREST(t *testing.T, r *running, owner, field, value string) {
	t.Helper()
	params := q.params()
	params.Set(field, value)
	q.checkREST(t, r, owner, params.Encode(), field)
}

// checkREST wants an error that names the field and says little else.
func (q evilQuestion) checkREST(t *testing.T, r *running, owner, query, field string) {
	t.Helper()
	code, text := q.get(t, r, owner, query)
	var body struct {
		Message     string
		Detail      string
		Validations []struct{ Field, Detail string }
	}
	if code != 400 || json.Unmarshal([]byte(text), &body) != nil || body.Message == "" {
		t.Errorf("%s?%.200s: %d %.300s", q.path, query, code, text)
		return
	}
	named := field == "" && len(body.Validations) > 0
	for _, v := range body.Validations {
		named = named || v.Field == field
	}
	if !named && body.Detail != "Last report interval should have at least 6 days." {
		t.Errorf("%s?%.200s: does not name %s: %.300s", q.path, query, field, text)
	}
	checkWords(t, q.path+"?"+query[:min(200, len(query))], text)
}

// checkWords wants a short answer without the insides of the server.
func checkWords(t *testing.T, question, text string) {
	t.Helper()
	if len(text) > 2000 || !utf8.ValidString(text) {
		t.Errorf("%s: an answer of %d bytes", question, len(text))
	}
	for _, word := range []string{"goroutine", ".go:", "SQL", "sqlite", "pgx", "zoneinfo", "/usr/"} {
		if strings.Contains(text, word) {
			t.Errorf("%s: says %q: %.300s", question, word, text)
		}
	}
}

func (q evilQuestion) get(t *testing.T, r *running, owner, query string) (int, string) {
	t.Helper()
	status, _, text := r.Fetch(t, http.Header{"Coder-Session-Token": {owner}}, q.path+"?"+query)
	return status, string(text)
}

func (q evilQuestion) evilGRPC(t *testing.T, r *running, owner string, field protoreflect.FieldDescriptor, value string) {
	t.Helper()
	request := proto.Clone(q.request).ProtoReflect()
	switch {
	case field.Kind() == protoreflect.Int32Kind:
		number, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return // only text can be wrong in this way
		}
		request.Set(field, protoreflect.ValueOfInt32(int32(number)))
	case !utf8.ValidString(value):
		return // no client can encode it
	case field.IsList():
		request.Mutable(field).List().Append(protoreflect.ValueOfString(value))
	default:
		request.Set(field, protoreflect.ValueOfString(value))
	}
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), owner), time.Minute)
	defer cancel()
	err := r.Conn.Invoke(ctx, q.method, request.Interface(), &emptypb.Empty{}) // only the error matters
	question := fmt.Sprintf("%s %s %.200q", q.method, field.Name(), value)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%s: %v", question, err)
		return
	}
	if !slices.ContainsFunc(wiretest.Faults(t, err), func(f string) bool { return strings.HasPrefix(f, string(field.Name())+": ") }) &&
		wiretest.DetailOf(err) != "Last report interval should have at least 6 days." {
		t.Errorf("%s: does not name the field: %.300v", question, err)
	}
	checkWords(t, question, fmt.Sprint(err, wiretest.Faults(t, err)))
}
