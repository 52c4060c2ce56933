package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// arrival is what a call through the gateway looks like to the server.
type arrival struct {
	metadata metadata.MD
	deadline bool
}

// probe is a gateway in front of a server that notes what arrives.
func probe(t *testing.T) (address string, arrivals chan arrival) {
	t.Helper()
	g, err := rest.New(rest.Options{
		Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Requests: guard.NewRequests(),
	})
	if err != nil {
		t.Fatal(err)
	}
	arrivals = make(chan arrival, 1)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			_, limited := ctx.Deadline()
			arrivals <- arrival{md, limited}
			return &insightsv1.ListTemplatesResponse{}, nil
		}),
	)
	insightsv1.RegisterInsightsServiceServer(server, insightsv1.UnimplementedInsightsServiceServer{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(g.Listener) }()
	web := httptest.NewServer(g)
	t.Cleanup(func() {
		web.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return web.Listener.Addr().String(), arrivals
}

// spellings are headers that some gateways pass on, as they may be spelt.
func spellings() (headers []string) {
	for _, name := range []string{
		"insights-caller-address", "x-agent-id", "authorization", "coder-session-token", "x-request-id", "grpc-timeout", "user-agent",
		"cookie", "x-real-ip", "te", "grpc-status",
	} {
		for _, prefix := range []string{
			"", "Grpc-Metadata-", "Grpcgateway-", "Grpc-Metadata-Grpcgateway-", "Grpc-Metadata-Grpc-Metadata-",
		} {
			for _, suffix := range []string{"", "-bin"} {
				spelt := prefix + name + suffix
				headers = append(headers, strings.ToLower(spelt), strings.ToUpper(spelt), strings.ReplaceAll(spelt, "-", "_"))
			}
		}
	}
	return headers
}

// Of what a client sends in headers, however they are spelt, four arrive beside what the gateway itself says: the tokens and two
// ids (NATS CVE-2026-33246). Where the client is, is what the gateway saw. The library adds what proxies are said to have
// forwarded, which nobody reads.
func TestHeadersThatArrive(t *testing.T) {
	t.Parallel()
	address, arrivals := probe(t)
	ask := func(headers ...string) (metadata.MD, bool) {
		t.Helper()
		if code, text := raw(t, address, "GET /api/v2/templates HTTP/1.1", headers...); code != http.StatusOK {
			t.Fatalf("%q: %d %s", headers, code, text)
		}
		a := <-arrivals
		if ids := a.metadata.Get("insights-request"); len(ids) != 1 {
			t.Fatalf("%q: requests %q", headers, ids)
		}
		a.metadata.Set("insights-request", "one") // each has its own
		return a.metadata, a.deadline
	}
	plain, limited := ask()
	if limited {
		t.Error("the gateway sets a deadline")
	}
	want := []string{
		":authority", "content-type", "insights-caller-address", "insights-request", "user-agent", "x-forwarded-for", "x-forwarded-host",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(plain))); diff != "" {
		t.Fatalf("without headers (-want +got):\n%s", diff)
	}
	if got := plain.Get("insights-caller-address"); len(got) != 1 || got[0] != "127.0.0.1" {
		t.Errorf("the caller is at %q", got)
	}
	passed := []string{"authorization", "coder-session-token", "x-request-id"}
	all := spellings()
	if len(all) < 200 {
		t.Fatalf("%d spellings only", len(all))
	}
	for _, name := range all {
		want := plain.Copy()
		if slices.Contains(passed, strings.ToLower(name)) {
			want.Append(strings.ToLower(name), "c3Bvb2Y", "c3Bvb2Y")
		}
		got, limited := ask(name+": c3Bvb2Y", name+": c3Bvb2Y") // twice
		if diff := cmp.Diff(want, got); diff != "" || limited && strings.EqualFold(name, "grpc-timeout") {
			t.Errorf("%s, deadline %t (-want +got):\n%s", name, limited, diff)
		}
	}
	for _, value := range []string{"99999999H", "99999999999999999999H", "1n", "0S", "-1S", "1", "H", "x", "\u00e9"} {
		if got, limited := ask("Grpc-Timeout: " + value); limited || !cmp.Equal(plain, got) {
			t.Errorf("Grpc-Timeout %q arrives: %t %v", value, limited, got)
		}
	}
	for _, line := range []string{
		"X-Request-Id: a\r\nInsights-Caller-Address: 203.0.113.9", "X-Request-Id: a\nInsights-Caller-Address: 203.0.113.9",
	} {
		want := plain.Copy()
		want.Append("x-request-id", "a")
		if got, _ := ask(line); !cmp.Equal(want, got) {
			t.Errorf("%q: %s", line, cmp.Diff(want, got))
		}
	}
	for _, line := range []string{"X-Request-Id\u00e9: a", "X-Request-Id : a", "X-Request-Id: a\x00b", "Insights-Caller-Address"} {
		if code, text := raw(t, address, "GET /api/v2/templates HTTP/1.1", line); code != http.StatusBadRequest {
			t.Errorf("%q: %d %s", line, code, text)
		}
	}
}

// A path that is spelt in another way gets what the plain one gets, is sent there, or is refused (Grafana CVE-2025-3454): as the
// one who may, who may not, and nobody.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	template := f.Templates[0].String()
	callers := map[string]string{
		"auditor": r.Token(t, access.RoleOrganizationAuditor, f.Organization),
		"member":  r.Token(t, access.RoleMember, servertest.Everywhere), "nobody": "x",
	}
	for _, plain := range []string{
		"/api/v2/insights/user-activity?" + wiretest.Week, "/api/v2/templates/" + template + "/daus", "/api/v2/access/role-bindings",
	} {
		path, query, _ := strings.Cut(plain, "?")
		target := func(path string) string { return strings.TrimSuffix(path+"?"+query, "?") }
		last := path[strings.LastIndex(path, "/")+1:]
		for who, token := range callers {
			header := "Coder-Session-Token: " + token
			code, text := raw(t, r.HTTPAddress(), "GET "+plain+" HTTP/1.1", header)
			for _, spelt := range []string{
				"/" + path, strings.ReplaceAll(path, "/", "//"), strings.Replace(path, "/v2", "/./v2", 1),
				strings.Replace(path, "/v2", "/v2/../v2", 1),
				strings.Replace(path, "/v2", "/x/%2e%2e/v2", 1), strings.Replace(path, "/v2", "/%2e/v2", 1),
				strings.Replace(path, "/v2", "/..%2fapi/v2", 1),
				strings.Replace(path, "/v2/", "/v2%2F", 1), strings.Replace(path, "/v2/", "/v2%252F", 1),
				strings.Replace(path, "/v2/", "/v2%5c", 1), strings.Replace(path, "/v2/", "/v2\\", 1),
				path + "/", path + "//", path + "/.", path + "/x/..", path + "/..;/" + last, path + ";x=1", path + ";/x", path + "%00",
				path + "%20", path + "%0d%0a", path + "%ff",
				path + ".json", path + "#x", strings.ToUpper(path), strings.Replace(path, "/api", "/API", 1),
				strings.Replace(path, "/v2", "/%762", 1),
				strings.Replace(path, last, last[:1]+"%"+fmt.Sprintf("%02x", last[1])+last[2:], 1), "/livez/.." + path, "/livez;" + path,
				"/openapi.json/.." + path, "/metrics/.." + path,
				"http://127.0.0.1" + path, "http://evil.example" + path, path + ":get", path + "?x=1;" + query, path + "?" + query + "%00",
			} {
				spelt := spelt
				if !strings.Contains(spelt, "?") {
					spelt = target(spelt)
				}
				got, answered, body := rawWithHeader(t, r.HTTPAddress(), "GET "+spelt+" HTTP/1.1", header)
				location := answered.Get("Location")
				sent := got/100 == 3 && strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//")
				if same := got == code && body == text; !same && !sent && got/100 != 4 {
					t.Errorf("%s as %s: %d %.200s; the plain one: %d", spelt, who, got, body, code)
				}
			}
			for _, verb := range []string{"HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "POST", "DELETE", "get", "GETX", "CONNECT"} {
				for _, override := range []string{
					"X-Request-Id: a", "X-HTTP-Method-Override: GET", "X-Method-Override: GET", "X-HTTP-Method: GET",
				} {
					if plain == "/api/v2/access/role-bindings" && verb == "POST" {
						continue // is another route
					}
					got, body := raw(
						t, r.HTTPAddress(), verb+" "+plain+" HTTP/1.1", header, override, "Content-Type: application/x-www-form-urlencoded",
					)
					if got/100 != 4 && got != http.StatusNotImplemented {
						t.Errorf("%s %s with %s as %s: %d %.200s", verb, plain, override, who, got, body)
					}
				}
			}
		}
	}
}

