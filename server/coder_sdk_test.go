package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// sdkCall is a call as Coder's SDK makes it: what it sends, and the type as which it decodes what comes back with the status 200.
type sdkCall struct{ method, target, answer string }

// sdkField is a field of a type of that SDK, by its JSON name.
type sdkField struct{ name, kind string }

// readSDK reads testdata/coder_sdk.txt: the calls, and the fields of types.
func readSDK(t *testing.T) (calls []sdkCall, types map[string][]sdkField) {
	t.Helper()
	text, err := os.ReadFile("testdata/coder_sdk.txt")
	if err != nil {
		t.Fatal(err)
	}
	types = map[string][]sdkField{}
	var of string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "call":
			calls = append(calls, sdkCall{words[1], words[2], words[3]})
		case words[0] == "type":
			of = words[1]
		default:
			for _, word := range words[1:] {
				types[of] = append(types[of], sdkField{word, words[0]})
			}
		}
	}
	if len(calls) < 10 || len(types["template"]) < 39 {
		t.Fatalf("%d calls, %d fields of a template", len(calls), len(types["template"]))
	}
	return calls, types
}

// undecoded lists where a value is not of a kind. Kinds are those of Go's JSON: id is a UUID, time is RFC 3339, list and map are of
// anything unless they name a type.
func undecoded(types map[string][]sdkField, at, kind string, value any) (faults []string) {
	if of, isList := strings.CutSuffix(kind, "[]"); isList {
		list, ok := value.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, not a list", at, value)}
		}
		for i, item := range list {
			faults = append(faults, undecoded(types, fmt.Sprintf("%s[%d]", at, i), of, item)...)
		}
		return faults
	}
	text, isText := value.(string)
	number, isNumber := value.(float64)
	object, isObject := value.(map[string]any)
	var ok bool
	switch kind {
	case "text":
		ok = isText
	case "id":
		_, err := uuid.Parse(text)
		ok = isText && err == nil
	case "time":
		_, err := time.Parse(time.RFC3339Nano, text)
		ok = isText && err == nil
	case "whole":
		ok = isNumber && number == float64(int64(number))
	case "flag":
		_, ok = value.(bool)
	case "map":
		ok = isObject
	default:
		for _, f := range types[kind] {
			member, there := object[f.name]
			if !there {
				faults = append(faults, at+"."+f.name+" is missing")
				continue
			}
			faults = append(faults, undecoded(types, at+"."+f.name, f.kind, member)...)
		}
		ok = isObject && len(types[kind]) > 0
	}
	if !ok {
		faults = append(faults, fmt.Sprintf("%s is %v, not of the kind %s", at, value, kind))
	}
	return faults
}

// Requests as Coder's SDK sends them are answered with 200, and in the answers is every field that it decodes, of its type.
func TestCallsOfCoderSDK(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *server.Options) { c.Version = "v1.2.3" })
	calls, types := readSDK(t)
	user := f.Users[0]
	r.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
	for caller, token := range map[string]string{
		"user":    r.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: user}).Reveal(),
		"service": r.Token(t, access.RoleOwner, servertest.Everywhere),
	} {
		for _, c := range calls {
			target := strings.NewReplacer(
				"{organization}", f.Organization.String(), "{template}", f.Templates[0].String(), "{name}", "template0",
			).Replace(c.target)
			request, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+r.HTTPAddress()+target, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Coder-Session-Token", token)
			code, answered, body := servertest.Exchange(t, request)
			var answer any
			if err := json.Unmarshal(body, &answer); err != nil || code != http.StatusOK ||
				!strings.HasPrefix(answered.Get("Content-Type"), "application/json") {
				t.Errorf("%s: %s: %d %v %s", caller, target, code, err, body)
				continue
			}
			for _, fault := range undecoded(types, c.answer, c.answer, answer) {
				t.Errorf("%s: %s: %s", caller, target, fault)
			}
			if list, isList := answer.([]any); isList && len(list) == 0 {
				t.Errorf("%s: %s finds nothing", caller, target)
			}
		}
	}
}

// The caller is told who they are as Coder would tell it, and nothing that is not kept here.
func TestCurrentUser(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	r.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[1], Role: access.RoleAuditor})
	r.Grant(t, store.RoleBinding{
		PrincipalKind: access.KindUser, PrincipalID: f.Users[1], Role: access.RoleOrganizationAdmin, OrganizationID: f.Organization,
	})
	service := uuid.New()
	nobody := map[string]any{
		"id": "", "username": "", "name": "", "avatar_url": "", "email": "", "created_at": "0001-01-01T00:00:00Z",
		"updated_at": "0001-01-01T00:00:00Z", "last_seen_at": "0001-01-01T00:00:00Z", "status": "active", "login_type": "",
		"is_service_account": true, "theme_preference": "", "organization_ids": []any{}, "roles": []any{}, "has_ai_seat": false,
	}
	with := func(more map[string]any) map[string]any {
		all := maps.Clone(nobody)
		maps.Copy(all, more)
		return all
	}
	for name, c := range map[string]struct {
		token store.Token
		want  map[string]any
	}{
		"user": {store.Token{PrincipalKind: access.KindUser, PrincipalID: f.Users[1]}, with(map[string]any{
			"id": f.Users[1].String(), "username": "user1", "is_service_account": false,
			"organization_ids": []any{f.Organization.String()},
			"roles":            []any{map[string]any{"name": "auditor", "display_name": "", "organization_id": ""}},
		})},
		"service": {store.Token{PrincipalKind: access.KindService, PrincipalID: service}, with(map[string]any{"id": service.String()})},
		"agent": {store.Token{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}, with(map[string]any{
			"id": f.Agents[0][0].String(),
		})},
	} {
		code, got := r.Get(t, r.Issue(t, c.token).Reveal(), "/api/v2/users/me", nil)
		if diff := cmp.Diff(c.want, got); code != http.StatusOK || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", name, code, diff)
		}
	}
}

