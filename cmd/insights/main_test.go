package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) {
	if program, is := asProgram[filepath.Base(os.Args[0])]; is {
		os.Exit(program())
	}
	os.Exit(storetest.Main(m))
}

// command runs the program and returns its code and what it wrote.
func command(t *testing.T, environment []string, args ...string) (code int, out, errs string) {
	t.Helper()
	return commandWithin(t.Context(), environment, args...)
}

func commandWithin(ctx context.Context, environment []string, args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(ctx, args, environment, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	database := "--database=" + storetest.SQLite(t)
	for name, c := range map[string]struct {
		args, environment []string
		code              int
		out, err          string
	}{
		"help":            {args: []string{"--help"}, out: "token create"},
		"help of serve":   {args: []string{"serve", "--help"}, out: "INSIGHTS_GRPC_ADDRESS"},
		"version":         {args: []string{"version"}, out: "insights "},
		"version as flag": {args: []string{"--version"}, out: "insights "},
		"nothing":         {code: exitUsage, err: "serve"},
		"unknown command": {args: []string{"fly"}, code: exitUsage, err: "fly"},
		"unknown variable": {
			args: []string{"version"}, environment: []string{"INSIGHTS_COLOUR=x"}, code: exitUsage, err: "INSIGHTS_COLOUR",
		},
		"migrate again":          {args: []string{"migrate", database}},
		"plan":                   {args: []string{"migrate", "--plan", database}, out: "is current: version"},
		"plan of nothing":        {args: []string{"migrate", "--plan", "--database=sqlite:nothing.db"}, code: exitError, err: "nothing.db"},
		"database":               {args: []string{"migrate", "--database=oracle:x"}, code: exitError, err: "sqlite:FILE"},
		"neither agent nor role": {args: []string{"token", "create", database}, code: exitUsage, err: "--role"},
		"unknown role":           {args: []string{"token", "create", database, "--role=king"}, code: exitUsage, err: "king"},
		"role without its scope": {
			args: []string{"token", "create", database, "--role=organization-admin"}, code: exitUsage, err: "organization",
		},
		"unknown agent": {
			args: []string{"token", "create", database, "--agent=" + uuid.NewString()}, code: exitError, err: "does not exist",
		},
		"no id":           {args: []string{"token", "create", database, "--agent=x"}, code: exitUsage, err: "--agent"},
		"unknown token":   {args: []string{"token", "revoke", database, "nothing"}, code: exitError, err: "does not exist"},
		"beyond loopback": {args: []string{"serve", database, "--http-address=0.0.0.0:0"}, code: exitUsage, err: "--insecure"},
		"scrapes beyond loopback": {
			args: []string{"serve", database, "--prometheus-address=:0"}, code: exitUsage, err: "--prometheus-token-file, or --insecure",
		},
		"token file that is gone": {args: []string{"serve", database, "--prometheus-token-file=/gone"}, code: exitError, err: "/gone"},
		"privacy key is gone": {
			args: []string{"serve", database, "--privacy-key-file=/gone"}, code: exitError, err: "read privacy key: open /gone",
		},
		"client secret is gone": {
			args: []string{"serve", database, "--oidc-client-secret-file=/gone"}, code: exitError,
			err: "read --oidc-client-secret-file: open /gone",
		},
		"external URL with a path": {args: []string{"serve", database, "--external-url=https://a/b"}, code: exitError, err: "external URL"},
		"token file without one": {
			args: []string{"serve", database, "--prometheus-token-file=/dev/null"}, code: exitError, err: "/dev/null is empty",
		},
		"profiles beyond loopback": {
			args: []string{"serve", database, "--insecure", "--pprof-address=0.0.0.0:0"}, code: exitUsage, err: "--pprof-address",
		},
		"Coder in the clear": {
			args: []string{"serve", database, "--auth-coder-url=http://coder.example.com"}, code: exitError, err: "must be https",
		},
		"half of TLS": {args: []string{"serve", database, "--tls-cert=x"}, code: exitUsage, err: "--tls-key"},
		"certificate that is gone": {
			args: []string{"serve", database, "--tls-cert=/gone", "--tls-key=/gone"}, code: exitError, err: "/gone",
		},
		"aggregation of nothing": {
			args: []string{"serve", database, "--prometheus-aggregate-agent-stats-by=none,username"}, code: exitError,
			err: "none stands alone",
		},
		"aggregation by others": {
			args: []string{"serve", database, "--prometheus-aggregate-agent-stats-by", "username,color"}, code: exitError, err: "color",
		},
		"beyond its range": {
			args: []string{
				"serve", database, "--prometheus-series-budget=-1", "--usage-retention=4h", "--max-stream-age=0", "--privacy-floor=1",
			},
			code: exitUsage,
			err: "--prometheus-series-budget: -1 must be 1 to 100000000\n--usage-retention: 4h0m0s must be 0 or 24h to 876000h\n" +
				"--privacy-floor: 1 must be 2 to 1000\n",
		},
		"unknown compatibility": {
			args: []string{"serve", database, "--metrics-compat=seed,grafana"}, code: exitUsage, err: "metrics-compat",
		},
		"an IPv6 host without brackets": {
			args: []string{"serve", database, "--http-address=::1:8080"}, code: exitUsage,
			err: `--http-address: "::1:8080" must be HOST:PORT, an IPv6 host in brackets, such as [::1]:8080`,
		},
		"an IPv6 host alone":       {args: []string{"serve", database, "--grpc-address=[::1]"}, code: exitUsage, err: "must be HOST:PORT"},
		"a host without a port":    {args: []string{"demo", "--http-address=localhost"}, code: exitUsage, err: "must be HOST:PORT"},
		"a host and an empty port": {args: []string{"demo", "--grpc-address", "localhost:"}, code: exitUsage, err: "must be HOST:PORT"},
		"a port alone": {
			args: []string{"serve", database, "--prometheus-address=2112"}, code: exitUsage, err: "--prometheus-address: ",
		},
		"a port that is none": {args: []string{"serve", database, "--pprof-address=127.0.0.1:70000"}, code: exitUsage, err: "HOST:PORT"},
		"a URL as an address": {args: []string{"serve", database, "--http-address=http://127.0.0.1:1"}, code: exitUsage, err: "HOST:PORT"},
		"no address": {
			args: []string{"serve", database, "--http-address="}, code: exitError, err: `listen for HTTP: "" must be HOST:PORT`,
		},
		"a server without scheme": {
			args: []string{"export", "apps", "--address=127.0.0.1:8080"}, environment: []string{"INSIGHTS_TOKEN=x"}, code: exitUsage,
			err: `--address: "127.0.0.1:8080" must be a URL, an IPv6 host in brackets`,
		},
		"a server without brackets": {
			args: []string{"report", "roi", "--address=http://::1:8080"}, environment: []string{"INSIGHTS_TOKEN=x"}, code: exitUsage,
			err: `an IPv6 host in brackets, such as http://[::1]:8080`,
		},
		"a database without brackets": {
			args: []string{"migrate", "--database=postgres://insights@::1:5432/insights"}, code: exitError, err: "an IPv6 host in brackets",
		},
		"an external URL without brackets": {
			args: []string{"serve", database, "--external-url=https://::1:8080"}, code: exitError, err: "an IPv6 host in brackets",
		},
		"Coder without brackets": {
			args: []string{"serve", database, "--auth-coder-url=http://::1:3000"}, code: exitError, err: "an IPv6 host in brackets",
		},
		"an issuer without brackets": {
			args: []string{"serve", database, "--oidc-issuer=https://::1:3000", "--oidc-audience=x"}, code: exitError,
			err: "an IPv6 host in brackets",
		},
		"no token":               {args: []string{"report", "roi"}, code: exitUsage, err: "INSIGHTS_TOKEN"},
		"no name of a parameter": {args: []string{"report", "roi", "timezone"}, code: exitUsage, err: "NAME=VALUE"},
		"a window twice": {
			args: []string{"report", "roi", "--last=7d", "end_time=x"}, code: exitUsage,
			err: "--last says what start_time and end_time would",
		},
		"no unit of --last": {args: []string{"report", "roi", "--last=7"}, code: exitUsage, err: `"7" must be 1d to 366d or 1w to 52w`},
		"too long --last":   {args: []string{"report", "roi", "--last=53w"}, code: exitUsage, err: "366d"},
		"no --last":         {args: []string{"export", "apps", "--last=0d"}, code: exitUsage, err: "366d"},
		"--last of no zone": {args: []string{"export", "apps", "--last=1d", "timezone=Mars/X"}, code: exitUsage, err: "timezone=Mars/X"},
		"a parameter twice": {args: []string{"export", "apps", "a=1", "a=2"}, code: exitUsage, err: "each name once"},
		"no server": {
			args: []string{"export", "apps", "--address=http://127.0.0.1:1"}, environment: []string{"INSIGHTS_TOKEN=x"}, code: exitError,
			err: "ask the server",
		},
		"unknown file format":    {args: []string{"export", "apps", "--format=xls"}, code: exitUsage, err: "parquet"},
		"neither true nor false": {args: []string{"serve", database, "--usage-stats", "maybe"}, code: exitUsage, err: "usage-stats"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A server that starts although it should have refused would run for ever.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			code, out, errs := commandWithin(ctx, c.environment, c.args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.err) {
				t.Errorf("code %d, want %d\nout: %s\nerr: %s\nwant %q and %q", code, c.code, out, errs, c.out, c.err)
			}
		})
	}
}

