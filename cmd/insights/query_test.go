package main

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// The window of a question, in the zone whose days it is about.
func TestQueryWindow(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 10, 14, 9, 30, 0, 0, zone)
	for name, tt := range map[string]struct {
		f          queryCommand
		last       int
		query      url.Values
		start, end string
		fault      string
	}{
		"nothing said": {start: "2026-09-16T00:00:00+02:00", end: "2026-10-14T00:00:00+02:00"},
		"last":         {last: 7, start: "2026-10-08T00:00:00+02:00", end: "2026-10-14T10:00:00+02:00"},
		"last, compared": {
			f: queryCommand{Compare: "year"}, last: 7, start: "2026-10-07T00:00:00+02:00", end: "2026-10-14T00:00:00+02:00",
		},
		"last, compared with none": {
			f: queryCommand{Compare: "none"}, last: 1, start: "2026-10-14T00:00:00+02:00", end: "2026-10-14T10:00:00+02:00",
		},
		"dates": {
			f: queryCommand{From: "2026-03-01", To: "2026-04-01"}, start: "2026-03-01T00:00:00+01:00", end: "2026-04-01T00:00:00+02:00",
		},
		"until now": {f: queryCommand{From: "2026-10-01"}, start: "2026-10-01T00:00:00+02:00", end: "2026-10-14T10:00:00+02:00"},
		"until today, compared": {
			f: queryCommand{From: "2026-10-01", Compare: "previous"}, start: "2026-10-01T00:00:00+02:00", end: "2026-10-14T00:00:00+02:00",
		},
		"times": {
			f:     queryCommand{From: "2026-10-01T00:00:00Z", To: "2026-10-02T00:00:00Z"},
			start: "2026-10-01T00:00:00Z", end: "2026-10-02T00:00:00Z",
		},
		"parameters":       {query: url.Values{"start_time": {"x"}, "end_time": {"y"}}, start: "x", end: "y"},
		"no begin":         {f: queryCommand{To: "2026-10-02"}, fault: "--from"},
		"no date":          {f: queryCommand{From: "2026-02-30"}, fault: "--from"},
		"no date in --to":  {f: queryCommand{From: "2026-02-03", To: "today"}, fault: "--to"},
		"twice":            {f: queryCommand{From: "2026-02-03"}, last: 1, fault: "--last"},
		"also a parameter": {query: url.Values{"end_time": {"y"}}, last: 1, fault: "--last"},
	} {
		query := url.Values{}
		for name, values := range tt.query {
			query[name] = values
		}
		err := tt.f.setWindow(query, now, tt.last)
		var usage usageError
		if tt.fault != "" && (!errors.As(err, &usage) || !strings.HasPrefix(err.Error(), tt.fault)) {
			t.Errorf("%s: %v, want a fault of %s", name, err, tt.fault)
		}
		if got := query.Get("start_time") + " " + query.Get("end_time"); tt.fault == "" && (err != nil || got != tt.start+" "+tt.end) {
			t.Errorf("%s: %s %v, want %s %s", name, got, err, tt.start, tt.end)
		}
	}
}

