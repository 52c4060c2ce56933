package server_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
)

// allDimensions are those that the naive reference of the general question knows. All but the first two are filters as well.
var allDimensions = []string{
	"interval", "hour_of_week", "template", "organization", "group", "user", "workspace", "template_version", "app", "family", "editor",
	"actor", "purpose", "region", "parameter:region", "parameter:preset",
}

// Metrics of the naive reference by what they are about.
var (
	metricsOfUse = slices.Concat(queriedPairs[0].metrics, queriedPairs[1].metrics, queriedPairs[2].metrics)

	metricsOfTime, metricsOfBuilds = queriedPairs[3].metrics, queriedPairs[4].metrics
)

// queriedPairs are the metrics that the naive reference knows and the dimensions that they do not go with. What is added has its figures in
// queryCell.figures, and its values in queryReference.valuesOf and world.filterValues.
var queriedPairs = []struct{ metrics, not []string }{
	{[]string{"active_users", "used_seconds", "launches", "active_days", "workspaces"}, nil},
	{[]string{"peak_users"}, []string{"user", "workspace", "app", "family", "editor"}},
	{[]string{"latency_p50_ms", "latency_p95_ms", "latency_samples"}, nil},
	{
		[]string{"running_seconds", "attended_seconds", "unattended_seconds", "unknown_seconds"},
		[]string{"app", "family", "editor", "region"},
	},
	{
		[]string{"builds", "failed_builds", "ready_p50_seconds", "ready_p95_seconds"},
		[]string{"app", "family", "editor", "region", "hour_of_week"},
	},
}

// dimensionsOf are those that a metric goes with.
func dimensionsOf(metric string) []string {
	for _, p := range queriedPairs {
		if slices.Contains(p.metrics, metric) {
			return slices.DeleteFunc(slices.Clone(allDimensions), func(d string) bool { return slices.Contains(p.not, d) })
		}
	}
	return nil
}

// queriedMetrics are all of these.
func queriedMetrics() (all []string) {
	for _, p := range queriedPairs {
		all = append(all, p.metrics...)
	}
	return all
}

// goTogether reports whether metrics and dimensions do, and what goes with parts of days if hours are told.
func goTogether(metrics, dimensions []string, hourly bool) bool {
	for _, m := range metrics {
		if known := dimensionsOf(m); slices.ContainsFunc(dimensions, func(d string) bool { return !slices.Contains(known, d) }) {
			return false
		}
	}
	if slices.Contains(dimensions, "interval") && slices.Contains(dimensions, "hour_of_week") {
		return false
	}
	return !hourly || !slices.ContainsFunc(dimensions, func(d string) bool {
		return !slices.Contains([]string{"interval", "hour_of_week", "template", "organization"}, d)
	})
}

// pairs counts the questions that told more than zero of a metric, by metric and dimension.
type pairs struct {
	mu    sync.Mutex
	runs  int
	asked map[string]int
}

func (n *pairs) note(req *insightsv1.QueryUsageRequest, answer *insightsv1.QueryUsageResponse) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range req.GetMetrics() {
		if slices.ContainsFunc(answer.GetRows(), func(r *insightsv1.QueryRow) bool { return figuresOfRow(r.GetValues())[m] > 0 }) {
			for _, d := range req.GetDimensions() {
				n.asked[m+" by "+d]++
				n.asked[m]++
				n.asked[d]++
			}
		}
	}
}

// check fails if some pair told too little: of 20,000 companies 50 times. In a short run each metric and each dimension told something.
func (n *pairs) check(t *testing.T) {
	t.Helper()
	fewest, least, rare := n.runs/400, math.MaxInt, ""
	for _, m := range queriedMetrics() {
		for _, d := range dimensionsOf(m) {
			pair := m + " by " + d
			if n.asked[pair] < least {
				least, rare = n.asked[pair], pair
			}
			if n.asked[pair] < fewest || n.asked[m] == 0 || n.asked[d] == 0 {
				t.Errorf("%s told something %d times in %d runs, want %d; of the metric %d times, of the dimension %d times",
					pair, n.asked[pair], n.runs, fewest, n.asked[m], n.asked[d])
			}
		}
	}
	t.Logf("%d companies; the pair that told something least often is %s, %d times", n.runs, rare, least)
}

