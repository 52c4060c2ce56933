package server_test

import (
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
)

// propertyQuestion is a window of whole days about a place's day, and templates.
type propertyQuestion struct {
	place
	first, last int      // days from the place's day: first <= day < last
	templates   []string // ascending
	interval    string
}

// templateIDsOf are the ids of the templates of a company, ascending.
func templateIDsOf(w world) (ids []uuid.UUID) {
	for _, t := range w.catalog.GetTemplates() {
		ids = append(ids, uuid.MustParse(t.GetId()))
	}
	return call.Union(ids)
}

func anyQuestion(w world) *rapid.Generator[propertyQuestion] {
	return rapid.Custom(func(t *rapid.T) propertyQuestion {
		q := propertyQuestion{place: w.place, interval: rapid.SampledFrom([]string{"day", "week", ""}).Draw(t, "interval")}
		q.first = rapid.SampledFrom([]int{-2, -3, -1, -1, 0, 0}).Draw(t, "first")
		q.last = q.first + rapid.SampledFrom([]int{3, 1, 2, 3, 4, 5, 7, 5, 7, 3, 5, 4, 6, 7, 5, 4, 6, 0}).Draw(t, "days")
		if q.interval == "week" {
			q.last = q.first + rapid.SampledFrom([]int{6, 7, 13, 14}).Draw(t, "weeks")
		}
		q.templates = call.Texts(templateIDsOf(w))
		if some := rapid.IntRange(1, len(q.templates)).Draw(t, "templates"); rapid.IntRange(0, 3).Draw(t, "not all") == 3 {
			q.templates = q.templates[:some]
		}
		return q
	})
}

// midnight is the first quarter of an hour, since the epoch, of the n-th day from the place's: found by going back from noon.
func (q propertyQuestion) midnight(n int) int64 {
	day := q.around.AddDate(0, 0, n)
	at := day.Unix() / 900
	for time.Unix(900*(at-1), 0).In(q.location).YearDay() == day.YearDay() {
		at--
	}
	return at
}

func (q propertyQuestion) window() refWindow {
	return refWindow{15 * q.midnight(q.first), 15 * q.midnight(q.last)}
}

func (q propertyQuestion) show(minute int64) string {
	return time.Unix(60*minute, 0).In(q.location).Format(time.RFC3339)
}

func (q propertyQuestion) start() string { return q.show(q.window().from) }

func (q propertyQuestion) end() string { return q.show(q.window().to) }

// dst reports whether the clocks change in the window.
func (q propertyQuestion) dst() bool {
	w := q.window()
	return w.to > w.from && (w.to-w.from)%1440 != 0
}

func (q propertyQuestion) templateInsights() *insightsv1.GetTemplateInsightsRequest {
	return &insightsv1.GetTemplateInsightsRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Interval: q.interval,
	}
}

// part is a part of the window.
type part struct {
	refWindow
	partial bool
}

// intervals are those that are asked for.
func (q propertyQuestion) intervals() []part {
	switch q.interval {
	case "day":
		return q.steps(1)
	case "week":
		return q.steps(7)
	}
	return nil
}

// steps are the parts of the window that begin at every so many days of the calendar. The last one may go on beyond the window.
func (q propertyQuestion) steps(days int) (parts []part) {
	for n := q.first; n < q.last; n += days {
		end := min(n+days, q.last)
		parts = append(parts, part{refWindow{15 * q.midnight(n), 15 * q.midnight(end)}, end < n+days})
	}
	return parts
}