// What a table looks like.
func TestQueryTable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		metrics, by, answer, want string
	}{
		"compared": {
			"active_users,used_seconds,latency_p50_ms", "group", `{
				"window": {"start_time": "A", "end_time": "B"}, "before_window": {"start_time": "C", "end_time": "A", "has_data_from": "D"},
				"rows": [
					{"keys": [{"label": "李雷"}], "values": {"active_users": "1234", "used_seconds": "362340", "latency_p50_ms": 8.04},
						"before": {"active_users": "1000", "used_seconds": "362340", "latency_p50_ms": 16.2}},
					{"keys": [{"label": "Zoë", "deleted": true}], "values": {"active_users": "1", "used_seconds": "60"},
						"before": {"active_users": "0", "used_seconds": "120"}},
					{"keys": [{"label": "ops"}], "suppressed": true, "values": {}}
				],
				"totals": {"values": {"active_users": "1235", "used_seconds": "361800", "latency_p50_ms": 1200}},
				"other_actors": [{"actor": "service", "actors": "3", "seconds": "5400"}],
				"reasons": ["before_first_record"], "withheld": ["small_groups"]
			}`, `A to B, compared with C to A

GROUP          ACTIVE USERS  CHANGE    USED  CHANGE  LATENCY P50  CHANGE
李雷                  1,234   +23 %   101 h     0 %       8.0 ms   -50 %
Zoë (deleted)             1     new   1 min   -50 %            -       -
ops                  hidden       -  hidden       -       hidden       -

TOTAL                 1,235       -   101 h       -     1,200 ms       -

Hidden figures are of too few people, or would tell of them.
Not compared in full: what is stored begins D.
Not counted: 3 service with 1 h 30 min. --actor=all counts everybody.
`,
		},
		"intervals": {"used_seconds", "interval,app", `{
				"window": {"start_time": "A", "end_time": "B"},
				"rows": [
					{"keys": [{"label": "2026-10"}, {"label": "Terminal"}], "values": {"used_seconds": "359940"}, "partial": true},
					{"keys": [{"label": "2026-11"}, {"label": "VS Code"}], "values": {"used_seconds": "0"}}
				],
				"totals": {"values": {"used_seconds": "359940"}}, "next_page_token": "T"
			}`, `A to B

INTERVAL   APP              USED
2026-10 *  Terminal  99 h 59 min
2026-11    VS Code           0 s

TOTAL                99 h 59 min

* A part of the interval: the window cuts it, or it is not over yet.
There is more: ask again with page_token=T
`},
		"labels of several": {"builds", "template", `{
				"window": {"start_time": "A", "end_time": "B"},
				"rows": [
					{"keys": [{"value": "1", "label": "Docker"}], "values": {"builds": "3"}},
					{"keys": [{"value": "2", "label": "Docker", "deleted": true}], "values": {"builds": "2"}},
					{"keys": [{"value": "3", "label": "Go"}], "values": {"builds": "1"}}
				],
				"totals": {"values": {"builds": "6"}}
			}`, `A to B

TEMPLATE            BUILDS
Docker 1                 3
Docker 2 (deleted)       2
Go                       1

TOTAL                    6
`},
		"one value in two rows": {"builds", "template,interval", `{
				"window": {"start_time": "A", "end_time": "B"},
				"rows": [
					{"keys": [{"value": "1", "label": "Go"}, {"value": "a", "label": "2026-10"}], "values": {"builds": "3"}},
					{"keys": [{"value": "1", "label": "Go"}, {"value": "b", "label": "2026-11"}], "values": {"builds": "2"}}
				],
				"totals": {"values": {"builds": "5"}}
			}`, `A to B

TEMPLATE  INTERVAL  BUILDS
Go        2026-10        3
Go        2026-11        2

TOTAL                    5
`},
		"values that nothing has": {"builds", "parameter:size", `{
				"window": {"start_time": "A", "end_time": "B"}, "totals": {"values": {"builds": "5"}}
			}`, `A to B

PARAMETER:SIZE  BUILDS
TOTAL                5

No rows: nothing that was counted has a value of parameter:size.
`},
		"published": {"launches", "app", `{
				"window": {"start_time": "A", "end_time": "C"}, "data_as_of": "B",
				"rows": [{"keys": [{"value": "k9s", "label": "K9s"}], "values": {"launches": "5"}}],
				"totals": {"values": {"launches": "5"}}, "withheld": ["small_groups", "session_apps"], "reasons": ["not_published"]
			}`, `A to C

APP    LAUNCHES
K9s           5

TOTAL         5

Not told: what too few people did.
Not told: session apps one by one. --by=family tells their families.
Told until B: later days are not published yet.
`},
		"nothing published": {"launches", "app", `{
				"window": {"start_time": "A", "end_time": "B"}, "totals": {"values": {}, "suppressed": true},
				"withheld": ["small_groups"], "reasons": ["small_groups"]
			}`, `A to B

APP    LAUNCHES
TOTAL    hidden

Hidden figures are of too few people, or would tell of them.
Nothing is told of the published days: too few people took part, or nobody did.
`},
		"nothing apart": {"peak_users", "", `{
				"window": {"start_time": "A", "end_time": "A"}, "totals": {"values": {"peak_users": "0"}}, "reasons": ["empty_window"]
			}`, "A to A\n\nPEAK USERS\n         0\n\nThe window is empty.\n"},
	} {
		answer := &insightsv1.QueryUsageResponse{}
		if err := protojson.Unmarshal([]byte(tt.answer), answer); err != nil {
			t.Fatal(err)
		}
		var by []string
		if tt.by != "" {
			by = strings.Split(tt.by, ",")
		}
		var got strings.Builder
		if err := printQuery(&got, strings.Split(tt.metrics, ","), by, answer); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSpent(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]string{
		0: "0 s", 59: "59 s", 60: "1 min", 95: "1 min 35 s", 3599: "59 min 59 s", 3600: "1 h 00 min", 359_999: "99 h 59 min",
		360_000: "100 h", 361_799: "100 h", 361_800: "101 h", 44_444_440: "12,346 h",
	} {
		if got := spent(seconds); got != want {
			t.Errorf("%d s: %q, want %q", seconds, got, want)
		}
	}
}