// The general question is answered as the naive reference does, for random companies and random questions, and as the older questions
// that say the same.
func TestQueryProperties(t *testing.T) {
	t.Parallel()
	perServer, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	n := pairs{asked: map[string]int{}}
	t.Run("databases", func(t *testing.T) {
		for database, runs := range map[string]int{"sqlite": propertyRuns(t) / 5, "postgres": propertyRuns(t) / 50} {
			for i := range max(1, runs/perServer) {
				t.Run(fmt.Sprint(database, i), func(t *testing.T) {
					t.Parallel()
					p := newProperties(t, servertest.Databases[database](t), &shares{}, func(o *server.Options) { o.AIPerPerson = true })
					rapid.Check(t, func(t *rapid.T) { p.checkQuery(t, &n) })
				})
			}
		}
	})
	if !t.Failed() {
		n.check(t)
	}
}

// checkQuery asks about one company. Some have a crowd, of which hours are told.
func (p *properties) checkQuery(t *rapid.T, n *pairs) {
	w := anyWorld.Draw(t, "world")
	p.empty(t)
	crowd := rapid.IntRange(0, 3).Draw(t, "crowd") == 0
	if crowd {
		w.drawCrowd(t)
	}
	w.drawGroups(t)
	w.drawPurposes(t)
	w.drawRegions(t)
	builds := drawChoices(t, &w)
	p.report(t, &w)
	p.send(t, told{logins: builds})
	p.make(t, &w, builds)
	p.relay(t, w.regions)
	ref := newQueryReference(w, builds)
	q := anyQuestion(w).Draw(t, "question")
	p.checkOlder(t, w, q)
	for i := range 5 {
		req := drawQuery(t, w, q, crowd && i < 2)
		answer := ask(t, p.insights.QueryUsage, p.owner, req)
		ref.check(t, q, req, answer)
		p.checkPages(t, req, answer)
		n.note(req, answer)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs++
}

// check holds an answer against the reference.
func (ref queryReference) check(
	t *rapid.T, q propertyQuestion, req *insightsv1.QueryUsageRequest, answer *insightsv1.QueryUsageResponse,
) {
	want, whole, others := ref.rows(q, req, answer.GetInterval())
	got := map[string]queryRow{}
	for _, r := range answer.GetRows() {
		got[keyOf(r)] = queryRow{
			Values: figuresOfRow(r.GetValues()), Before: figuresOfRow(r.GetBefore()),
			Partial: r.GetPartial(), Suppressed: r.GetSuppressed(),
		}
		for i, k := range r.GetKeys() {
			if label, known := ref.labelOf(req.GetDimensions()[i], k.GetValue()); known && label != k.GetLabel() {
				t.Fatalf("%s %s is called %q, want %q", req.GetDimensions()[i], k.GetValue(), k.GetLabel(), label)
			}
		}
	}
	if diff := gocmp.Diff(want, got, likeFigures); diff != "" {
		t.Fatalf("rows of %v (-want +got):\n%s", req, diff)
	}
	totals := queryRow{Values: figuresOfRow(answer.GetTotals().GetValues()), Before: figuresOfRow(answer.GetTotals().GetBefore())}
	if diff := gocmp.Diff(whole, totals, likeFigures); diff != "" {
		t.Fatalf("totals of %v (-want +got):\n%s", req, diff)
	}
	equal(t, fmt.Sprint("other actors of ", req), others, answer.GetOtherActors())
}

// likeFigures compares figures: those of latencies are as exact as bins are, the others are equal.
var likeFigures = gocmp.Options{cmpopts.EquateEmpty(), gocmp.FilterPath(func(path gocmp.Path) bool {
	metric, is := path.Last().(gocmp.MapIndex)
	return is && strings.HasSuffix(metric.Key().String(), "_ms")
}, gocmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 0.0251*max(a, b) }))}

// figuresOfRow are the values that are told, by metric.
func figuresOfRow(v *insightsv1.QueryValues) map[string]float64 {
	figures := map[string]float64{}
	v.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch x := value.Interface().(type) {
		case int64:
			figures[string(field.Name())] = float64(x)
		case float64:
			figures[string(field.Name())] = x
		}
		return true
	})
	return figures
}

