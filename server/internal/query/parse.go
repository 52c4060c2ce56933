package query

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Limits of a question.
const (
	maxMetrics = 8
	maxFilters = 50
	maxDays    = 366
	maxHours   = 7 // days of a window with hours as intervals
)

// Dimensions that the store does not know: they are made of stretches of time.
const (
	dimensionInterval   = "interval"
	dimensionHourOfWeek = "hour_of_week"
)

// dimensions are those that tell rows apart.
var dimensions = []string{
	dimensionInterval, dimensionHourOfWeek, store.ByTemplate, store.ByOrganization, store.ByGroup, store.ByUser, store.ByWorkspace,
	store.ByVersion, store.ByApp, store.ByFamily, store.ByEditor, store.ByActor, store.ByPurpose, store.ByRegion,
	anyParameter,
}

// Intervals, first days of weeks, and comparisons.
const (
	intervalHour    = "hour"
	intervalDay     = "day"
	intervalWeek    = "week"
	intervalMonth   = "month"
	intervalDefault = "default"

	weekMonday = "monday"
	weekSunday = "sunday"

	compareNone     = "none"
	comparePrevious = "previous"
	compareWeekdays = "weekdays"
	compareYear     = "year"
)

// question is a valid question.
type question struct {
	start, end time.Time
	now        time.Time
	actors     minute.Actors
	metrics    []string
	by         []string
	interval   string // of by; empty: none
	weekStart  time.Weekday
	filters    []store.QueryFilter
	comparison string
	order      order
	floor      int64 // how many persons figures must be of; 0: any number
}

// order is how rows are ordered: by a metric or a dimension.
type order struct {
	by         string
	descending bool
}

func (q question) compares() bool { return q.comparison != compareNone }

// endsWithin reports whether a window ends within a day that is over: what is told of the present day up to an hour is told of a day.
func (q question) endsWithin(end time.Time) bool {
	return cutsDay(end) && dayOf(end) != dayOf(q.now.In(end.Location()))
}

// cuts reports whether a window takes a part of a day.
func (q question) cuts(start, end time.Time) bool { return cutsDay(start) || q.endsWithin(end) }

// hourly reports whether a question tells of parts of days.
func (q question) hourly() bool {
	return q.interval == intervalHour || slices.Contains(q.by, dimensionHourOfWeek)
}

// narrowedBy reports whether the question has a dimension, or a filter by it.
func (q question) narrowedBy(dimension string) bool {
	return slices.Contains(q.by, dimension) ||
		slices.ContainsFunc(q.filters, func(f store.QueryFilter) bool { return f.By == dimension })
}

// parse checks the fields of a request one after the other, and tells the first fault.
func parse(req *insightsv1.QueryUsageRequest, now time.Time) (q question, err error) {
	q.now = now
	for _, check := range []func(*insightsv1.QueryUsageRequest) error{
		q.parseWindow, q.parseMetrics, q.parseDimensions, q.parseInterval, q.parseFilters, q.parseRest, q.parseOrder,
	} {
		if err := check(req); err != nil {
			return q, err
		}
	}
	return q, q.fits()
}

func (q *question) parseWindow(req *insightsv1.QueryUsageRequest) (err error) {
	if q.start, q.end, err = insights.ParseHours(req, q.now); err != nil {
		return err
	}
	if q.days() > maxDays {
		return call.InvalidParam("end_time", "must be at most %d days after %q", maxDays, "start_time")
	}
	q.actors, err = insights.ParseActors(req)
	return err
}

func (q *question) parseMetrics(req *insightsv1.QueryUsageRequest) error {
	q.metrics = req.GetMetrics()
	if len(q.metrics) == 0 || len(q.metrics) > maxMetrics {
		return call.InvalidParam("metrics", "must name 1 to %d of %v", maxMetrics, metrics)
	}
	return each("metrics", q.metrics, metrics)
}

func (q *question) parseDimensions(req *insightsv1.QueryUsageRequest) error {
	q.by = req.GetDimensions()
	if len(q.by) > minute.MaxDimensions {
		return call.InvalidParam("dimensions", "must be at most %d", minute.MaxDimensions)
	}
	return each("dimensions", q.by, dimensions)
}