// No templates, however that is spelt, are those that the caller may see, not all (etcd CVE-2026-33413 and its kin).
func TestEmptyListsAreNotEverything(t *testing.T) {
	t.Parallel()
	own, other := storetest.NewFixture(t, storetest.SQLite(t)), uuid.New()
	r := run(t, own.Database, storetest.Now, nil)
	foreign := uuid.New()
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	r.Apply(t, owner, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: other.String(), Name: "other"}},
		Templates:     []*insightsv1.Template{{Id: foreign.String(), OrganizationId: other.String(), Name: "foreign"}},
	})
	auditor, member := r.Token(t, access.RoleOrganizationAuditor, own.Organization), r.Token(t, access.RoleMember, servertest.Everywhere)
	const path = "/api/v2/insights/diagnosis?" + wiretest.Week
	ask := func(token, more string) (int, string) {
		code, _, text := r.Fetch(t, http.Header{"Coder-Session-Token": {token}}, path+more)
		return code, string(text)
	}
	code, want := ask(auditor, "")
	if code != http.StatusOK || !strings.Contains(want, own.Templates[0].String()) || strings.Contains(want, foreign.String()) {
		t.Fatalf("without any: %d %s", code, want)
	}
	if _, text := ask(owner, ""); !strings.Contains(text, foreign.String()) {
		t.Fatalf("the owner: %s", text)
	}
	for _, spelt := range []string{"&template_ids=", "&template_ids=&template_ids=", "&template_ids"} {
		if code, text := ask(auditor, spelt); code != http.StatusOK || text != want {
			t.Errorf("%s: %d %s", spelt, code, text)
		}
		if code, _ := ask(member, spelt); code != http.StatusNotFound {
			t.Errorf("%s as a member: %d", spelt, code)
		}
	}
	for _, spelt := range []string{
		",", "%20", "%20,%20,,", own.Templates[0].String() + ",", "," + own.Templates[0].String(), "*", "%25",
		"all", "null", "[]", "00000000-0000-0000-0000-000000000000", own.Templates[0].String() + ",*", foreign.String(),
		own.Templates[0].String() + "," + foreign.String(),
	} {
		if code, text := ask(auditor, "&template_ids="+spelt); code != http.StatusBadRequest && code != http.StatusNotFound {
			t.Errorf("%s: %d %s", spelt, code, text)
		}
	}
	for _, list := range [][]string{{""}, {"", ""}, {own.Templates[0].String(), ""}, {"*"}} {
		_, err := insightsv1.NewInsightsServiceClient(r.Conn).GetDiagnosis(servertest.As(t.Context(), auditor),
			&insightsv1.GetDiagnosisRequest{
				StartTime: "2023-08-07T00:00:00Z", EndTime: "2023-08-14T00:00:00Z", TemplateIds: list,
			})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q over gRPC: %v", list, err)
		}
	}
}