// A search finds what Coder's would, as far as it is known here, and says what it does not understand.
func TestTemplateSearch(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	acme, zoo := uuid.New(), uuid.New()
	change := &insightsv1.ApplyCatalogRequest{Organizations: []*insightsv1.Organization{
		{Id: acme.String(), Name: "Acme"}, {Id: zoo.String(), Name: "zoo"},
	}}
	ids := map[string]string{}
	for name, of := range map[string]uuid.UUID{"docker": acme, "docker-gpu": acme, "Kubernetes": zoo, "gone": acme} {
		template := &insightsv1.Template{Id: uuid.NewString(), OrganizationId: of.String(), Name: name}
		switch name {
		case "gone":
			template.DeletedAt = timestamppb.New(storetest.Now)
		case "docker-gpu":
			template.DisplayName = "Docker with a GPU"
		}
		ids[name] = template.GetId()
		change.Templates = append(change.Templates, template)
	}
	r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), change)
	owner, auditor := r.Token(t, access.RoleOwner, servertest.Everywhere), r.Token(t, access.RoleOrganizationAuditor, acme)
	const templates = "/api/v2/templates"
	for q, want := range map[string][]string{
		"":                                       {"docker", "docker-gpu", "Kubernetes"},
		"  ":                                     {"docker", "docker-gpu", "Kubernetes"},
		"deleted:true":                           {"gone"},
		"deleted:FALSE":                          {"docker", "docker-gpu", "Kubernetes"},
		"name:DOCK":                              {"docker", "docker-gpu"},
		`exact_name:"Docker"`:                    {"docker"},
		"with a":                                 {"docker-gpu"},
		`"with a" gpu`:                           {"docker-gpu"},
		"GPU with":                               nil,
		"kube":                                   {"Kubernetes"}, // the name is what people see of it
		"display_name:gpu":                       {"docker-gpu"},
		`exact_display_name:"docker with a gpu"`: {"docker-gpu"},
		"organization:acme name:gpu":             {"docker-gpu"},
		"organization:" + zoo.String():           {"Kubernetes"},
		"organization:" + uuid.NewString():       nil,
		"ids:" + ids["docker"] + "," + ids["gone"]:    {"docker"},
		"deprecated:false has-ai-task:false":          {"docker", "docker-gpu", "Kubernetes"},
		"deprecated:true":                             nil,
		"has-ai-task:true":                            nil,
		"has_external_agent:true":                     nil,
		"author:me":                                   nil,
		"author_id:" + uuid.NewString():               nil,
		`deprecated:false organization:"acme" docker`: {"docker", "docker-gpu"},
	} {
		if diff := cmp.Diff(want, r.list(t, owner, templates+"?q="+url.QueryEscape(q))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", q, diff)
		}
	}
	for q, field := range map[string]string{
		"color:red": "color", "name:a name:b": "name", "deleted:perhaps": "deleted", "ids:x": "ids", ":x": "q", "x:": "q", "a:b:c": "q",
		"organization:nowhere": "organization", strings.Repeat("x", 1025): "q", "gpu display_name:gpu": "display_name",
	} {
		code, answer := r.Get(t, owner, templates, url.Values{"q": {q}})
		validations, _ := answer["validations"].([]any)
		if code != http.StatusBadRequest || len(validations) != 1 || validations[0].(map[string]any)["field"] != field {
			t.Errorf("%q: %d %v, want a fault of %s", q, code, answer, field)
		}
	}
	for _, c := range []struct {
		token, path string
		want        []string
	}{
		{owner, templates, []string{"docker", "docker-gpu", "gone", "Kubernetes"}},
		{owner, "/api/v2/organizations/" + acme.String() + "/templates", []string{"docker", "docker-gpu"}},
		{owner, "/api/v2/organizations/ACME/templates", []string{"docker", "docker-gpu"}},
		{owner, "/api/v2/organizations/acme/templates?q=deleted:true", []string{"gone"}},
		{auditor, templates + "?q=", []string{"docker", "docker-gpu"}},
		{auditor, templates + "?q=kube", nil},
	} {
		if diff := cmp.Diff(c.want, r.list(t, c.token, c.path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
	}
	// What the caller may not see looks like what does not exist.
	for _, c := range []struct{ path, foreign, unknown string }{
		{"/api/v2/organizations/%s/templates", "zoo", "nowhere"},
		{"/api/v2/organizations/%s/templates", zoo.String(), uuid.NewString()},
		{templates + "/%s", ids["Kubernetes"], uuid.NewString()},
		{templates + "?q=organization:%s", "zoo", "nowhere"},
	} {
		var told []string
		for _, what := range []string{c.foreign, c.unknown} {
			code, _, text := r.Fetch(t, http.Header{"Coder-Session-Token": {auditor}}, fmt.Sprintf(c.path, what))
			told = append(told, fmt.Sprint(code, string(text)))
		}
		if told[0] != told[1] || strings.HasPrefix(told[0], "200") {
			t.Errorf("%s: %s, of what does not exist %s", c.path, told[0], told[1])
		}
	}
}

// Whoever asks, with a token or without, is told the version of the program and nothing else.
func TestBuildInfo(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.Version = "v1.2.3" })
	code, _, text := r.Fetch(t, nil, "/api/v2/buildinfo")
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s: %v", code, text, err)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		switch value := got[name]; {
		case name == "version" && value != "v1.2.3", name != "version" && value != "" && value != false:
			t.Errorf("%s is %v", name, value)
		}
	}
}
