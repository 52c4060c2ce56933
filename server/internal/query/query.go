// Package query answers the general question QueryUsage: it checks what is asked, lets the store cut usage once, withholds what is told of
// few, and puts the figures into a table.
package query

import (
	"context"
	"errors"
	"slices"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

const (
	// maxCells bounds the memory of a question: so many persons in cells take some 250 MB, and so do workspaces and their builds.
	maxCells = 4_000_000
	// maxRows is how many rows an answer without pages has, and maxExported how many a file has, which is read by the part and not whole.
	maxRows     = 10_000
	maxExported = 100_000
	// fewest is how many persons an answer is about at least that needs no note in the audit trail, and an hour that is told of.
	fewest = 5
)

// Service is the part of the InsightsService that answers the general question.
type Service struct {
	store    *store.Store
	insights *insights.Service
	clock    func() time.Time
}

// New returns a service that tells what the other questions tell in the same words.
func New(s *store.Store, questions *insights.Service, clock func() time.Time) *Service {
	return &Service{s, questions, clock}
}

// QueryUsage implements [insightsv1.InsightsServiceServer].
func (s *Service) QueryUsage(ctx context.Context, req *insightsv1.QueryUsageRequest) (*insightsv1.QueryUsageResponse, error) {
	page, err := call.OpenPage(ctx, s.store, req, 0)
	if err != nil {
		return nil, err
	}
	q, t, answer, err := s.tell(ctx, req)
	if err != nil {
		return nil, err
	}
	most := maxRows
	if call.IsExport(ctx) {
		most = maxExported
	}
	return answer, t.fill(answer, q, page, most)
}

// tell counts what a request asks for, and begins an answer that the table has still to be written into.
func (s *Service) tell(
	ctx context.Context, req *insightsv1.QueryUsageRequest,
) (q question, t table, answer *insightsv1.QueryUsageResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, insights.QuestionDeadline)
	defer cancel()
	if q, err = parse(req, s.clock()); err != nil {
		return q, t, nil, err
	}
	scope, err := s.scopeOf(ctx, req)
	if err != nil {
		return q, t, nil, err
	}
	mode, floor, err := s.insights.Disclosed(ctx, scope)
	if err != nil {
		return q, t, nil, err
	}
	answer = &insightsv1.QueryUsageResponse{
		Window:         &insightsv1.QueryWindow{StartTime: req.GetStartTime(), EndTime: req.GetEndTime()},
		DataAsOf:       s.insights.AsOf(ctx).In(q.start.Location()).Format(time.RFC3339),
		CollectionMode: insights.CollectionMode(mode), Floor: int64(floor), Actors: insights.ActorsOf(q.actors),
	}
	if q.interval == intervalDefault {
		if q.interval, err = s.insights.DefaultInterval(ctx, scope, q.start, q.end); err != nil {
			return q, t, nil, err
		}
	}
	if len(scope.Groups()) > 0 {
		t, err = s.countMembers(ctx, scope, q, mode, floor, answer)
	} else if mode != store.PrivacyFull || floor > 0 {
		t, err = s.published(ctx, req, scope, &q, mode, answer)
	} else {
		t, err = s.count(ctx, scope, q, mode, answer)
	}
	return q, t, answer, err
}

// scopeOf are the templates that a question is about. One about single persons needs more rights than its rule says.
func (s *Service) scopeOf(ctx context.Context, req *insightsv1.QueryUsageRequest) (access.Scope, error) {
	scope := call.ScopeOf(ctx)
	if !call.NamesPeople(req) {
		return scope, nil
	}
	seen, err := call.VisibleScope(ctx, s.store, access.ViewInsights, nil)
	switch {
	case err != nil || seen.All():
		return scope, err
	case scope.All():
		return seen, nil
	}
	common, err := seen.Within(scope.Templates())
	if err == nil && len(req.GetTemplateIds()) > 0 && len(common.Templates()) < len(scope.Templates()) {
		err = access.ErrNotFound
	}
	return common, err
}