// What does not exist, what is deleted and what is another's are answered with the same bytes (Grafana CVE-2022-39307).
func TestUnknownAndForbiddenAreOne(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	other, foreign, gone := uuid.NewString(), uuid.NewString(), uuid.NewString()
	r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: other, Name: "other"}},
		Templates: []*insightsv1.Template{
			{Id: foreign, OrganizationId: other, Name: "foreign"}, {Id: gone, OrganizationId: other, Name: "gone"},
		},
		Deleted: &insightsv1.DeletedItems{Templates: []string{gone}},
	})
	auditor := r.Token(t, access.RoleOrganizationAuditor, f.Organization)
	for name, path := range map[string]string{
		"template insights": "/api/v2/insights/templates?" + wiretest.Week + "&template_ids=",
		"user activity":     "/api/v2/insights/user-activity?" + wiretest.Week + "&template_ids=",
		"user latency":      "/api/v2/insights/user-latency?" + wiretest.Week + "&template_ids=",
		"diagnosis":         "/api/v2/insights/diagnosis?" + wiretest.Week + "&template_ids=",
		"among own ones":    "/api/v2/insights/templates?" + wiretest.Week + "&template_ids=" + f.Templates[0].String() + ",",
		"activity":          activityPath + "?start=2023-08-07T00:00:00Z&end=2023-08-14T00:00:00Z&interval=1%20day&org=",
		"users per day":     "/api/v2/templates/ID/daus",
	} {
		var want string
		for _, id := range []string{foreign, gone, uuid.NewString(), uuid.NewString(), other} {
			spelt := path + id
			if strings.Contains(path, "ID") {
				spelt = strings.Replace(path, "ID", id, 1)
			}
			code, header, text := r.Fetch(t, http.Header{"Coder-Session-Token": {auditor}}, spelt)
			header.Del("Date")
			got := fmt.Sprint(code, header, string(text))
			if want == "" {
				want = got
			}
			if code != http.StatusNotFound || got != want {
				t.Errorf("%s of %s: %s; want the same 404 as for any other", name, id, got)
			}
		}
	}
}

