package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// reportDays is what a report is about if nobody says otherwise: whole weeks, as many as a projection needs.
const reportDays = 28

// reportFlags say what to ask and how to print the answer.
type reportFlags struct {
	Format string `default:"text" enum:"text,json,csv" help:"${enum}: a page to read, the answer of the server, or its tables one after the other, each under its name. Default: ${default}."`
	remoteFlags
}

// printReport asks for a report and prints it, as a page of text unless something else is asked for. Tables are what export calls them.
func printReport[A proto.Message](
	ctx context.Context, c console, f reportFlags, name string, tables []string, answer A, page func(w io.Writer, answer A),
) error {
	query, err := f.query()
	if err != nil {
		return err
	}
	if !query.Has("start_time") && !query.Has("end_time") {
		zone, err := zoneOf(query)
		if err != nil {
			return err
		}
		now := time.Now().In(zone)
		setWindow(query, midnight(now, reportDays), midnight(now, 0))
	}
	switch path := "/api/v2/insights/reports/" + name; f.Format {
	case "json":
		return f.print(ctx, c, c.out, path, query)
	case "csv":
		return f.printTables(ctx, c, tables, query)
	default:
		if err := f.askFor(ctx, c, path, query, answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		page(w, answer)
		return w.Flush()
	}
}

// byteOrderMark begins CSV that spreadsheets read.
const byteOrderMark = "\ufeff"

// printTables asks for tables, which come in one archive, and prints them one after the other.
func (f reportFlags) printTables(ctx context.Context, c console, tables []string, query url.Values) error {
	query.Set("tables", strings.Join(tables, ","))
	query.Set("format", f.Format)
	text, err := f.answer(ctx, c, "/api/v2/insights/export", query)
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	all := []byte(byteOrderMark)
	for i, file := range archive.File {
		table, err := fs.ReadFile(archive, file.Name)
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if i > 0 {
			all = append(all, "\r\n"...)
		}
		all = append(all, strings.TrimSuffix(file.Name, ".csv")+"\r\n"...)
		all = append(all, bytes.TrimPrefix(table, []byte(byteOrderMark))...)
	}
	_, err = c.out.Write(all)
	return err
}

// windowed is a report about a window.
type windowed interface {
	GetStartTime() string
	GetEndTime() string
	GetEmptyWindow() bool
}

// period says which time a report is about.
func period(r windowed) string {
	text := fmt.Sprintf("%s to %s", r.GetStartTime(), r.GetEndTime())
	if r.GetEmptyWindow() {
		text += ", an empty window"
	}
	return text
}

// heading begins a part of a page, and says so if it is empty.
func heading(w io.Writer, title string, rows int, columns string) {
	fmt.Fprintf(w, "\n%s\n", title)
	if rows == 0 {
		fmt.Fprintln(w, "none")
		return
	}
	fmt.Fprintln(w, columns)
}

// printWithheld says what a report leaves out where small groups are hidden.
func printWithheld(w io.Writer, parts []*insightsv1.WithheldPart) {
	heading(w, "Not told, because small groups are hidden", len(parts), "PART\tWHY")
	for _, p := range parts {
		fmt.Fprintf(w, "%s\t%s\n", p.GetPart(), p.GetReason())
	}
}

type reportCapacityCommand struct{ reportFlags }

// Run prints the report.
func (f reportCapacityCommand) Run(ctx context.Context, c console) error {
	return printReport(
		ctx, c, f.reportFlags, "capacity",
		[]string{"capacity", "capacity-hours", "capacity-weeks", "capacity-projection", "sparse-templates"},
		&insightsv1.GetCapacityReportResponse{}, printCapacity,
	)
}

// busiestHours is how many hours of the week are printed.
const busiestHours = 5

func printCapacity(w io.Writer, answer *insightsv1.GetCapacityReportResponse) {
	r := answer.GetReport()
	if len(answer.GetWithheld()) > 0 {
		fmt.Fprintf(w, "%s: at least %d people were active.\n", period(r), r.GetActiveUsers())
		heading(w, "People, by week", len(r.GetWeeks()), "WEEK OF\tACTIVE")
		for _, week := range r.GetWeeks() {
			fmt.Fprintf(w, "%.10s\t%d\n", week.GetStartTime(), week.GetActiveUsers())
		}
		printWithheld(w, answer.GetWithheld())
		return
	}
	fmt.Fprintf(
		w, "%s: %d people were active, at most %d at once.\n", period(r), r.GetActiveUsers(), r.GetPeakUsers(),
	)
	hours := slices.Clone(r.GetHours())
	slices.SortStableFunc(hours, func(a, b *insightsv1.HourLoad) int { return cmp.Compare(b.GetMeanPeakUsers(), a.GetMeanPeakUsers()) })
	hours = hours[:min(busiestHours, len(hours))]
	heading(w, "Busiest hours of the week", len(hours), "HOUR\tAT MOST\tUSUALLY")
	for _, h := range hours {
		fmt.Fprintf(w, "%s %02d:00\t%d\t%.1f\n", h.GetWeekday(), h.GetHour(), h.GetPeakUsers(), h.GetMeanPeakUsers())
	}
	heading(w, "People at once, by week", len(r.GetWeeks()), "WEEK OF\tAT MOST\tACTIVE")
	for _, week := range r.GetWeeks() {
		fmt.Fprintf(w, "%.10s\t%d\t%d\n", week.GetStartTime(), week.GetPeakUsers(), week.GetActiveUsers())
	}
	heading(w, "If that goes on", len(r.GetProjection()), "WEEK OF\tAT MOST\tFOUR TIMES OUT OF FIVE")
	for _, week := range r.GetProjection() {
		fmt.Fprintf(w, "%.10s\t%.0f\t%.0f to %.0f\n", week.GetStartTime(), week.GetPeakUsers(), week.GetLow(), week.GetHigh())
	}
	heading(w, "Templates that few people use", len(r.GetSparseTemplates()), "TEMPLATE\tPEOPLE\tTIME\tWORKSPACES")
	for _, t := range r.GetSparseTemplates() {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", t.GetName(), t.GetActiveUsers(), hoursOf(t.GetSeconds()), t.GetWorkspaces())
	}
}

type reportOptimizationCommand struct{ reportFlags }

// Run prints the report.
func (f reportOptimizationCommand) Run(ctx context.Context, c console) error {
	return printReport(
		ctx, c, f.reportFlags, "optimization", []string{"default-changes", "unused-apps", "unused-options"},
		&insightsv1.GetOptimizationReportResponse{}, printOptimization,
	)
}

func printOptimization(w io.Writer, answer *insightsv1.GetOptimizationReportResponse) {
	r := answer.GetReport()
	fmt.Fprintln(w, period(r))
	heading(w, "Defaults to change", len(r.GetDefaultChanges()), "ADVICE")
	for _, d := range r.GetDefaultChanges() {
		fmt.Fprintln(w, d.GetMessage())
	}
	if len(answer.GetWithheld()) > 0 {
		printWithheld(w, answer.GetWithheld())
		return
	}
	heading(w, "Apps that nobody used", len(r.GetUnusedApps()), "TEMPLATE\tAPP")
	for _, a := range r.GetUnusedApps() {
		fmt.Fprintf(w, "%s\t%s\n", a.GetTemplateName(), a.GetSlug())
	}
	heading(w, "Options that nobody chose", len(r.GetUnusedOptions()), "PARAMETER\tOPTION\tOTHER CHOICES")
	for _, o := range r.GetUnusedOptions() {
		fmt.Fprintf(w, "%s\t%s\t%d\n", o.GetParameterName(), o.GetValue(), o.GetWorkspaces())
	}
}

type reportSupportCommand struct{ reportFlags }

// Run prints the report.
func (f reportSupportCommand) Run(ctx context.Context, c console) error {
	return printReport(
		ctx, c, f.reportFlags, "support", []string{"high-latency-users", "low-usage-users", "app-preferences"},
		&insightsv1.GetSupportReportResponse{}, printSupport,
	)
}

func printSupport(w io.Writer, answer *insightsv1.GetSupportReportResponse) {
	r := answer.GetReport()
	fmt.Fprintln(w, period(r))
	heading(w, "Slow connections", len(r.GetHighLatencyUsers()), "USER\tKIND\tMEDIAN\tP95\tSAMPLES")
	for _, u := range r.GetHighLatencyUsers() {
		fmt.Fprintf(
			w, "%s\t%s\t%.0f ms\t%.0f ms\t%d\n", marked(u.GetUsername(), u.GetDeleted()), u.GetKind(), u.GetP50(), u.GetP95(),
			u.GetSamples(),
		)
	}
	heading(w, "Workspaces that are hardly used", len(r.GetLowUsageUsers()), "USER\tWORKSPACES\tTIME\tDAYS")
	for _, u := range r.GetLowUsageUsers() {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", u.GetUsername(), u.GetWorkspaces(), hoursOf(u.GetSeconds()), u.GetActiveDays())
	}
	heading(w, "What people use", len(r.GetAppPreferences()), "APP\tUSERS\tPREFERRED BY\tTIME")
	for _, a := range r.GetAppPreferences() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", a.GetDisplayName(), a.GetUsers(), a.GetPreferredBy(), hoursOf(a.GetSeconds()))
	}
}