// Every flag with a time or a number has a range, which its default lies in.
func TestEveryFlagHasARange(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commandLine{})
	if err != nil {
		t.Fatal(err)
	}
	var flags []*kong.Flag
	var collect func(*kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			switch f.Target.Interface().(type) {
			case time.Duration, int:
				flags = append(flags, f)
				if f.Tag.Get(rangeTag) == "" {
					t.Errorf("%s has no range", f.ShortSummary())
				}
			}
			if err := f.Reset(); err != nil {
				t.Fatal(err)
			}
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(parser.Model.Node)
	if err := checkRanges(flags); err != nil || len(flags) < 12 {
		t.Errorf("%d flags, their defaults: %v", len(flags), err)
	}
}

// The switch or an address enables metrics; without either they are where they have always been.
func TestPrometheusFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":                         {nil, "127.0.0.1:2112"},
		"switch":                          {[]string{"--prometheus-enable"}, "127.0.0.1:2112"},
		"switch with a value":             {[]string{"--prometheus-enable=true"}, "127.0.0.1:2112"},
		"address":                         {[]string{"--prometheus-address=127.0.0.1:9"}, "127.0.0.1:9"},
		"switched off":                    {[]string{"--prometheus-enable=false"}, ""},
		"an address in spite of a switch": {[]string{"--prometheus-enable=false", "--prometheus-address=127.0.0.1:9"}, "127.0.0.1:9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var line commandLine
			parser, err := kong.New(&line)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(append([]string{"serve"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			if got := line.Serve.prometheus(); got != c.want {
				t.Errorf("metrics at %q, want %q", got, c.want)
			}
		})
	}
}

