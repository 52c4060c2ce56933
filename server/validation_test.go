package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

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

// validations are requests with the status and the words that they get.
type validations struct {
	Clock struct{ Now time.Time }
	Cases []validationCase
}

type validationCase struct {
	Name     string
	Endpoint string
	Params   map[string]string
	Expected struct {
		Status      int
		Message     string
		Detail      string
		Validations []struct {
			Field    string
			Detail   string
			Contains string `json:"detail_contains"`
		}
	}
}

// validatedQuestions are the questions of the cases by their REST paths.
var validatedQuestions = map[string]struct {
	request proto.Message
	method  string
}{
	"/api/v2/insights/templates": {
		&insightsv1.GetTemplateInsightsRequest{}, insightsv1.InsightsService_GetTemplateInsights_FullMethodName,
	},
	"/api/v2/insights/user-activity": {
		&insightsv1.GetUserActivityRequest{}, insightsv1.InsightsService_GetUserActivity_FullMethodName,
	},
	"/api/v2/insights/user-latency": {&insightsv1.GetUserLatencyRequest{}, insightsv1.InsightsService_GetUserLatency_FullMethodName},
	"/api/v2/insights/daus": {
		&insightsv1.GetDeploymentDAUsRequest{}, insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName,
	},
	"/api/v2/insights/user-status-counts": {
		&insightsv1.GetUserStatusCountsRequest{}, insightsv1.InsightsService_GetUserStatusCounts_FullMethodName,
	},
}

func TestValidation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/contract/validation.json")
	if err != nil {
		t.Fatal(err)
	}
	var all validations
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	r := run(t, storetest.SQLite(t), all.Clock.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for _, c := range all.Cases {
		t.Run(fmt.Sprintf("REST %s %s", c.Endpoint, c.Name), func(t *testing.T) { c.checkREST(t, r, owner) })
		if req := c.request(); req != nil {
			t.Run(fmt.Sprintf("gRPC %s %s", c.Endpoint, c.Name), func(t *testing.T) { c.checkGRPC(t, r, owner, req) })
		}
	}
}

func (c validationCase) checkREST(t *testing.T, r *running, owner string) {
	params := url.Values{}
	for name, value := range c.Params {
		params.Set(name, value)
	}
	status, body := r.Get(t, owner, c.Endpoint, params)
	if status != c.Expected.Status {
		t.Fatalf("status %d, want %d: %v", status, c.Expected.Status, body)
	}
	if status == 200 {
		return
	}
	if body["message"] != c.Expected.Message {
		t.Errorf("message %q, want %q", body["message"], c.Expected.Message)
	}
	if detail, _ := body["detail"].(string); c.Expected.Detail != "" && detail != c.Expected.Detail {
		t.Errorf("detail %q, want %q", detail, c.Expected.Detail)
	}
	var got []string
	list, _ := body["validations"].([]any)
	for _, v := range list {
		v, _ := v.(map[string]any)
		got = append(got, fmt.Sprintf("%s: %s", v["field"], v["detail"]))
	}
	c.checkFaults(t, got)
}

func (c validationCase) checkGRPC(t *testing.T, r *running, owner string, req proto.Message) {
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), owner), time.Minute)
	defer cancel()
	err := r.Conn.Invoke(ctx, validatedQuestions[c.Endpoint].method, req, &emptypb.Empty{}) // only the error matters
	if c.Expected.Status == 200 {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != c.Expected.Message ||
		c.Expected.Detail != "" && wiretest.DetailOf(err) != c.Expected.Detail {
		t.Errorf("got %v %q, want InvalidArgument: %s %s", err, wiretest.DetailOf(err), c.Expected.Message, c.Expected.Detail)
	}
	c.checkFaults(t, wiretest.Faults(t, err))
}

// checkFaults looks for the faults that have to be told; more may be.
func (c validationCase) checkFaults(t *testing.T, got []string) {
	t.Helper()
	if len(got) < len(c.Expected.Validations) {
		t.Fatalf("got faults %v, want %v", got, c.Expected.Validations)
	}
	for i, want := range c.Expected.Validations {
		field, detail, _ := strings.Cut(got[i], ": ")
		if field != want.Field || want.Detail != "" && detail != want.Detail || !strings.Contains(detail, want.Contains) {
			t.Errorf("got %q, want %+v", got[i], want)
		}
	}
}

// request is the case as a message, or nil if it has a parameter that no message can have.
func (c validationCase) request() proto.Message {
	req := validatedQuestions[c.Endpoint].request.ProtoReflect().New()
	for name, value := range c.Params {
		field := req.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case field == nil:
			return nil
		case field.Kind() == protoreflect.Int32Kind:
			number, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return nil // only text can be wrong in this way
			}
			req.Set(field, protoreflect.ValueOfInt32(int32(number)))
		case !field.IsList():
			req.Set(field, protoreflect.ValueOfString(value))
		case value != "":
			for _, v := range strings.Split(value, ",") {
				req.Mutable(field).List().Append(protoreflect.ValueOfString(v))
			}
		}
	}
	return req.Interface()
}