type reportROICommand struct{ reportFlags }

// Run prints the report.
func (f reportROICommand) Run(ctx context.Context, c console) error {
	return printReport(
		ctx, c, f.reportFlags, "roi", []string{"roi", "roi-templates"},
		&insightsv1.GetROIReportResponse{}, printROI,
	)
}

func printROI(w io.Writer, answer *insightsv1.GetROIReportResponse) {
	r := answer.GetReport()
	if len(answer.GetWithheld()) > 0 {
		fmt.Fprintf(w, "%s: at least %d people were active.\n", period(r), r.GetActiveUsers())
		heading(w, "Templates", len(r.GetTemplates()), "TEMPLATE\tPEOPLE")
		for _, t := range r.GetTemplates() {
			fmt.Fprintf(w, "%s\t%d\n", marked(t.GetName(), t.GetDeleted()), t.GetActiveUsers())
		}
		printWithheld(w, answer.GetWithheld())
		return
	}
	fmt.Fprintf(w, "%s\n\n", period(r))
	fmt.Fprintf(w, "Adoption\t%s\t%d of %d people\n", percent(r.GetAdoption()), r.GetActiveUsers(), r.GetEligibleUsers())
	fmt.Fprintf(
		w, "Utilization\t%s\t%s used of %s running\n", percent(r.GetUtilization()), hoursOf(r.GetActiveSeconds()),
		hoursOf(r.GetRunningSeconds()),
	)
	heading(w, "Templates", len(r.GetTemplates()), "TEMPLATE\tPEOPLE\tUSED\tRUNNING\tUTILIZATION")
	for _, t := range r.GetTemplates() {
		fmt.Fprintf(
			w, "%s\t%d\t%s\t%s\t%s\n", marked(t.GetName(), t.GetDeleted()), t.GetActiveUsers(), hoursOf(t.GetActiveSeconds()),
			hoursOf(t.GetRunningSeconds()), percent(t.GetUtilization()),
		)
	}
}

// marked is a name, and that who or what has it was deleted: another may have the name now.
func marked(name string, deleted bool) string {
	if deleted {
		return name + " (deleted)"
	}
	return name
}

// hoursOf shows seconds in hours.
func hoursOf(seconds int64) string { return fmt.Sprintf("%.1f h", float64(seconds)/3600) }

// percent shows a ratio; a negative one is unknown.
func percent(ratio float64) string {
	if ratio < 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.0f %%", 100*ratio)
}