// labelOf is what people read of a value, of dimensions that are of the catalog.
func (ref queryReference) labelOf(dimension, value string) (label string, known bool) {
	c := ref.w.catalog
	switch dimension {
	case "template":
		return nameOf(c.GetTemplates(), value), true
	case "organization":
		return nameOf(c.GetOrganizations(), value), true
	case "group":
		return nameOf(c.GetGroups(), value), true
	case "template_version":
		return nameOf(c.GetTemplateVersions(), value), true
	case "user":
		return ref.names[value], true
	case "workspace":
		at := slices.IndexFunc(c.GetWorkspaces(), func(ws *insightsv1.Workspace) bool { return ws.GetId() == value })
		ws := c.GetWorkspaces()[at]
		return ref.names[ref.w.ownerInTheEnd(ws)] + "/" + ws.GetName(), true
	case "actor", "purpose", "region":
		return value, true
	}
	return "", false
}

// nameOf is the name of the one of some items that has an id.
func nameOf[I interface {
	GetId() string
	GetName() string
}](items []I, id string) string {
	at := slices.IndexFunc(items, func(i I) bool { return i.GetId() == id })
	return items[at].GetName()
}

// drawQuery draws a question about the window and the templates of another, about a pair that is drawn first; at will about hours.
func drawQuery(t *rapid.T, w world, q propertyQuestion, hourly bool) *insightsv1.QueryUsageRequest {
	metric := rapid.SampledFrom(queriedMetrics()).Draw(t, "metric")
	dimension := rapid.SampledFrom(dimensionsOf(metric)).Draw(t, "dimension")
	if hourly {
		hourly := slices.Concat(queriedPairs[0].metrics, queriedPairs[2].metrics, metricsOfTime)
		metric = rapid.SampledFrom(hourly).Draw(t, "metric of hours")
		dimension = rapid.SampledFrom([]string{"hour_of_week", "hour_of_week", "interval"}).Draw(t, "dimension of hours")
	}
	hourly = hourly || dimension == "hour_of_week" || dimension == "interval" && rapid.IntRange(0, 5).Draw(t, "hours") == 0
	if q.last-q.first > 7 && dimension == "interval" {
		hourly = false
	}
	req := &insightsv1.QueryUsageRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Metrics: []string{metric},
		Dimensions: []string{dimension},
		Compare:    rapid.SampledFrom([]string{"", "none", "previous", "weekdays", "year"}).Draw(t, "compare"),
		Actor:      rapid.SampledFrom([][]string{nil, nil, {"all"}, {"system"}, {"person", "service"}}).Draw(t, "actors"),
	}
	for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom(queriedMetrics()), 0, 3, rapid.ID[string]).Draw(t, "more metrics") {
		if !slices.Contains(req.GetMetrics(), m) && goTogether([]string{m}, req.GetDimensions(), hourly) {
			req.Metrics = append(req.Metrics, m)
		}
	}
	second := rapid.SampledFrom(allDimensions).Draw(t, "second dimension")
	if hourly {
		second = "template"
	}
	if rapid.Bool().Draw(t, "two dimensions") && second != dimension &&
		goTogether(req.GetMetrics(), append(req.GetDimensions(), second), hourly) && (hourly || second != "hour_of_week") {
		req.Dimensions = append(req.Dimensions, second)
	}
	if slices.Contains(req.GetDimensions(), "interval") {
		req.Interval = rapid.SampledFrom([]string{"day", "week", "month", "default", ""}).Draw(t, "query interval")
		req.WeekStart = rapid.SampledFrom([]string{"", "monday", "sunday"}).Draw(t, "begin of weeks")
		if hourly {
			req.Interval = "hour"
		}
	}
	req.Filters = drawFilters(t, w, req.GetMetrics(), hourly)
	req.OrderBy = rapid.SampledFrom(slices.Concat([]string{""}, req.GetMetrics(), req.GetDimensions())).Draw(t, "order")
	if req.GetOrderBy() != "" {
		req.OrderBy = rapid.SampledFrom([]string{"", "-"}).Draw(t, "descending") + req.GetOrderBy()
	}
	return req
}