// checkQueries asks a server for tables of its own making about a company with a month behind it.
func checkQueries(t *testing.T, address, owner, member string) {
	t.Helper()
	ask := func(token string, args ...string) (int, string, string) {
		return command(t, []string{"INSIGHTS_TOKEN=" + token}, append(append([]string{"query"}, args...), "--address="+address)...)
	}
	target := filepath.Join(t.TempDir(), "rows")
	for _, tt := range []struct{ args, want string }{
		{"--metrics=active_users,used_seconds", `^\d{4}.* to \d{4}.*\n\nACTIVE USERS +USED\n +\d+ +[\d,]+ h\n`},
		{
			"--metrics=used_seconds --by=template,interval --interval=week --last=28d",
			`(?s)TEMPLATE +INTERVAL +USED\n.* \* +\d.*\nTOTAL .*\n\* A part of`,
		},
		{
			"--metrics=active_users --by=app --compare=previous --last=7d timezone=Asia/Kolkata",
			`(?s)^\d{4}-\d\d-\d\dT00:00:00\+05:30 to .*, compared with .*ACTIVE USERS +CHANGE.*TOTAL +[\d,]+ +\S+ %\n`,
		},
		{
			"--metrics=active_days --by=user --filter=app=vscode --order=user page_size=2",
			`(?s)USER +ACTIVE DAYS\n\S+ +\d+\n\S+ +\d+\n\nTOTAL +[\d,]+\n.*page_token=`,
		},
		{"--metrics=active_users --by=template --format=json", `^\{"rows":\[`},
		{"--metrics=active_users --by=template --format=csv", `^\x{feff}key_1_value,.*active_users`},
		{"--metrics=active_users --by=template --format=ndjson", `^\{"key_1_value":`},
		{"--metrics=active_users --by=template --format=parquet -o " + target, `^$`},
	} {
		if code, out, errs := ask(owner, strings.Fields(tt.args)...); code != exitOK || !regexp.MustCompile(tt.want).MatchString(out) {
			t.Errorf("query %s: %d %s%s, want %s", tt.args, code, out, errs, tt.want)
		}
	}
	// What is listed is read as the server reads it, wherever it stands.
	listed := []string{"--metrics=active_users, used_seconds", "dimensions=template, actor"}
	want := regexp.MustCompile(`TEMPLATE +ACTOR +ACTIVE USERS +USED\n\S.* person +\d+ +[\d,]+ h`)
	if code, out, errs := ask(owner, listed...); code != exitOK || !want.MatchString(out) {
		t.Errorf("query %q: %d %s%s, want %s", listed, code, out, errs, want)
	}
	if text, err := os.ReadFile(target); err != nil || !strings.HasPrefix(string(text), "PAR1") {
		t.Errorf("rows in a file: %v, %d bytes", err, len(text))
	}
	for flag, args := range map[string]string{
		"--metrics: ":    "--metrics=active",
		"--by: ":         "--metrics=active_users --by=colour",
		"--filter: ":     "--metrics=active_users --filter=colour=red",
		"--filter: a=b,": "--metrics=active_users --filter=a=b,c=d",
		"--order: ":      "--metrics=active_users --order=launches",
		"--actor: ":      "--metrics=active_users --actor=robot",
		"--timezone":     "--metrics=active_users --timezone=Mars/Olympus",
		"--interval: ":   "--metrics=active_users --interval=day",
		"--to: ":         "--metrics=active_users --from=2020-01-01 --to=2025-01-01",
		"--from: ":       "--metrics=active_users --from=2999-01-01 --to=2999-01-02",
		"--compare":      "--metrics=active_users --compare=before",
		"page_size=: ":   "--metrics=active_users page_size=-1",
		"each name once": "--metrics=active_users metrics=launches",
	} {
		if code, out, errs := ask(owner, strings.Fields(args)...); code != exitUsage || out != "" || !strings.Contains(errs, flag) {
			t.Errorf("query %s: %d %s%s, want %s", args, code, out, errs, flag)
		}
	}
	if code, out, errs := ask(member, "--metrics=active_users"); code != exitError || out != "" || !strings.Contains(errs, "404") {
		t.Errorf("query as a member: %d %s%s", code, out, errs)
	}
}