// anyParameter is how the dimensions that are parameters are named together.
const anyParameter = store.ByParameter + "NAME"

// knows reports whether a name is among those that are known, or a parameter where these are.
func knows(known []string, name string) bool {
	of, is := strings.CutPrefix(name, store.ByParameter)
	return slices.Contains(known, name) || is && of != "" && call.CheckText(of) == nil && slices.Contains(known, anyParameter)
}

// each checks that names are known and not given twice.
func each(field string, names, known []string) error {
	for i, name := range names {
		switch {
		case !knows(known, name):
			return call.Invalid(call.MessageInvalidValue, call.NotOneOf(field, known...))
		case slices.Contains(names[:i], name):
			return call.InvalidParam(field, "must not name %s twice", call.Shorten(name))
		}
	}
	return nil
}

func (q *question) parseInterval(req *insightsv1.QueryUsageRequest) (err error) {
	q.interval = req.GetInterval()
	if slices.Contains(q.by, dimensionInterval) {
		if q.interval == "" {
			q.interval = intervalDefault
		}
		q.interval, err = call.OneOf("interval", q.interval, intervalHour, intervalDay, intervalWeek, intervalMonth, intervalDefault)
	} else if q.interval != "" {
		err = call.InvalidParam("interval", "needs %q among %q", dimensionInterval, "dimensions")
	}
	if err != nil {
		return err
	}
	if q.interval == intervalHour && q.days() > maxHours {
		return call.InvalidParam(
			"end_time", "must be at most %d days after %q when %q is %s", maxHours, "start_time", "interval", intervalHour,
		)
	}
	q.weekStart = time.Monday
	if text := req.GetWeekStart(); text != "" {
		if text, err = call.OneOf("week_start", text, weekMonday, weekSunday); text == weekSunday {
			q.weekStart = time.Sunday
		}
	}
	return err
}

func (q *question) parseFilters(req *insightsv1.QueryUsageRequest) error {
	if len(req.GetFilters()) > maxFilters {
		return call.InvalidParam("filters", "must be at most %d", maxFilters)
	}
	for _, text := range req.GetFilters() {
		dimension, value, not := call.CutFilter(text)
		if !strings.Contains(text, "=") {
			return call.InvalidParam("filters", "must be DIMENSION=VALUE or DIMENSION!=VALUE, got %s", call.Shorten(text))
		}
		if err := each("filters", []string{dimension}, dimensions[2:]); err != nil { // those that are not made of time
			return err
		}
		value, err := valueOf(dimension, value)
		if err != nil {
			return call.InvalidParam("filters", "has %s=%s: %v", dimension, call.Shorten(value), err)
		}
		at := slices.IndexFunc(q.filters, func(f store.QueryFilter) bool { return f.By == dimension })
		switch {
		case at < 0:
			q.filters = append(q.filters, store.QueryFilter{By: dimension, Values: []string{value}, Not: not})
		case q.filters[at].Not != not:
			return call.InvalidParam("filters", "must have either = or != of %s, not both", dimension)
		case slices.Contains(q.filters[at].Values, value):
			return call.InvalidParam("filters", "must not have %s twice", call.Shorten(text))
		default:
			q.filters[at].Values = append(q.filters[at].Values, value)
		}
	}
	return nil
}

// valueOf reads the value of a filter; the error says what is wrong with it.
func valueOf(dimension, text string) (string, error) {
	var known []string
	switch dimension {
	case store.ByTemplate, store.ByOrganization, store.ByGroup, store.ByUser, store.ByWorkspace, store.ByVersion:
		id, err := call.ParseID(text)
		if err != nil {
			return text, err
		}
		return id.String(), nil
	case store.ByActor:
		for _, a := range minute.Everybody.List() {
			known = append(known, a.String())
		}
	case store.ByPurpose:
		known = store.WorkspacePurposes
	default:
		if text == "" && !strings.HasPrefix(dimension, store.ByParameter) { // whose values may be empty
			return text, errors.New("must not be empty")
		}
		return text, call.CheckText(text)
	}
	if !slices.Contains(known, text) {
		return text, fmt.Errorf("must be one of %v", known)
	}
	return text, nil
}

