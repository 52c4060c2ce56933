package server

import (
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// restQuestions are requests that REST makes of query parameters.
var restQuestions = []proto.Message{
	&insightsv1.GetTemplateInsightsRequest{}, &insightsv1.GetUserActivityRequest{}, &insightsv1.GetUserLatencyRequest{}, &insightsv1.GetDeploymentDAUsRequest{},
	&insightsv1.GetTemplateDAUsRequest{}, &insightsv1.GetUserStatusCountsRequest{}, &insightsv1.GetActivityRequest{}, &insightsv1.GetDiagnosisRequest{},
	&insightsv1.ListTemplatesRequest{}, &insightsv1.ListOrganizationsRequest{}, &insightsv1.ListTokensRequest{}, &insightsv1.ListRoleBindingsRequest{},
	&insightsv1.ListAuditEventsRequest{}, &insightsv1.GetMyDataRequest{}, &insightsv1.RevokeRoleRequest{}, &insightsv1.WhoAmIRequest{},
	&insightsv1.GetCapacityReportRequest{}, &insightsv1.GetOptimizationReportRequest{}, &insightsv1.GetSupportReportRequest{}, &insightsv1.GetROIReportRequest{},
}

// Every parameter of a query gets into its field, or is named as the one that is wrong.
func FuzzQuery(f *testing.F) {
	for i := range restQuestions {
		for _, query := range []string{
			week, "template_ids=a,,b&template_ids=%20c", "page_size=1&page_token=", "page_size=0x1", "page_size=", "tz_offset=-3", "tz_offset=5.5", "interval=day&interval=week", "foo=1", "=", "%ff=1", "search=%ff",
			"template_ids[a]=1", "principal.kind=PRINCIPAL_KIND_USER", "principal.kind=9", "principal.id=x&principal.id=y", "start_time.seconds=1", "sections=report,interval_reports", "timezone", "startTime=1",
			"role_binding.role=x", "role_binding.principal.kind=x", "since=1", "at=2023-08-15T12:00:00Z",
		} {
			f.Add(uint8(i), query)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		target := restQuestions[int(which)%len(restQuestions)].ProtoReflect().New()
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		found := checkQuery(target.Descriptor(), query)
		for _, e := range found {
			if !utf8.ValidString(e.Field+e.Detail) || len(e.Field) > 100 || e.Detail == "" {
				t.Errorf("what is wrong: %+v", e)
			}
		}
		err = queryParser{}.Parse(target.Interface(), query, utilities.NewDoubleArray(nil))
		if (err != nil) != (len(found) > 0) {
			t.Fatalf("%q for %s: %v, but what is wrong is %v", text, target.Descriptor().Name(), err, found)
		}
		if err != nil {
			return
		}
		for name, values := range query {
			field, in := queryField(target.Descriptor(), name), target
			for _, part := range strings.Split(name, ".")[:strings.Count(name, ".")] {
				in = in.Get(in.Descriptor().Fields().ByName(protoreflect.Name(part))).Message()
			}
			switch got := in.Get(field); {
			case field.IsList():
				var list []string
				for i := range got.List().Len() {
					list = append(list, got.List().Get(i).String())
				}
				if want := splitList(values); field.Kind() == protoreflect.StringKind && !slices.Equal(list, want) {
					t.Errorf("%s: %q, want %q", name, list, want)
				}
			case field.Kind() == protoreflect.StringKind && got.String() != values[0], field.Kind() == protoreflect.Int32Kind && values[0] != "" && got.Int() != mustInt(t, values[0]):
				t.Errorf("%s: %v, want %q", name, got, values[0])
			}
		}
	})
}

func mustInt(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The ids of a scope are read one by one, and an answer names those that are none without growing.
func FuzzTemplateIDs(f *testing.F) {
	for _, list := range []string{"", fuzzAgent, fuzzAgent + "," + fuzzAgent, "x," + fuzzAgent, "{" + fuzzAgent + "}", "urn:uuid:" + fuzzAgent, strings.Repeat("y,", 100), strings.Repeat("\u00e4", 200)} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		m := &insightsv1.GetTemplateInsightsRequest{TemplateIds: strings.Split(list, ",")}
		ids, found := templateIDs(m.ProtoReflect(), m.ProtoReflect().Descriptor().Fields().ByName("template_ids"))
		var want []uuid.UUID
		bad := 0
		for _, text := range m.GetTemplateIds() {
			if id, err := uuid.Parse(text); err == nil {
				want = append(want, id)
				continue
			}
			bad++
		}
		if bad > 0 {
			if len(ids) > 0 || len(found) != 1 || found[0].Field != "template_ids" || len(found[0].Detail) > 1000 || !utf8.ValidString(found[0].Detail) {
				t.Errorf("%d bad ids: %v, %v", bad, ids, found)
			}
			return
		}
		if len(found) > 0 || !slices.Equal(ids, want) {
			t.Errorf("%q: %v, %v", list, ids, found)
		}
	})
}