// program is the program running in the background of a test.
type program struct {
	lines   chan string // of what it writes
	stop    context.CancelFunc
	stopped chan int
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	p := &program{lines: make(chan string, 1000), stop: stop, stopped: make(chan int, 1)}
	go func() {
		p.stopped <- run(ctx, args, nil, strings.NewReader(""), w, w)
		_ = w.Close()
	}()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		stop()
		for range p.lines { // until it has stopped
		}
	})
	return p
}

// patience is how long a test waits for the program: with the race detector on a busy machine a month of history takes
// its time.
const patience = 15 * time.Minute

// wait reads on until a line matches and returns what the expression's groups matched.
func (p *program) wait(t *testing.T, expression string) []string {
	t.Helper()
	re, timeout := regexp.MustCompile(expression), time.After(patience)
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the program ended without %q:\n%s", expression, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if found := re.FindStringSubmatch(line); found != nil {
				return found[1:]
			}
		case <-timeout:
			t.Fatalf("no %q within %v:\n%s", expression, patience, strings.Join(seen, "\n"))
		}
	}
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	return fetch(t, url, "Coder-Session-Token", token)
}

func fetch(t *testing.T, url, header, value string) (int, string) {
	t.Helper()
	return send(t, http.MethodGet, url, header, value)
}

// signIn begins a session, as the page does.
func signIn(t *testing.T, server, token string) (int, string) {
	t.Helper()
	return send(t, http.MethodPost, server+"/api/v2/access/session", "Authorization", "Bearer "+token)
}