// Bodies that readers may understand in two ways are refused at once, and change nothing.
func TestAmbiguousBodies(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	who := `"principal":{"kind":"service","id":"` + uuid.NewString() + `"}`
	before := servertest.Must(
		t, insightsv1.NewAccessServiceClient(r.Conn).ListRoleBindings, owner, &insightsv1.ListRoleBindingsRequest{},
	).GetRoleBindings()
	for name, body := range map[string]string{
		"a field twice":               `{` + who + `,"role":"member","role":"owner"}`,
		"a field in two spellings":    `{` + who + `,"role":"organization-auditor","organization_id":"x","organizationId":"y"}`,
		"a field twice within":        `{"principal":{"kind":"service","kind":"user","id":"x"},"role":"owner"}`,
		"an unknown field":            `{` + who + `,"role":"owner","admin":true}`,
		"another case":                `{` + who + `,"Role":"owner"}`,
		"a number for a text":         `{` + who + `,"role":1}`,
		"a list for a text":           `{` + who + `,"role":["owner"]}`,
		"more behind it":              `{` + who + `,"role":"owner"}{}`,
		"text behind it":              `{` + who + `,"role":"owner"} x`,
		"a comment":                   `{` + who + `,/* x */"role":"owner"}`,
		"a comma too many":            `{` + who + `,"role":"owner",}`,
		"a byte order mark":           "\ufeff" + `{` + who + `,"role":"owner"}`,
		"not UTF-8":                   `{` + who + `,"role":"own` + "\xff" + `er"}`,
		"half a character":            `{` + who + `,"role":"owner\ud800"}`,
		"a NUL":                       `{` + who + `,"role":"owner\u0000"}`,
		"not closed":                  `{` + who + `,"role":"owner"`,
		"nothing but brackets":        strings.Repeat("[", 100_000),
		"deep within an unknown name": `{"x":` + strings.Repeat(`{"x":`, 50_000),
		"an any":                      `{"@type":"type.googleapis.com/google.protobuf.Any","value":{}}`,
		"a form":                      "role=owner",
		"nothing":                     "",
		"null":                        "null",
		"a list":                      "[]",
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			code, text := raw(
				t, r.HTTPAddress(), "POST /api/v2/access/role-bindings HTTP/1.1", "Coder-Session-Token: "+owner,
				"Content-Type: application/json", "\r\n"+body,
			)
			if code/100 != 4 || len(text) > 2000 {
				t.Errorf("%d %.300s", code, text)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	after := servertest.Must(
		t, insightsv1.NewAccessServiceClient(r.Conn).ListRoleBindings, owner, &insightsv1.ListRoleBindingsRequest{},
	).GetRoleBindings()
	if len(after) != len(before) {
		t.Errorf("a role was granted: %v", after)
	}
}

// What proxies are said to have forwarded is not believed (Coder CVE-2026-55430): neither in the answer nor in the log.
func TestForwardedHeadersChangeNothing(t *testing.T) {
	t.Parallel()
	database, log := storetest.SQLite(t), &servertest.LogBuffer{}
	r := run(t, database, storetest.Now, func(c *server.Options) { c.Logger = servertest.WatchLog(t, database, log) })
	owner := "Coder-Session-Token: " + r.Token(t, access.RoleOwner, servertest.Everywhere)
	ask := func(headers ...string) string {
		code, header, text := rawWithHeader(t, r.HTTPAddress(), "GET /api/v2/access/me HTTP/1.1", append(headers, owner)...)
		header.Del("Date")
		return fmt.Sprint(code, header, text)
	}
	want := ask()
	for _, line := range []string{
		"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1",
		"X-Forwarded-Prefix: /x", "X-Forwarded-Server: evil.example",
		"Forwarded: for=203.0.113.9;host=evil.example", "X-Real-Ip: 203.0.113.9", "True-Client-Ip: 203.0.113.9",
		"X-Original-Url: /api/v2/access/audit-events", "X-Rewrite-Url: /api/v2/access/audit-events",
		"X-Original-Method: DELETE", "X-Http-Method-Override: DELETE", "X-Forwarded-User: owner", "Remote-User: owner",
		"Via: 1.1 evil.example", "Origin: https://evil.example",
	} {
		if diff := cmp.Diff(want, ask(line)); diff != "" {
			t.Errorf("%s (-without +with):\n%s", line, diff)
		}
	}
	for _, line := range log.All() {
		if strings.Contains(line, "203.0.113.9") || strings.Contains(line, "evil.example") {
			t.Errorf("the log believes it: %s", line)
		}
	}
}

// A method that is spelt in another way is none, and nothing is asked about it (grpc-go CVE-2026-33186).
func TestMethodsSpeltOtherwise(t *testing.T) {
	t.Parallel()
	database, log := storetest.SQLite(t), &servertest.LogBuffer{}
	r := run(t, database, storetest.Now, func(c *server.Options) { c.Logger = servertest.WatchLog(t, database, log) })
	token := r.Token(t, access.RoleOwner, servertest.Everywhere)
	const method = insightsv1.AccessService_WhoAmI_FullMethodName
	if got := r.rawMethod(t, method, token); got != codes.OK {
		t.Fatalf("%s: %v", method, got)
	}
	seen := len(log.All())
	if seen != 1 {
		t.Fatalf("the log of one call: %q", log.All())
	}
	for _, spelt := range []string{
		method[1:], "/" + method, method + "/", method + "?x", method + "%00", method + ";x", strings.ToLower(method),
		strings.ToUpper(method), strings.Replace(method, "WhoAmI", "%57hoAmI", 1),
		strings.Replace(method, "insights", "Insights", 1), strings.Replace(method, ".v1", "..v1", 1),
		strings.Replace(method, "/WhoAmI", "//WhoAmI", 1), strings.Replace(method, "/WhoAmI", "/./WhoAmI", 1),
		"/x" + method, "/grpc.health.v1.Health/.." + method, "/grpc.health.v1.Health/Check" + method,
		strings.Replace(method, "/WhoAmI", ".WhoAmI", 1), "*", "/", "",
	} {
		if got := r.rawMethod(t, spelt, token); got != codes.Unimplemented {
			t.Errorf("%q: %v", spelt, got)
		}
	}
	if lines := log.All(); len(lines) != seen {
		t.Errorf("something was asked: %q", lines[seen:])
	}
}

// rawMethod makes an empty call with a path that no client would send, and returns how it ended.
func (r *running) rawMethod(t *testing.T, path, token string) codes.Code {
	t.Helper()
	conn, err := net.Dial("tcp", r.GRPCAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "insights.example"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"authorization", "Bearer " + token},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	for _, write := range []func() error{
		func() error { return framer.WriteSettings() },
		func() error {
			return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
		},
		func() error { return framer.WriteData(1, true, make([]byte, 5)) }, // an empty message
	} {
		if err == nil {
			err = write()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			t.Logf("%q is cut: %v", path, reset.ErrCode)
			return codes.Unimplemented
		}
		headers, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, f := range headers.Fields {
			if f.Name == "grpc-status" {
				var code codes.Code
				if err := code.UnmarshalJSON([]byte(f.Value)); err != nil {
					t.Fatal(err)
				}
				return code
			}
		}
	}
}

// Callers cannot make the metrics grow: not by methods, paths, addresses or agents that nobody knows (otelgrpc CVE-2023-47108,
// client_golang CVE-2022-21698).
func TestCallersDoNotMakeSeries(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	// What the server reads in the background comes with the first refresh.
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := func() []string {
		contentType, body := r.Scrape(t, "")
		samples, _ := wiretest.ParseMetrics(t, contentType, body)
		return slices.DeleteFunc(slices.Sorted(maps.Keys(samples)), func(s string) bool {
			return strings.Contains(s, `"go_`) || strings.Contains(s, `"process_`)
		})
	}
	ask := func(i int) {
		ctx := metadata.AppendToOutgoingContext(
			servertest.As(t.Context(), owner), "user-agent", fmt.Sprint("agent ", i), "x-request-id", fmt.Sprint(i),
		)
		for _, method := range []string{
			fmt.Sprint("/insights.v1.AccessService/Method", i), fmt.Sprintf("/service%d/WhoAmI", i),
			insightsv1.AccessService_WhoAmI_FullMethodName,
		} {
			_ = r.Conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}) // how it ends does not matter
		}
		raw(
			t, r.HTTPAddress(), fmt.Sprintf("VERB%d /api/v2/path%d HTTP/1.1", i, i), fmt.Sprint("User-Agent: agent ", i),
			"Coder-Session-Token: "+owner,
		)
		raw(t, r.HTTPAddress(), fmt.Sprintf("GET /metrics%d HTTP/1.1", i))
	}
	ask(0) // the first call of a method with an outcome makes its series
	want := names()
	for i := range 30 {
		ask(i)
	}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("series (-before +after):\n%s", diff)
	}
}