// drawFilters draws up to two filters that go with some metrics.
func drawFilters(t *rapid.T, w world, metrics []string, hourly bool) (filters []string) {
	values := w.filterValues()
	names := rapid.SampledFrom(slices.Sorted(maps.Keys(values)))
	for _, d := range rapid.SliceOfNDistinct(names, 0, 2, rapid.ID[string]).Draw(t, "filters") {
		if len(values[d]) == 0 || !goTogether(metrics, []string{d}, hourly) {
			continue
		}
		equals := rapid.SampledFrom([]string{"=", "!="}).Draw(t, "equals")
		for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(values[d]), 1, 2, rapid.ID[string]).Draw(t, "values") {
			filters = append(filters, d+equals+v)
		}
	}
	return filters
}

// keyOf joins the values of a row.
func keyOf(r *insightsv1.QueryRow) string {
	var values []string
	for _, k := range r.GetKeys() {
		values = append(values, k.GetValue())
	}
	return strings.Join(values, " ")
}

// checkPages: rows are in order, and pages neither repeat nor skip any.
func (p *properties) checkPages(t *rapid.T, req *insightsv1.QueryUsageRequest, whole *insightsv1.QueryUsageResponse) {
	rows := whole.GetRows()
	for i := 1; i < len(rows); i++ {
		if inOrder(req, rows[i-1], rows[i]) > 0 {
			t.Fatalf("%v: %v comes after %v", req, rows[i], rows[i-1])
		}
	}
	if len(rows) == 0 {
		return
	}
	paged := proto.CloneOf(req)
	paged.PageSize = int32(rapid.IntRange((len(rows)+3)/4, len(rows)+1).Draw(t, "page size"))
	var together []*insightsv1.QueryRow
	for pages := 0; pages <= len(rows); pages++ {
		answer := ask(t, p.insights.QueryUsage, p.owner, paged)
		if !proto.Equal(whole.GetTotals(), answer.GetTotals()) {
			t.Fatalf("%v: totals %v of a page, %v of all", paged, answer.GetTotals(), whole.GetTotals())
		}
		together = append(together, answer.GetRows()...)
		if paged.PageToken = answer.GetNextPageToken(); paged.GetPageToken() == "" {
			break
		}
	}
	equal(t, fmt.Sprint("pages of ", paged), rows, together)
}

// inOrder compares two rows by what orders them.
func inOrder(req *insightsv1.QueryUsageRequest, a, b *insightsv1.QueryRow) int {
	by, descending := strings.CutPrefix(cmp.Or(req.GetOrderBy(), "-"+req.GetMetrics()[0]), "-")
	labels := func(i int) int { return cmp.Compare(orderOf(a.GetKeys()[i]), orderOf(b.GetKeys()[i])) }
	first := 0
	if i := slices.Index(req.GetDimensions(), by); i >= 0 {
		first = labels(i)
	} else if a.GetSuppressed() != b.GetSuppressed() { // the figures that are not told come last
		if a.GetSuppressed() {
			return 1
		}
		return -1
	} else {
		figure := func(r *insightsv1.QueryRow) float64 {
			if n, told := figuresOfRow(r.GetValues())[by]; told {
				return n
			}
			return -1
		}
		first = cmp.Compare(figure(a), figure(b))
	}
	if descending {
		first = -first
	}
	for i := range a.GetKeys() {
		first = cmp.Or(first, labels(i))
	}
	for i, k := range a.GetKeys() {
		first = cmp.Or(first, strings.Compare(k.GetValue(), b.GetKeys()[i].GetValue()))
	}
	return first
}

// orderOf is a text that orders keys: times, hours of the week and labels.
func orderOf(k *insightsv1.QueryKey) string {
	if at, err := time.Parse(time.RFC3339, k.GetValue()); err == nil {
		return fmt.Sprintf("%012d", at.Unix())
	}
	if hour, err := strconv.Atoi(k.GetValue()); err == nil {
		return fmt.Sprintf("%03d", hour)
	}
	return strings.ToLower(k.GetLabel())
}