func send(t *testing.T, method, url, header, value string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// From nothing to an answer: serve makes the database, token create lets in, token revoke puts out.
func TestServe(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	database, scrapes := "--database=sqlite:"+filepath.Join(folder, "new.db"), filepath.Join(folder, "token")
	if err := os.WriteFile(scrapes, []byte("for-scrapes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(
		t, "serve", database, "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0",
		"--prometheus-token-file="+scrapes, "--pprof-address=localhost:0",
	)
	at := p.wait(
		t, `msg=serving database="sqlite file .*new.db" grpc=\S+ http=(\S+) prometheus=(\S+) pprof=(\S+) protection=none usage_stats=true`,
	)
	code, token, errs := command(t, nil, "token", "create", database, "--role", "owner")
	if code != exitOK || !regexp.MustCompile(`^tia_\w+\n$`).MatchString(token) {
		t.Fatalf("token create: %d %q %s", code, token, errs)
	}
	token = strings.TrimSpace(token)
	url := "http://" + at[0] + "/api/v2/insights/templates?start_time=2023-08-07T00:00:00Z&end_time=2023-08-14T00:00:00Z"
	if status, body := get(t, url, token); status != http.StatusOK {
		t.Errorf("question with the token: %d %s", status, body)
	}
	if _, list, _ := command(t, nil, "token", "list", database); !strings.Contains(list, token[4:14]) || strings.Contains(list, token) {
		t.Errorf("token list: %s", list)
	}
	if code, _, errs := command(t, nil, "token", "revoke", database, token[4:14]); code != exitOK {
		t.Errorf("token revoke: %s", errs)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if status, _ := get(t, url, token); status == http.StatusUnauthorized {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a revoked token still lets in after 5 s")
		}
		select {
		case <-p.stopped:
			t.Fatal("the server ended")
		case <-time.After(100 * time.Millisecond): // each call is a line of the log, and nobody reads it meanwhile
		}
	}
	for secret, want := range map[string]int{"for-scrapes": http.StatusOK, token: http.StatusUnauthorized} {
		status, body := fetch(t, "http://"+at[1]+"/metrics", "Authorization", "Bearer "+secret)
		if status != want || strings.Contains(body, "go_goroutines") != (want == http.StatusOK) {
			t.Errorf("metrics: %d, want %d: %s", status, want, body)
		}
	}
	status, body := get(t, "http://"+at[2]+"/debug/pprof/goroutine?debug=1", "")
	if status != http.StatusOK || !strings.Contains(body, "server.(*Server).Run") {
		t.Errorf("profile: %d %.300s", status, body)
	}
	if status, _ := fetch(t, "http://"+at[1]+"/debug/pprof/", "Authorization", "Bearer for-scrapes"); status != http.StatusNotFound {
		t.Errorf("profiles beside the metrics: %d", status)
	}
	p.stop()
	if code := <-p.stopped; code != exitOK {
		t.Errorf("serve ended with %d", code)
	}
}

// checkReports asks a server for reports and tables about a company with a month behind it.
func checkReports(t *testing.T, address, owner, member string) {
	t.Helper()
	ask := func(token string, args ...string) (int, string, string) {
		return command(t, []string{"INSIGHTS_TOKEN=" + token}, append(args, "--address="+address)...)
	}
	for name, want := range map[string]string{
		"capacity":     `(?s) to .*: \d+ people were active, at most \d+ at once\..*HOUR +AT MOST.*day \d\d:00 .*FOUR TIMES OUT OF FIVE\n2`,
		"optimization": `(?s)Defaults to change.*Apps that nobody used.*Options that nobody chose`,
		"support":      `(?s)Slow connections.*hardly used.*APP +USERS +PREFERRED BY +TIME\n\S+`,
		"roi":          `(?s)Adoption +\d+ % .*Utilization +\d+ % .*TEMPLATE +PEOPLE`,
	} {
		if code, out, errs := ask(owner, "report", name); code != exitOK || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("report %s: %d %s%s, want %s", name, code, out, errs, want)
		}
		if code, out, errs := ask(member, "report", name); code != exitError || out != "" || !strings.Contains(errs, "404") {
			t.Errorf("report %s as a member: %d %s%s", name, code, out, errs)
		}
	}
	for name, table := range map[string]string{
		"capacity": "sparse-templates", "optimization": "unused-options", "support": "low-usage-users", "roi": "roi-templates",
	} {
		code, out, errs := ask(owner, "report", name, "--format=json", "--last=4w", "timezone=Asia/Kolkata")
		var answer struct {
			Report struct {
				StartTime time.Time `json:"start_time"`
				EndTime   time.Time `json:"end_time"`
			}
		}
		if err := json.Unmarshal([]byte(out), &answer); code != exitOK || err != nil {
			t.Errorf("report %s as JSON: %d %s%s %v", name, code, out, errs, err)
		}
		start, days := answer.Report.StartTime, answer.Report.EndTime.Sub(answer.Report.StartTime)
		if start.Format("15:04 -0700") != "00:00 +0530" || days <= 27*24*time.Hour || days > 28*24*time.Hour {
			t.Errorf("the last 4 weeks begin at %v and last %v", start, days)
		}
		code, out, errs = ask(owner, "report", name, "--format=csv")
		if code != exitOK || strings.Count(out, "\ufeff") != 1 || !strings.Contains(out, "\r\n\r\n"+table+"\r\n") {
			t.Errorf("report %s as CSV: %d %s%s", name, code, out, errs)
		}
	}
	target := filepath.Join(t.TempDir(), "daus.parquet")
	if code, out, errs := ask(owner, "export", "daus", "--format=parquet", "-o", target); code != exitOK || out != "" {
		t.Errorf("export to a file: %d %s%s", code, out, errs)
	}
	if text, err := os.ReadFile(target); err != nil || !bytes.HasPrefix(text, []byte("PAR1")) || !bytes.HasSuffix(text, []byte("PAR1")) {
		t.Errorf("exported file: %v, %d bytes", err, len(text))
	}
	code, out, errs := ask(owner, "export", "daus", "tz_offset=2")
	if code != exitOK || !strings.HasPrefix(out, "\ufeffdate,amount,suppressed\r\n\"") || strings.Count(out, "\n") != 62 {
		t.Errorf("export: %d %s%s", code, out, errs)
	}
	if code, out, errs := ask(owner, "export", "apps", "-o", target); code != exitError || out != "" ||
		!strings.Contains(errs, `"start_time" is required`) {
		t.Errorf("export without a window: %d %s%s", code, out, errs)
	}
	if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) != 1 {
		t.Errorf("an export that failed left %v, %v", left, err)
	}
}