// What is for developers and operators alone is on no port: profiles, variables, the command line (SpiceDB CVE-2023-29193),
// reflection and channels.
func TestNothingForDevelopersIsServed(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for _, address := range []string{r.HTTPAddress(), r.PrometheusAddress()} {
		for _, path := range []string{
			"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/vars", "/debug/requests", "/debug/events", "/config",
			"/env", "/api/v2/debug/pprof/", "/-/reload", "/.git/config", "/swagger", "/admin",
		} {
			if code, text := raw(t, address, "GET "+path+" HTTP/1.1", "Coder-Session-Token: "+owner); code != http.StatusNotFound {
				t.Errorf("%s on %s: %d %.200s", path, address, code, text)
			}
		}
	}
	for _, method := range []string{
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
		"/grpc.channelz.v1.Channelz/GetServers", "/grpc.admin.v1.Admin/X",
		"/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
	} {
		err := r.Conn.Invoke(servertest.As(t.Context(), owner), method, &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// Page tokens that were tampered with are refused or lead to a page like any other; they never break anything (SpiceDB
// GHSA-vhvq-fv9f-wh4q).
func TestTamperedPageTokens(t *testing.T) {
	t.Parallel()
	r, owner, _ := crowd(t, 6)
	ask := func(token string) (int, string) {
		code, _, text := r.Fetch(
			t, http.Header{"Coder-Session-Token": {owner}},
			"/api/v2/insights/user-activity?"+wiretest.Week+"&page_size=2&page_token="+token,
		)
		return code, string(text)
	}
	_, body := r.Get(t, owner, "/api/v2/insights/user-activity", map[string][]string{
		"start_time": {"2023-08-13T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}, "page_size": {"2"},
	})
	token, _ := body["next_page_token"].(string)
	plain, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(plain) == 0 {
		t.Fatalf("%v: %v", body, err)
	}
	tampered := []string{
		token + "A", token[1:], token[:len(token)-1], token + token,
		base64.RawURLEncoding.EncodeToString([]byte(`{"After":{"Rank":1e400}}`)),
	}
	for i := 0; i < len(plain); i += 3 {
		changed := bytes.Clone(plain)
		changed[i] ^= byte(1 + i%7)
		tampered = append(tampered, base64.RawURLEncoding.EncodeToString(changed))
	}
	for _, bad := range tampered {
		if code, text := ask(bad); code != http.StatusOK && code != http.StatusBadRequest || strings.Contains(text, "anic") {
			t.Errorf("%s: %d %s", bad, code, text)
		}
	}
}

// The gateway's other mode, in which it calls the services itself, walks round the interceptors; the simple protocol of Postgres
// puts values into the text of statements (pgx CVE-2024-27289). Neither is used anywhere.
func TestForbiddenWordsOfTheSource(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (entry.Name() == "gen" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "replay_gateway_test.go") {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		for _, word := range []string{"HandlerServer(", "PreferSimpleProtocol", "simple_protocol"} {
			if bytes.Contains(text, []byte(word)) {
				t.Errorf("%s has %s", path, word)
			}
		}
		return err
	})
	if err != nil || files < 100 {
		t.Errorf("%d files: %v", files, err)
	}
	generated, err := os.ReadFile("../gen/insights/v1/insights.pb.gw.go")
	if err != nil || !bytes.Contains(generated, []byte("HandlerServer(")) {
		t.Errorf("the generated gateway has no such mode, or it is called otherwise: %v", err)
	}
}
