package server

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
		{"/api/v2/insights/templates", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, &insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Interval: "day"}},
		{"/api/v2/insights/user-activity", insightsv1.InsightsService_GetUserActivity_FullMethodName, &insightsv1.GetUserActivityRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/user-latency", insightsv1.InsightsService_GetUserLatency_FullMethodName, &insightsv1.GetUserLatencyRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/diagnosis", insightsv1.InsightsService_GetDiagnosis_FullMethodName, &insightsv1.GetDiagnosisRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/reports/capacity", insightsv1.InsightsService_GetCapacityReport_FullMethodName, &insightsv1.GetCapacityReportRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/reports/optimization", insightsv1.InsightsService_GetOptimizationReport_FullMethodName, &insightsv1.GetOptimizationReportRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/reports/support", insightsv1.InsightsService_GetSupportReport_FullMethodName, &insightsv1.GetSupportReportRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/reports/roi", insightsv1.InsightsService_GetROIReport_FullMethodName, &insightsv1.GetROIReportRequest{StartTime: start, EndTime: end}},
		{"/api/v2/insights/daus", insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, &insightsv1.GetDeploymentDAUsRequest{}},
		{"/api/v2/templates/" + template + "/daus", insightsv1.InsightsService_GetTemplateDAUs_FullMethodName, &insightsv1.GetTemplateDAUsRequest{TemplateId: template}},
		{"/api/v2/insights/user-status-counts", insightsv1.InsightsService_GetUserStatusCounts_FullMethodName, &insightsv1.GetUserStatusCountsRequest{}},
		{activityPath, insightsv1.InsightsService_GetActivity_FullMethodName, &insightsv1.GetActivityRequest{Start: start, End: end, Interval: "1 week"}},
		{"/api/v2/templates", insightsv1.InsightsService_ListTemplates_FullMethodName, &insightsv1.ListTemplatesRequest{}},
		{"/api/v2/organizations", insightsv1.InsightsService_ListOrganizations_FullMethodName, &insightsv1.ListOrganizationsRequest{}},
	}
}

var (
	evilTexts = []string{
		"x", "\x00", "a\x00b", "\u202eevil", "\xff\xfe", "'; DROP TABLE usage_open; --", "../../etc/passwd", "%s%n", "${jndi:x}", "<script>", "null", "[]", "-1",
		strings.Repeat("a", 4000), strings.Repeat("\u00e4", 2000),
	}
	evilTimes = append([]string{
		"2023-08-15", "2023-08-15T00:00:00", "2023-08-15T24:00:00Z", "2023-08-15T00:00:60Z", "2023-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z",
		"10000-01-01T00:00:00Z", "9999-12-31T00:00:00.5Z", "2023-08-15t00:00:00z", "2023-08-15T00:00:00+13:07", "2023-08-15T00:00:00+25:00",
		"2023-08-15T00:00:00-99:99", "2023-08-15T00:00:00+15:00", "2023-08-15T00:00:00-12:15", "2023-08-15 00:00:00Z", "1692057600", "2023-08-15T00:00:00Z ",
	}, evilTexts...)
	evilZones = append([]string{"Local", "local", "/etc/passwd", "../UTC", "UTC\x00", "Europe/Berlin\n", "posixrules", "Europe", "europe/berlin", "+02:00", "Mars/Olympus"}, evilTexts...)
	evilIDs   = append([]string{"00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-00000000000g"}, evilTexts...)
)

// evil are the bad values of each field; what is missing here fails the test.
var evil = map[protoreflect.Name][]string{
	"start_time": evilTimes, "end_time": evilTimes, "start": slices.DeleteFunc(slices.Clone(evilTimes), func(s string) bool { return strings.HasPrefix(s, "9999") }),
	"end":      slices.DeleteFunc(slices.Clone(evilTimes), func(s string) bool { return strings.HasPrefix(s, "9999") }), // may be in the future
	"timezone": evilZones, "template_ids": evilIDs, "template_id": nil, "org": evilIDs, "organization_id": evilIDs,
	"interval": append([]string{"month ", "DAY", "0 day", "1 hour", "99999999999 weeks", "1 day 1 day"}, evilTexts...),
	"sections": append([]string{"reports", "report,intervals"}, evilTexts...), "sort": append([]string{"SECONDS", "-seconds"}, evilTexts...),
	"category": append([]string{"ides", "any,ide"}, evilTexts...), "page_token": append([]string{"AAAA", "e30", "eyJBZnRlciI6bnVsbH0"}, evilTexts...),
	"search":    {"\x00", "a\x00b", "\n", "\xff\xfe", strings.Repeat("a", 129), strings.Repeat("a", 4000)},
	"page_size": {"-1", "1001", "-2147483648", "2147483647", "2147483648", "99999999999999999999", "1e3", "0x10", "1.5", " 1", "x", "\u0663"},
	"tz_offset": {"-13", "15", "-2147483648", "2147483647", "2147483648", "99999999999999999999", "5.5", "1e0", "x", "+", "\x00"},
}

func TestEvilRequests(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner := r.token(t, access.RoleOwner, everywhere)
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
			values, known := evil[field.Name()]
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
		for _, query := range []string{"foo=1", "=1", "FOO", "start_time%00=1", "template_ids[]=1", strings.Repeat("k", 300) + "=1", "%ff=1"} {
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
	status, _, text := r.fetch(t, http.Header{"Coder-Session-Token": {owner}}, q.path+"?"+query)
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
	ctx, cancel := context.WithTimeout(as(t.Context(), owner), time.Minute)
	defer cancel()
	err := r.conn.Invoke(ctx, q.method, request.Interface(), &emptypb.Empty{}) // only the error matters
	question := fmt.Sprintf("%s %s %.200q", q.method, field.Name(), value)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%s: %v", question, err)
		return
	}
	if !slices.ContainsFunc(faults(t, err), func(f string) bool { return strings.HasPrefix(f, string(field.Name())+": ") }) && detailOf(err) != "Last report interval should have at least 6 days." {
		t.Errorf("%s: does not name the field: %.300v", question, err)
	}
	checkWords(t, question, fmt.Sprint(err, faults(t, err)))
}
