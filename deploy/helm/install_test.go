package helm

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"helm.sh/helm/v3/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/storetest"
)

// Of Coder in this test: whose token it is, and the user of [codertest.Deployment].
const (
	coderToken = "abcdefghij-0123456789abcdefghijkl"
	coderUser  = "00000000-0000-0000-0000-000000000002"
)

// longest is how long it may take from the first command to a page with figures.
const longest = 10 * time.Minute

// installing is the block of the document with the commands.
var installing = regexp.MustCompile("(?s)<!-- install -->\n```bash\n(.*?)```")

// Whoever has a database of Coder and a cluster comes with the commands of the document to a page on which a template admin of Coder is signed
// in and sees usage. The commands run as they are, but for the addresses; kubectl and helm only write down what they are told, which is then
// what the servers of the rendered chart are started with.
func TestInstall(t *testing.T) {
	t.Parallel()
	binary := buildProgram(t)
	coder := httptest.NewServer(http.HandlerFunc(coderForAdmin))
	t.Cleanup(coder.Close)
	from := coderDatabase(t)
	text, err := os.ReadFile("../../docs/moving-from-coder.md")
	if err != nil {
		t.Fatal(err)
	}
	block := installing.FindSubmatch(text)
	if block == nil {
		t.Fatal("the document has no commands")
	}
	_, address, _ := strings.Cut(from, "@")
	commands := strings.NewReplacer("db.example.com:5432/coder", address, "https://coder.example.com", coder.URL).Replace(string(block[1]))
	if n := strings.Count(strings.ReplaceAll(strings.TrimSpace(commands), "\\\n", " "), "\n") + 1; n > 5 {
		t.Errorf("%d commands", n)
	}

	begin := time.Now()
	told := t.TempDir()
	programs := t.TempDir()
	for _, name := range []string{"kubectl", "helm"} {
		script := "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >\"$(mktemp \"$TOLD/" + name + "-XXXXXX\")\"\n"
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil { //nolint:gosec // it is a program
			t.Fatal(err)
		}
	}
	shell := exec.CommandContext(t.Context(), "bash", "-euc", commands)
	shell.Dir = "../.."
	shell.Env = append(
		os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "TOLD="+told, "CODER_PG_CONNECTION_URL="+from,
		"INSIGHTS_PG_CONNECTION_URL="+storetest.Postgres(t), "IMAGE=registry.example.com/insights",
	)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secrets, values := map[string]string{}, map[string]any{}
	read(t, told, "kubectl", func(words []string) {
		for _, word := range words[4:] {
			pair, _ := strings.CutPrefix(word, "--from-literal=")
			key, value, _ := strings.Cut(pair, "=")
			secrets[words[3]+"/"+key] = value
		}
	})
	read(t, told, "helm", func(words []string) {
		for i, word := range words {
			if word == "--set" {
				if err := strvals.ParseInto(words[i+1], values); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	given, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	pod := get[*appsv1.StatefulSet](t, mustRender(t, string(given)), "StatefulSet insights")
	page := ""
	for n := range *pod.Spec.Replicas {
		address, stop := startedBy(t, pod, secrets).Start(t, binary, secrets["insights-database/url"])
		page = address
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("server %d:\n%s", n, stop())
			}
		})
	}

	within := func(what string, is func() bool) {
		t.Helper()
		for !is() {
			if time.Since(begin) > longest {
				t.Fatalf("no %s after %v", what, longest)
			}
			<-time.After(200 * time.Millisecond)
		}
	}
	session := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	within("session", func() bool { // people come with the import
		answer := send(t, http.MethodPost, "http://"+page+"/api/v2/access/session", "{}", http.Header{
			"Coder-Session-Token": {coderToken}, "Content-Type": {"application/json"},
		})
		cookie, _, _ := strings.Cut(answer.header.Get("Set-Cookie"), ";")
		session.Set("Cookie", cookie)
		return answer.status == http.StatusOK && cookie != ""
	})
	opened := send(t, http.MethodGet, "http://"+page+"/", "", session)
	if opened.status != http.StatusOK || !strings.Contains(opened.body, coder.URL) {
		t.Errorf("the page does not name the deployment: %d %s", opened.status, opened.body)
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	question := "http://" + page + "/api/v2/insights/templates?start_time=" + today.AddDate(0, 0, -1).Format(time.RFC3339) +
		"&end_time=" + today.Format(time.RFC3339)
	within("figures", func() bool {
		answer := send(t, http.MethodGet, question, "", session)
		return answer.status == http.StatusOK && strings.Contains(answer.body, `"active_users":1,`)
	})
	t.Logf("from the first command to figures on the page: %v", time.Since(begin).Round(time.Second))
}

// coderForAdmin answers as Coder does about a token of an admin of templates that nothing limits.
func coderForAdmin(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case r.Header.Get("Coder-Session-Token") != coderToken:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/api/v2/users/me":
		answer = map[string]any{"id": coderUser, "status": "active"}
	case r.URL.Path == "/api/v2/users/me/keys/abcdefghij":
		answer = map[string]any{"id": "abcdefghij", "user_id": coderUser, "scope": "all"}
	case r.URL.Path == "/api/v2/authcheck":
		var question struct{ Checks map[string]any }
		_ = json.NewDecoder(r.Body).Decode(&question)
		allowed := map[string]bool{}
		for name := range question.Checks {
			allowed[name] = true
		}
		answer = allowed
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// coderDatabase is that of a deployment whose user is an admin of templates.
func coderDatabase(t *testing.T) string {
	t.Helper()
	url, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	script := codertest.Schema(551) + codertest.Deployment + `UPDATE users SET rbac_roles = '{template-admin}' WHERE id = '` + coderUser + `';`
	if _, err := conn.PgConn().Exec(t.Context(), script).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return url
}

// read hands what a program was told each time to a function.
func read(t *testing.T, folder, program string, with func(words []string)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, program+"-*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s was not called: %v", program, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		with(strings.Split(strings.TrimSpace(string(text)), "\n"))
	}
}

type sent struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, method, url, body string, header http.Header) sent {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return sent{resp.StatusCode, resp.Header, string(text)}
}