// countMembers answers about the members of groups: as if a filter named these groups, and nothing of fewer than the floor.
func (s *Service) countMembers(
	ctx context.Context, scope access.Scope, q question, mode store.PrivacyMode, floor int, answer *insightsv1.QueryUsageResponse,
) (table, error) {
	if mode != store.PrivacyFull {
		return table{}, notTold("the privacy mode is " + string(mode) + ", and what is published is about templates")
	}
	if err := insights.TellsOf(q.actors, mode, floor); err != nil {
		return table{}, err
	}
	narrowed := q
	narrowed.filters = append(slices.Clone(q.filters), store.QueryFilter{By: store.ByGroup}) // the store adds it
	if err := narrowed.fits(); err != nil {
		return table{}, err
	}
	q.floor = int64(floor)
	return s.count(ctx, scope, q, mode, answer)
}

// count answers where nothing is hidden but the hours of few.
func (s *Service) count(
	ctx context.Context, scope access.Scope, q question, mode store.PrivacyMode, answer *insightsv1.QueryUsageResponse,
) (table, error) {
	t, others, err := s.cut(ctx, scope, q, q.start, q.end)
	if err != nil {
		return t, err
	}
	few := int(q.togetherOf(s.store.Apps()))
	others = slices.DeleteFunc(others, func(o store.OtherActor) bool { return o.Actors < few || q.cuts(q.start, q.end) })
	answer.OtherActors = s.insights.Others(mode, int(q.floor), others)
	if q.people(t.whole.Figures) < fewest {
		if err := call.NoteInTrail(ctx); err != nil {
			return t, err
		}
	}
	t.explain(q, len(others) > 0)
	if !q.compares() {
		return t, nil
	}
	return t, s.compare(ctx, scope, q, &t, answer)
}

// compare adds to a table what was in the window before.
func (s *Service) compare(
	ctx context.Context, scope access.Scope, q question, t *table, answer *insightsv1.QueryUsageResponse,
) error {
	start, end := q.windowBefore()
	answer.BeforeWindow = &insightsv1.QueryWindow{StartTime: start.Format(time.RFC3339), EndTime: end.Format(time.RFC3339)}
	var first time.Time
	if q.floor == 0 { // else that a template was used tells of whoever used it
		day, known, err := s.store.FirstUse(ctx, scope)
		if err != nil {
			return err
		}
		if !known {
			t.reasons = append(t.reasons, reasonBefore)
			return nil
		}
		first = startOfDay(time.Unix(int64(day)*24*60*60, 0).In(start.Location()))
		answer.BeforeWindow.HasDataFrom = first.Format(time.RFC3339)
		if start.Before(first) {
			t.reasons = append(t.reasons, reasonBefore)
		}
		if !first.Before(end) {
			return nil
		}
	}
	before, _, err := s.cut(ctx, scope, q, start, end)
	if err != nil {
		return err
	}
	if q.people(before.whole.Figures) < fewest && q.people(t.whole.Figures) >= fewest { // not in the trail yet
		err = call.NoteInTrail(ctx)
	}
	t.join(before, q, first)
	return err
}

// cut is the table of a window, without what is told of few.
func (s *Service) cut(
	ctx context.Context, scope access.Scope, q question, start, end time.Time,
) (t table, others []store.OtherActor, err error) {
	result, err := s.ask(ctx, q.query(scope, start, end))
	if err != nil {
		return t, nil, err
	}
	t = q.table(result, start, end)
	if q.hourly() || q.cuts(start, end) {
		err = s.closeHours(ctx, scope, q, start, end, &t)
	}
	t.withholdApps(q, s.store.Apps())
	t.withholdFew(q)
	return t, result.Others, err
}

// ask asks the store, and says what to do where the answer is too large.
func (s *Service) ask(ctx context.Context, query store.Query) (store.QueryResult, error) {
	result, err := s.store.Query(ctx, query)
	return result, tooMuch(err)
}

// tooMuch says what to do where a question takes too much memory.
func tooMuch(err error) error {
	switch {
	case errors.Is(err, store.ErrTooManyCells):
		return call.InvalidParam("dimensions", "tell more apart than fits into one answer: choose a shorter window, longer intervals or "+
			"fewer dimensions, or narrow it by filters or templates")
	case errors.Is(err, store.ErrTooManyWorkspaces):
		return call.InvalidParam("template_ids", "must name templates, or fewer of them, or the window be shorter: their workspaces and "+
			"builds are more than fit into memory, whatever filters leave of them")
	}
	return err
}
