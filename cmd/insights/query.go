package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// queryDays is how many whole days a question is about if nobody says otherwise, as a report.
const queryDays = reportDays

type queryCommand struct {
	Metrics   []string `required:"" placeholder:"METRIC" help:"What to count, up to 8, such as active_users,used_seconds. The list is above."`
	By        []string `placeholder:"DIMENSION" help:"What tells rows apart, up to 2, such as group,interval. The list is above."`
	Filter    []string `sep:"none" placeholder:"DIMENSION=VALUE" help:"What to count alone, or with != what to leave out. It may be repeated: values of one dimension are one set, dimensions narrow each other."`
	From      string   `placeholder:"DATE" help:"Begin, such as 2026-10-01, or a time in RFC 3339. Default: the four weeks before today."`
	To        string   `placeholder:"DATE" help:"End, which is not within, in the same form. Default: now; with --compare, the present day's midnight."`
	Timezone  string   `placeholder:"ZONE" help:"Whose days, such as Europe/Berlin. Default: those of this machine."`
	Interval  string   `default:"" enum:",hour,day,week,month,default" placeholder:"LENGTH" help:"Length of intervals, with --by=interval: hour, day, week or month. Default: what suits the templates."`
	WeekStart string   `default:"" enum:",monday,sunday" placeholder:"DAY" help:"First day of weeks, monday or sunday. Default: monday."`
	Actor     []string `placeholder:"ACTOR" help:"Whose use: person, service, system or all. Default: person."`
	Compare   string   `default:"" enum:",none,previous,weekdays,year" placeholder:"WINDOW" help:"Show the change to a window before: previous, weekdays or year. The window of --last ends with yesterday then."`
	Order     string   `placeholder:"COLUMN" help:"A metric or dimension of the question; --order=-COLUMN for descending. Default: the first metric, descending."`
	Format    string   `default:"table" enum:"table,csv,ndjson,parquet,json" help:"${enum}: a table to read, a file with a row for each, or the answer of the server. Default: ${default}."`
	Output    string   `short:"o" placeholder:"FILE" help:"Write this file, whole or not at all. Default: standard output."`
	remoteFlags
}

// Help stands before the flags.
func (queryCommand) Help() string {
	return `Metrics: active_users, used_seconds, launches, active_days, peak_users, workspaces; latency_p50_ms, latency_p95_ms,
latency_samples; running_seconds, attended_seconds, unattended_seconds, unknown_seconds; builds, failed_builds, ready_p50_seconds,
ready_p95_seconds.

Dimensions: interval, hour_of_week, template, template_version, organization, group, user, workspace, app, family, editor, actor,
purpose, region, parameter:NAME, parameter:preset. Filters take all but the first two; docs/query.md says what goes with what.

Examples:

    insights query --metrics=active_users,used_seconds
    insights query --metrics=used_seconds --by=group,interval --interval=month --from=2026-07-01 --to=2026-10-01
    insights query --metrics=active_users --by=template --last=28d --compare=previous
    insights query --metrics=used_seconds,active_days --by=user --filter=app=vscode --order=user
    insights query --metrics=latency_p95_ms --by=user,region --last=7d --format=csv -o slow.csv

The totals count everything once, and are not the sum of the rows.`
}

// Run asks, and prints what is answered.
func (f queryCommand) Run(ctx context.Context, c console) error {
	query, err := f.question()
	if err != nil {
		return err
	}
	const path = "/api/v2/insights/query"
	switch f.Format {
	case "table":
		answer := &insightsv1.QueryUsageResponse{}
		if err = f.askFor(ctx, c, path, query, answer); err == nil {
			err = writeOutput(c, f.Output, func(w io.Writer) error {
				return printQuery(w, namesIn(query, "metrics"), namesIn(query, "dimensions"), answer)
			})
		}
	case "json":
		err = writeOutput(c, f.Output, func(w io.Writer) error { return f.print(ctx, c, w, path, query) })
	default:
		err = f.export(ctx, c, "query", f.Format, f.Output, query)
	}
	return nameFlags(err)
}