// fuzzMoments are seeds for times: odd days of odd zones among them.
var fuzzMoments = []struct{ start, end, zone string }{
	{"2023-08-07T00:00:00Z", "2023-08-14T00:00:00Z", ""},
	{"2023-08-07T00:00:00+05:45", "2023-08-15T11:00:00+05:45", ""},
	{"2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00", "Europe/Berlin"},
	{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", "America/Sao_Paulo"},
	{"2010-11-07T00:00:00-02:30", "2010-11-08T00:00:00-03:30", "America/St_Johns"},
	{"2010-11-06T23:01:00-03:30", "2010-11-08T00:00:00-03:30", "America/St_Johns"},
	{"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00", "Pacific/Apia"},
	{"2024-11-03T00:00:00-05:00", "2024-11-04T00:00:00-05:00", "America/Havana"},
	{"1970-01-01T00:00:00Z", "2023-08-15T00:00:00Z", "Africa/Monrovia"},
	{"2023-08-15T12:00:00.999999999Z", "2023-08-15T13:00:00.5Z", "UTC"},
	{"9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "../etc/passwd"},
}

// A question that is taken is about whole days of its zone up to the coming hour, and its intervals cover it; of any other
// the caller learns which field is wrong.
func FuzzQuestion(f *testing.F) {
	for _, m := range fuzzMoments {
		for _, step := range []string{"", "day", "week", "x"} {
			f.Add(m.start, m.end, m.zone, step)
		}
	}
	f.Fuzz(func(t *testing.T, start, end, zone, step string) {
		now := storetest.Now
		q, err := parseQuestion(&insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Timezone: zone}, now)
		if err == nil {
			q, err = q.split(step)
		}
		if err != nil {
			for _, fault := range faults(t, err) {
				if field, _, _ := strings.Cut(fault, ": "); !slices.Contains([]string{"start_time", "end_time", "timezone", "interval"}, field) || !utf8.ValidString(fault) || len(fault) > 300 {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if zone != "" && q.start.Location().String() != zone || q.end.Before(q.start) || q.start.Unix() < 0 || q.end.After(now.Add(time.Hour)) {
			t.Fatalf("from %v to %v", q.start, q.end)
		}
		// A day begins when the clock shows midnight, or at the first moment at which it shows that day.
		if clock := q.start.Format(time.TimeOnly); clock != "00:00:00" {
			for before := q.start.Add(-49 * time.Hour); before.Before(q.start); before = before.Add(time.Minute) {
				if dayOf(before) >= dayOf(q.start) {
					t.Fatalf("%v is not where a day begins, %v is before", q.start, before)
				}
			}
		}
		w := q.window
		if !slices.IsSorted(w.Bounds) || len(w.Bounds) > 0 && w.Bounds[0] != w.Start || len(w.Bounds) > maxDayIntervals || (step != "") != (len(w.Bounds) > 0) && w.Start < w.End {
			t.Errorf("window %+v", w)
		}
		for i, bound := range w.Bounds[min(1, len(w.Bounds)):] {
			at := time.Unix(60*bound, 0).In(q.start.Location())
			if dayOf(at) <= dayOf(at.Add(-time.Minute-time.Second)) && at.Format("15:04") != "00:00" {
				t.Errorf("interval %d begins at %v", i+1, at)
			}
		}
	})
}

// Only names of the database of zones are zones; nothing else is looked up.
func FuzzZone(f *testing.F) {
	for _, zone := range append([]string{"UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires"}, evilZones...) {
		f.Add(zone)
	}
	f.Fuzz(func(t *testing.T, name string) {
		zone, err := parseZone(name)
		if name == "" || err != nil {
			if zone != nil || (name == "") != (err == nil) {
				t.Errorf("%q: %v, %v", name, zone, err)
			}
			return
		}
		fits := strings.IndexFunc(name, func(r rune) bool {
			return r != '/' && r != '_' && r != '-' && r != '+' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		}) < 0
		if zone.String() != name || !fits || strings.Contains(name, "..") || strings.HasPrefix(name, "/") {
			t.Errorf("%q is taken as the zone %v", name, zone)
		}
	})
}

// naiveStep reads the grammar without its expression: digits, a blank that need not be, a unit that may have an s.
func naiveStep(text string) (step timeStep, ok bool) {
	n, digits := 0, 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		n = min(10*n+int(text[digits]-'0'), maxStepNumber+1)
		digits++
	}
	if digits == 0 || digits > 6 || n < 1 || n > maxStepNumber {
		return timeStep{}, false
	}
	switch strings.TrimSuffix(strings.TrimPrefix(text[digits:], " "), "s") {
	case "day":
		return timeStep{days: n}, true
	case "week":
		return timeStep{days: 7 * n}, true
	case "month":
		return timeStep{months: n}, true
	case "year":
		return timeStep{months: 12 * n}, true
	}
	return timeStep{}, false
}

// Steps are read as the grammar says, and cut the time from start to end without a gap.
func FuzzStep(f *testing.F) {
	for i, text := range []string{"1 day", "90days", "2 weeks", "1000 years", "3 month", "1 dayss", "0 day", "000001 day", "0000001 day", "1  day", "1 s"} {
		f.Add(text, int64(i)*17*86_400*100, int64(i)*3*86_400, uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, from, length int64, zone uint8) {
		step, err := parseStep(text)
		want, ok := naiveStep(text)
		if (err == nil) != ok || step != want {
			t.Fatalf("%q: %+v, %v; want %+v", text, step, err, want)
		}
		if err != nil {
			return
		}
		location, err := time.LoadLocation(fuzzMoments[int(zone)%(len(fuzzMoments)-1)].zone)
		if err != nil {
			t.Fatal(err)
		}
		const century = 100 * 365 * 86_400
		from, length = (from%century+century)%century, (length%century+century)%century
		year, month, day := time.Unix(from, 0).In(location).Date()
		start := minute.StartOfDay(year, month, day, location)
		end := start.Add(time.Duration(length) * time.Second)
		windows, err := step.windows(start, end)
		if err != nil {
			if !errors.Is(err, errSteps) || step.days > 0 && length/int64(86_400*step.days) < maxSteps-1 || step.months > 0 && length/int64(31*86_400*step.months) > maxSteps {
				t.Errorf("%v from %v to %v: %v", step, start, end, err)
			}
			return
		}
		whole := minute.NewWindow(start, end)
		at := whole.Start
		for i, w := range windows {
			if w.Start != at || w.End <= w.Start {
				t.Fatalf("window %d is %+v after %d", i, w, at)
			}
			at = w.End
			if most := int64(step.days)*1500 + int64(step.months)*31*1500; w.End-w.Start > most {
				t.Errorf("window %d of %+v has %d minutes", i, step, w.End-w.Start)
			}
		}
		if at != max(whole.Start, whole.End) || len(windows) > maxSteps {
			t.Errorf("%d windows end at %d, want %d", len(windows), at, whole.End)
		}
	})
}

// Page tokens are those of their list alone, and what is behind them comes back.
func FuzzPageToken(f *testing.F) {
	question := &insightsv1.GetUserActivityRequest{StartTime: "2023-08-07T00:00:00Z"}
	p, err := openPage(question, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range append([]string{p.token(position{-1, "x"}), p.token(position{}), p.token(position{math.MinInt64, "\x00\u00e4"})}, evil["page_token"]...) {
		f.Add(text, int32(10), "ann")
	}
	f.Fuzz(func(t *testing.T, text string, size int32, search string) {
		asked := proto.CloneOf(question)
		asked.PageToken, asked.PageSize = text, size
		p, err := openPage(asked, 50)
		if err != nil {
			for _, fault := range faults(t, err) {
				if !strings.HasPrefix(fault, "page_token: ") && !strings.HasPrefix(fault, "page_size: ") {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if p.size < 1 || p.size > maxPage || (p.after == nil) != (text == "") {
			t.Fatalf("page %+v", p)
		}
		if p.after == nil {
			return
		}
		// The same position in the next page's token, and in no other list's.
		asked.PageToken = p.token(*p.after)
		if again, err := openPage(asked, 50); err != nil || *again.after != *p.after {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
		other := proto.CloneOf(asked)
		other.Search = search
		if _, err := openPage(other, 50); (err == nil) != (search == "") && utf8.ValidString(search) {
			t.Errorf("the token in a list of %q: %v", search, err)
		}
		list := []position{{math.MinInt64, ""}, *p.after, {p.after.Rank, p.after.ID + "a"}, {math.MaxInt64, "\U0010ffff"}}
		items, _, err := paginate(list, asked, 50, func(x position) position { return x })
		if err != nil || slices.ContainsFunc(items, func(x position) bool { return x.compare(*p.after) <= 0 }) {
			t.Errorf("after %+v come %+v, %v", *p.after, items, err)
		}
	})
}
