package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

func TestEvilRequests(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	asked, read := 0, map[string]bool{}
	for _, q := range questions(t, f.Templates[0]) {
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
			if q.method == insightsv1.InsightsService_GetUserStatusCounts_FullMethodName && field.Name() == "interval" {
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

func (q question) checkGood(t *testing.T, r *running, owner string) {
	t.Helper()
	if code, body := q.get(t, r, owner, q.query()); code != 200 {
		t.Errorf("%s in the end: %d %s", q.path, code, body)
	}
}

func (q question) evilREST(t *testing.T, r *running, owner, field, value string) {
	t.Helper()
	params := q.params()
	params.Set(field, value)
	q.checkREST(t, r, owner, params.Encode(), field)
}

// checkREST wants an error that names the field and says little else.
func (q question) checkREST(t *testing.T, r *running, owner, query, field string) {
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

func (q question) get(t *testing.T, r *running, owner, query string) (int, string) {
	t.Helper()
	status, _, text := r.Fetch(t, http.Header{"Coder-Session-Token": {owner}}, q.path+"?"+query)
	return status, string(text)
}

func (q question) evilGRPC(t *testing.T, r *running, owner string, field protoreflect.FieldDescriptor, value string) {
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

// The body of a POST is as strict as the parameters of a GET: whatever stands in a field, the error names it.
func TestEvilBodies(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	asked := new(servertest.World).Request(t, "QueryUsage", nil)
	fields := asked.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name := string(field.Name())
		for _, value := range slices.Concat(wiretest.Evil[field.Name()], hostileTexts) {
			var told any = value
			if field.IsList() {
				told = []string{value}
			}
			status, text := r.postField(t, owner, asked, name, told)
			evil := slices.Contains(wiretest.Evil[field.Name()], value) && field.Kind() != protoreflect.Int32Kind // "1e3" is a number
			if status != http.StatusBadRequest && status != http.StatusNotFound && status != http.StatusOK || evil && status != 400 {
				t.Errorf("%s of %.60q: %d %.300s", name, value, status, text)
			}
			if status == http.StatusBadRequest && !strings.Contains(text, fmt.Sprintf("%q:%q", "field", name)) {
				t.Errorf("%s of %.60q: does not name the field: %.300s", name, value, text)
			}
			checkWords(t, name, text)
		}
		for _, wrong := range []any{true, 1.5, -1, 1e300, map[string]any{"a": 1}, []any{[]any{"a"}}, []any{1}, []any{nil}} {
			if status, text := r.postField(t, owner, asked, name, wrong); status != http.StatusBadRequest {
				t.Errorf("%s of %v: %d %.300s", name, wrong, status, text)
			}
		}
		if status, text := r.postField(t, owner, asked, name, nil); status >= http.StatusInternalServerError { // as if it were not there
			t.Errorf("%s of null: %d %.300s", name, status, text)
		}
	}
	for _, body := range []string{
		"", "{", "[]", "null", `"a"`, "1", "{}{}", `{"metrics":["active_users"]} x`, `{"metric":[]}`, "\xff", "{\"a\":\x00}",
	} {
		if status, text := r.postBody(t, owner, []byte(body)); status != http.StatusBadRequest {
			t.Errorf("the body %q: %d %.300s", body, status, text)
		}
	}
}

// postField asks the general question with another value of a field.
func (r *running) postField(t *testing.T, token string, asked proto.Message, field string, value any) (int, string) {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]any{}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	body[field] = value
	if text, err = json.Marshal(body); err != nil {
		t.Fatal(err)
	}
	return r.postBody(t, token, text)
}

func (r *running) postBody(t *testing.T, token string, body []byte) (int, string) {
	t.Helper()
	target := "http://" + r.HTTPAddress() + "/api/v2/insights/query"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Coder-Session-Token", token)
	req.Header.Set("Content-Type", "application/json")
	status, _, text := servertest.Exchange(t, req)
	return status, string(text)
}