// namesIn are the names that a parameter lists, as a server reads them: blanks around them do not count.
func namesIn(query url.Values, parameter string) (names []string) {
	if query.Get(parameter) == "" {
		return nil
	}
	for name := range strings.SplitSeq(query.Get(parameter), ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

// question are the parameters of the question.
func (f queryCommand) question() (url.Values, error) {
	for _, p := range []struct {
		flag   string
		values []string
	}{
		{"metrics", f.Metrics},
		{"by", f.By},
		{"filter", f.Filter},
		{"timezone", []string{f.Timezone}},
		{"interval", []string{f.Interval}},
		{"week-start", []string{f.WeekStart}},
		{"actor", f.Actor},
		{"compare", []string{f.Compare}},
		{"order", []string{f.Order}},
	} {
		text := strings.Join(p.values, ",")
		if text == "" {
			continue
		}
		for _, filter := range f.Filter {
			if p.flag == "filter" && strings.Contains(filter, ",") {
				return nil, usageError("--filter: " + filter + ": want one filter, without a comma; repeat the flag for more")
			}
		}
		f.Parameters = append(f.Parameters, parameterOf(p.flag)+"="+text)
	}
	last := f.Last
	f.Last = 0 // the window is this question's own
	query, err := f.query()
	if err != nil {
		return nil, err
	}
	zone, err := zoneOf(query)
	if err != nil && f.Timezone != "" {
		err = usageError("--" + err.Error())
	}
	if err != nil {
		return nil, err
	}
	return query, f.setWindow(query, time.Now().In(zone), int(last))
}

// setWindow adds the window of the question, unless parameters say it.
func (f queryCommand) setWindow(query url.Values, now time.Time, last int) error {
	named, ranged := query.Has("start_time") || query.Has("end_time"), f.From != "" || f.To != ""
	switch {
	case named && ranged, named && last > 0, ranged && last > 0:
		return usageError("--last, --from with --to, and start_time= with end_time= say the same: choose one")
	case named:
		return nil
	case ranged && f.From == "":
		return usageError("--from: is needed with --to")
	}
	today := midnight(now, 0)
	start, end := midnight(now, queryDays).Format(time.RFC3339), today.Format(time.RFC3339)
	compares := f.Compare != "" && f.Compare != "none"
	if !compares && (last > 0 || ranged) {
		end = time.Date(now.Year(), now.Month(), now.Day(), now.Hour()+1, 0, 0, 0, now.Location()).Format(time.RFC3339)
	}
	switch {
	case last > 0 && compares:
		start = midnight(now, last).Format(time.RFC3339)
	case last > 0:
		start = midnight(now, last-1).Format(time.RFC3339)
	}
	for _, m := range []struct {
		flag, value string
		to          *string
	}{{"--from", f.From, &start}, {"--to", f.To, &end}} {
		if m.value == "" {
			continue
		}
		*m.to = m.value
		if date, err := time.ParseInLocation(time.DateOnly, m.value, now.Location()); err == nil {
			*m.to = date.Format(time.RFC3339)
		} else if _, err := time.Parse(time.RFC3339, m.value); err != nil {
			return usageError(fmt.Sprintf(
				"%s: %s: want a date such as 2026-10-01, or a time such as 2026-10-01T00:00:00+02:00", m.flag, m.value,
			))
		}
	}
	query.Set("start_time", start)
	query.Set("end_time", end)
	return nil
}

// parameters are those that flags do not have the name of.
var parameters = map[string]string{
	"by": "dimensions", "filter": "filters", "week-start": "week_start", "order": "order_by", "from": "start_time", "to": "end_time",
}

// parameterOf is the parameter that a flag says.
func parameterOf(flag string) string {
	if name, other := parameters[flag]; other {
		return name
	}
	return flag
}

// nameFlags says what a server finds wrong with a question in the words of the command line.
func nameFlags(err error) error {
	var refused refusedError
	if !errors.As(err, &refused) || len(refused.body.GetValidations()) == 0 {
		return err
	}
	names := map[string]string{
		"metrics": "--metrics", "timezone": "--timezone", "interval": "--interval", "actor": "--actor", "compare": "--compare",
	}
	quoted := []string{`"timezone"`, "--timezone"} // "interval" is a dimension as well
	for flag, parameter := range parameters {
		names[parameter] = "--" + flag
		quoted = append(quoted, `"`+parameter+`"`, "--"+flag)
	}
	var errs []error
	for _, v := range refused.body.GetValidations() {
		name, known := names[v.GetField()]
		if !known {
			name = v.GetField() + "="
		}
		said := strings.TrimPrefix(v.GetDetail(), fmt.Sprintf("Query param %q ", v.GetField()))
		errs = append(errs, usageError(name+": "+strings.NewReplacer(quoted...).Replace(said)))
	}
	return errors.Join(errs...)
}