func (q *question) parseRest(req *insightsv1.QueryUsageRequest) (err error) {
	if q.comparison = compareNone; req.GetCompare() != "" {
		q.comparison, err = call.OneOf("compare", req.GetCompare(), compareNone, comparePrevious, compareWeekdays, compareYear)
	}
	return err
}

func (q *question) parseOrder(req *insightsv1.QueryUsageRequest) error {
	q.order = order{q.metrics[0], true}
	if req.GetOrderBy() == "" {
		return nil
	}
	q.order.by, q.order.descending = strings.CutPrefix(req.GetOrderBy(), "-")
	if known := slices.Concat(q.metrics, q.by); !slices.Contains(known, q.order.by) {
		return call.InvalidParam("order_by", "must be one of %v, or that after -", known)
	}
	return nil
}

// fits says which parts of a question do not go together.
func (q question) fits() error {
	for _, d := range []string{store.ByUser, store.ByWorkspace, store.ByApp, store.ByFamily, store.ByEditor} {
		if slices.Contains(q.metrics, metricPeak) && q.narrowedBy(d) {
			return call.InvalidParam("metrics", "cannot be %s with %s among dimensions or filters", metricPeak, d)
		}
	}
	if err := q.workspacesFit(); err != nil {
		return err
	}
	by, filters := q.narrowing()
	switch narrowed := cmp.Or(by, filters); {
	case narrowed == "":
		return nil
	case q.hourly() && by != "":
		return call.InvalidParam("dimensions", "cannot be %s with parts of days: nothing finer than a day is told of few people", by)
	case q.hourly():
		return call.InvalidParam("filters", "cannot be by %s with parts of days: nothing finer than a day is told of few people", filters)
	case cutsDay(q.start):
		return midnights("start_time", narrowed)
	case q.endsWithin(q.end):
		return midnights("end_time", narrowed)
	case q.compares() && cutsDay(q.end):
		return call.InvalidParam("compare", "must be %s unless %q is a midnight, or without %s: the window before would end within a day "+
			"that is over, and nothing finer than a day is told of few people", compareNone, "end_time", narrowed)
	}
	return nil
}

// narrowing is the first dimension and the first filter that do not go with parts of days; empty: there is none.
func (q question) narrowing() (by, filter string) {
	for _, d := range q.by {
		if by == "" && d != dimensionInterval && d != dimensionHourOfWeek && d != store.ByTemplate {
			by = d
		}
	}
	for _, f := range q.filters {
		if filter == "" && f.By != store.ByTemplate && f.By != store.ByOrganization {
			filter = f.By
		}
	}
	return by, filter
}

// midnights refuses a window that cuts a day of what must not be told of parts of days.
func midnights(field, narrowed string) error {
	return call.InvalidParam(field, "must be a midnight by the clock of %q with %s among dimensions or filters, or %q a full hour of the "+
		"present day: nothing finer than a day is told of few people; where the clock changes within the window, name %q",
		"start_time", narrowed, "end_time", "timezone")
}

// query is what the store is asked about a window.
func (q question) query(scope access.Scope, start, end time.Time) store.Query {
	query := store.Query{
		Scope: scope, Actors: q.actors, Window: minute.NewWindow(start, end).Split(start, end, 1), Filters: q.filters,
		Times:      q.times(start, end),
		Workspaces: slices.Contains(q.metrics, metricWorkspaces), Peaks: slices.Contains(q.metrics, metricPeak), MaxCells: maxCells,
		Latency: q.asks(latency), Time: q.asks(times), Visitors: q.asks(times) && q.floor > 0, Builds: q.asks(builds),
		OnlyWorkspaces: !q.asks(ofUsage),
	}
	for _, d := range q.by {
		if d == dimensionInterval || d == dimensionHourOfWeek {
			d = store.ByTime
		}
		query.By = append(query.By, d)
	}
	return query
}