// The demo prints requests that can be pasted, and their answers are not empty. It feeds every family of metrics that
// dashboards rely on.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: make test")
	}
	t.Parallel()
	p := start(
		t, "demo", "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0", "--report-interval=1s",
	)
	page := p.wait(t, `page\s+(http://\S+)/#token=(tia_\S+)`)
	metrics := p.wait(t, `metrics\s+(\S+)`)[0]
	p.wait(t, `^Tokens$`)
	owner := p.wait(t, `owner\s+(tia_\S+)`)[0]
	p.wait(t, `template admin of \S+\s+(tia_\S+)`)
	member := p.wait(t, `member.*(tia_\S+)`)[0]
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} { // the link works once
		if status, body := signIn(t, page[0], page[1]); status != want {
			t.Errorf("sign in by the link: %d %s, want %d", status, body, want)
		}
	}
	var urls []string
	for range 3 {
		found := p.wait(t, `curl -H 'Coder-Session-Token: (\S+)' '(\S+)'`)
		status, body := get(t, found[1], found[0])
		var answer struct {
			Report struct {
				ActiveUsers int              `json:"active_users"`
				Users       []map[string]any `json:"users"`
			}
		}
		err := json.Unmarshal([]byte(body), &answer)
		if err != nil || status != http.StatusOK || answer.Report.ActiveUsers+len(answer.Report.Users) == 0 {
			t.Errorf("%s: %d %v %.300s", found[1], status, err, body)
		}
		if status, body := get(t, found[1], member); status != http.StatusNotFound {
			t.Errorf("%s as a member: %d %.300s", found[1], status, body)
		}
		urls = append(urls, found[1])
	}
	status, _ := get(t, strings.Replace(urls[0], "/templates?", "/user-activity?interval=day&", 1), owner)
	if status != http.StatusBadRequest {
		t.Errorf("a question with a parameter that it does not know: %d", status)
	}
	checkReports(t, page[0], owner, member)
	checkQueries(t, page[0], owner, member)
	for deadline := time.Now().Add(patience); ; {
		_, page := get(t, metrics, "")
		right, wrong := wrongFamilies(t, page)
		if len(wrong) == 0 {
			t.Logf("%d families are there and right", right)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d families are right after %v, the others are not:\n%s", right, patience, strings.Join(wrong, "\n"))
		}
		select {
		case <-p.stopped:
			t.Fatal("the demo ended")
		case <-time.After(time.Second):
		}
	}
	p.stop()
	if code := <-p.stopped; code != exitOK {
		t.Errorf("demo ended with %d", code)
	}
}
