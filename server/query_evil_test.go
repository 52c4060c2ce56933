package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Whatever stands in the lists of the general question, which TestEvilRequests and TestEvilBodies fill with one thing at a time: over both
// transports there is an answer or an error that names the list.
func TestEvilLists(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	asked := new(servertest.World).Request(t, "QueryUsage", nil).(*insightsv1.QueryUsageRequest)
	asked = &insightsv1.QueryUsageRequest{StartTime: asked.GetStartTime(), EndTime: asked.GetEndTime(), Metrics: []string{"active_users"}}
	client := insightsv1.NewInsightsServiceClient(r.Conn)
	refused := 0
	check := func(field string, list []string, must bool) {
		t.Helper()
		question := fmt.Sprintf("%s of %.60q", field, list)
		code, text := r.postField(t, owner, asked, field, list)
		if code != http.StatusOK && (code != http.StatusBadRequest || !strings.Contains(text, fmt.Sprintf("%q:%q", "field", field))) ||
			must && code == http.StatusOK {
			t.Errorf("%s: %d %.300s", question, code, text)
		}
		checkWords(t, question, text)
		if !utf8.ValidString(strings.Join(list, "")) {
			return // no client can encode it
		}
		req := proto.CloneOf(asked)
		switch field {
		case "metrics":
			req.Metrics = list
		case "dimensions":
			req.Dimensions = list
		case "filters":
			req.Filters = list
		case "template_ids":
			req.TemplateIds = list
		case "actor":
			req.Actor = list
		}
		_, err := client.QueryUsage(servertest.As(t.Context(), owner), req)
		named := slices.ContainsFunc(wiretest.Faults(t, err), func(f string) bool { return strings.HasPrefix(f, field+": ") })
		switch status.Code(err) {
		case codes.InvalidArgument:
			refused++
			if !named {
				t.Errorf("%s: does not name the field: %.300v", question, err)
			}
		case codes.OK:
			if code != http.StatusOK || must {
				t.Errorf("%s: answered over gRPC, %d over REST", question, code)
			}
		default:
			t.Errorf("%s: %.300v", question, err)
		}
	}
	evil := slices.Concat(hostileTexts, wiretest.Evil["filters"])
	for _, dimension := range allDimensions[2:] {
		known := slices.Contains([]string{
			"template", "organization", "group", "user", "workspace", "template_version", "actor", "purpose",
		}, dimension)
		for _, value := range evil {
			for _, equals := range []string{"=", "!="} {
				check("filters", []string{dimension + equals + value}, known && value != "00000000-0000-0000-0000-000000000000")
			}
		}
		check("filters", []string{dimension + "=a", dimension + "!=b"}, true)
		check("filters", []string{dimension + "=a", dimension + "=a"}, true)
	}
	for _, name := range evil {
		check("dimensions", []string{"parameter:" + name}, false)
		check("filters", []string{"parameter:" + name + "=x"}, false)
	}
	for field, most := range map[string]int{"metrics": 8, "dimensions": 2, "filters": 50, "template_ids": 1 << 20, "actor": 1 << 20} {
		for _, text := range []string{"", "x", strings.Repeat("a", 1000)} {
			for _, n := range []int{most + 1, 2000} {
				if n > 2000 {
					continue // larger than a request may be
				}
				check(field, slices.Repeat([]string{text}, n), true)
			}
		}
	}
	check("metrics", []string{"active_users", "active_users"}, true)
	check("dimensions", []string{"user", "user"}, true)
	if refused < 500 {
		t.Errorf("%d were refused", refused)
	}
}
