package insights

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"golang.org/x/net/html"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// What is left of Markdown is what a browser shows of it, letter by letter.
func FuzzPlainText(f *testing.F) {
	for _, markdown := range []string{
		"", "**Bold**, _slanted_ and `a_b`.", "# Size\n\nOf the *disk*", "[a](b \"c\")", "![a *b*](c)", "<b>x</b>",
		"<script>a</script>\n\nb", "&lt;&#0;&amp;", "\\*a\\*", "[a]: b\n[a]",
		"```go\na\n```", "    code\n", "- a\n- b", "a  \nb\\\nc", "<https://a.b>", "1. a\n\n   b", "> a\n> b", "a\n===", "***", "`` a`b ``",
	} {
		f.Add(markdown)
	}
	f.Fuzz(func(t *testing.T, markdown string) {
		if !utf8.ValidString(markdown) || len(markdown) > 8<<10 || strings.Contains(markdown, "\x00") {
			return // no catalog holds it
		}
		var got string
		wiretest.Within(t, "stripping", func() { got = plainText(markdown) })
		if !utf8.ValidString(got) || got != strings.TrimSpace(got) {
			t.Errorf("%q became %q", markdown, got)
		}
		if want := browserText(t, markdown); letters(got) != want {
			t.Errorf("%q became %q, a browser shows %q", markdown, got, want)
		}
	})
}

// letters leaves out all white space.
func letters(text string) string { return strings.Join(strings.Fields(text), "") }

// browserText is what the page that is made of Markdown shows, without white space.
func browserText(t *testing.T, markdown string) string {
	t.Helper()
	var page bytes.Buffer
	if err := goldmark.Convert([]byte(markdown), &page); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for tokens := html.NewTokenizer(&page); ; {
		switch tokens.Next() {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatal(tokens.Err())
			}
			return letters(shown.String())
		case html.TextToken:
			shown.WriteString(tokens.Token().Data)
		case html.SelfClosingTagToken, html.StartTagToken:
			for _, a := range tokens.Token().Attr {
				if a.Key == "alt" {
					shown.WriteString(a.Val)
				}
			}
		}
	}
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
		for _, step := range []string{"", "day", "week", "default", "x"} {
			f.Add(m.start, m.end, m.zone, step)
		}
	}
	f.Fuzz(func(t *testing.T, start, end, zone, step string) {
		now := storetest.Now
		q, err := parseQuestion(&insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Timezone: zone}, now)
		if err == nil {
			q.suited = q.suits(now.AddDate(-1, 0, 0))
			q.interval, err = q.choose(step)
			if step == intervalDefault && err != nil {
				t.Errorf("the server's own choice: %v", err)
			}
		}
		if err == nil {
			q.split()
		}
		if err != nil {
			for _, fault := range wiretest.Faults(t, err) {
				field, _, _ := strings.Cut(fault, ": ")
				if !slices.Contains([]string{"start_time", "end_time", "timezone", "interval"}, field) || !utf8.ValidString(fault) ||
					len(fault) > 300 {
					t.Errorf("what is wrong: %q", fault)
				}
			}
			return
		}
		if zone != "" && q.start.Location().String() != zone || q.end.Before(q.start) || q.start.Unix() < 0 ||
			q.end.After(now.Add(time.Hour)) {
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
		if !slices.IsSorted(w.Bounds) || len(w.Bounds) > 0 && w.Bounds[0] != w.Start ||
			q.interval == intervalDay && len(w.Bounds) > maxDayIntervals ||
			(step != "") != (len(w.Bounds) > 0) && w.Start < w.End {
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
	for _, zone := range append([]string{"UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires"}, wiretest.EvilZones...) {
		f.Add(zone)
	}
	f.Fuzz(func(t *testing.T, name string) {
		zone, err := ParseZone(name)
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
	for i, text := range []string{
		"1 day", "90days", "2 weeks", "1000 years", "3 month", "1 dayss", "0 day", "000001 day", "0000001 day", "1  day", "1 s",
	} {
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
			if !errors.Is(err, errSteps) || step.days > 0 && length/int64(86_400*step.days) < maxSteps-1 ||
				step.months > 0 && length/int64(31*86_400*step.months) > maxSteps {
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
