// Package ingest takes what agents, proxies and the control plane report: it checks a message, finds where its usage goes,
// and acknowledges it when the commit that holds it has returned. It also runs folding and retention. It knows nothing of
// questions.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Bounds of messages and of unary calls. The control plane sends batches, agents and proxies do not.
const (
	MaxAgentMessage = 256 << 10
	maxPortion      = 10_000           // rows that one call commits at a time
	commitPatience  = 10 * time.Second // that a call waits for its commit before its caller is asked to try again
)

// Service is the IngestService: it checks what comes in, and the committer makes it durable.
type Service struct {
	insightsv1.UnimplementedIngestServiceServer

	id         uuid.UUID // of this server as long as it runs
	options    Options
	store      *store.Store
	logger     *slog.Logger
	clock      func() time.Time
	metrics    *metrics
	directory  *store.Directory
	committers []*committer // by node
	health     commitHealth
	names      *appNames
	seen       agentsSeen
	touching   sync.Mutex  // held while what is due of agents is written
	stats      *agentStats // nil: not shown
	followed   *followed
	senders    sync.WaitGroup // of all streams

	mu           sync.Mutex
	streams      map[*agentStream]struct{}
	agentStreams map[uuid.UUID]int // by agent
	draining     bool
}

// Options say what is taken and what becomes of it. All fields without "nil" or "zero" in their comment are needed.
type Options struct {
	Store             *store.Store
	Logger            *slog.Logger
	Clock             func() time.Time
	Registry          prometheus.Registerer    // of what ingest tells about itself
	Page              *exposition.Endpoint     // where the present of agents is shown
	ControlPlane      *exposition.ControlPlane // the families that the control plane may report
	MaxAge            time.Duration            // the oldest report of an agent that is taken
	MaxAhead          time.Duration            // how far in the future a report may be
	ReportInterval    time.Duration            // what agents are told
	MaxStreamAge      time.Duration            // after about this time an agent is asked to go to another server; zero: never
	UsageStats        bool                     // false: reports are acknowledged and nothing of them is stored
	Promise           store.Promise            // what is promised to people, of which the retention is carried out here
	Publication       store.Publication        // how days are published
	CollectAgentStats bool                     // show the present of the agents that report here as metrics
	// labels that these metrics keep, beside the organization: agent_name, template_name, username, workspace_name, or none alone; nil: all
	AgentStatsBy []string
}

func (o Options) check() error {
	if o.MaxAge <= 0 || o.MaxAhead < 0 || o.ReportInterval <= 0 {
		return errors.New("the ingest limits and the report interval must be positive")
	}
	if o.MaxStreamAge < 0 {
		return errors.New("the age of streams must not be negative")
	}
	if o.Promise.Usage < 0 || o.Promise.Latency < 0 || o.Promise.Audit < 0 {
		return errors.New("retentions must not be negative")
	}
	if o.Publication.After < 0 || o.Publication.Floor < 1 || o.Publication.Zone == nil {
		return errors.New("days need a zone, a floor and a time after which they are published")
	}
	return checkAggregation(o.AgentStatsBy)
}

// New fails if an option is out of its range.
func New(o Options) (*Service, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	m := newMetrics(o.Registry)
	g := &Service{
		id: uuid.New(), options: o, store: o.Store, logger: o.Logger, clock: o.Clock, metrics: m,
		directory: o.Store.NewDirectory(),
		names:     newAppNames(o.Store, o.Clock),
		streams:   map[*agentStream]struct{}{}, agentStreams: map[uuid.UUID]int{},
		followed: &followed{store: o.Store, clock: o.Clock, metrics: m},
	}
	for range o.Store.Nodes() {
		g.committers = append(g.committers, newCommitter(o.Store, o.Logger, m, &g.health))
	}
	m.watchQueue(g.queued)
	if o.CollectAgentStats {
		g.stats = newAgentStats(o, m)
		o.Page.MustAdd(g.stats)
	}
	return g, nil
}

// stores reports whether anything is kept of what is reported under a privacy mode.
func (g *Service) stores(mode store.PrivacyMode) bool {
	return g.options.UsageStats && mode != store.PrivacyOff
}

// note keeps what a report says about its agent. The stream is nil when it came in a unary call.
func (g *Service) note(r *agentReport, p store.Placement, s *agentStream) {
	if g.stores(p.Mode) {
		g.seen.note(*r, p.Subject)
	}
	if g.stats != nil {
		g.stats.note(r, s)
	}
}

// checkSize holds agents and proxies to small messages.
func checkSize(p access.Principal, message proto.Message) error {
	if size := proto.Size(message); size > MaxAgentMessage && !p.Holds(access.IngestAny) {
		return call.NewError(
			codes.ResourceExhausted, call.ReasonTooLarge, fmt.Sprintf("The message has %d bytes, at most %d.", size, MaxAgentMessage), "",
			nil,
		)
	}
	return nil
}

// place finds where the usage of a report goes. A rejection is about this report; an error ends the call.
func (g *Service) place(
	ctx context.Context, agent uuid.UUID, at time.Time, check func(organization uuid.UUID) error,
) (store.Placement, *rejection, error) {
	p, known, err := g.directory.Place(ctx, agent)
	if err != nil {
		return p, nil, err
	}
	if !known {
		rejected, err := g.unknown(ctx, "agent", agent)
		return p, rejected, err
	}
	switch err := check(p.Organization); {
	case errors.Is(err, access.ErrNotFound):
		return p, unknownItem("agent", agent), nil
	case err != nil:
		return p, nil, err
	}
	if !p.DeletedAt.IsZero() && p.DeletedAt.Before(at) {
		return p, &rejection{causeDeleted, "the workspace was deleted before the report", true}, nil
	}
	return p, nil, nil
}

// unknown turns an item away because of what it names: for now, or for ever if it belongs to a user who was erased. The
// latter is nobody's business who is confined to an organization.
func (g *Service) unknown(ctx context.Context, what string, id uuid.UUID) (*rejection, error) {
	if caller := call.PrincipalOf(ctx); caller.HoldsEverywhere(access.Ingest) || caller.HoldsEverywhere(access.IngestAny) {
		erased, err := g.store.Erased(ctx, []uuid.UUID{id})
		if err != nil || erased[id] {
			return erasedItem(), err
		}
	}
	return unknownItem(what, id), nil
}

// placeReport is place for the report of an agent by a caller.
func (g *Service) placeReport(ctx context.Context, caller access.Principal, r agentReport) (store.Placement, *rejection, error) {
	// Whether the agent exists is nobody's business who may not report for it, or for any.
	if caller.Agent != r.agent && !caller.Holds(access.IngestAny) {
		return store.Placement{}, nil, access.ErrForbidden
	}
	return g.place(ctx, r.agent, r.collected, func(organization uuid.UUID) error {
		return access.CheckStats(caller, r.agent, organization)
	})
}

// takeReport is the way of a report from its message to its rows, whether it came in a stream or in a unary call, for which the
// stream is nil. A rejection is about this report; an error ends the call.
func (g *Service) takeReport(
	ctx context.Context, caller access.Principal, message *insightsv1.AgentReport, l limits, s *agentStream,
) (agentReport, []store.OpenRow, *rejection, error) {
	r, rejected := parseReport(message, l)
	if rejected != nil {
		return r, nil, rejected, nil
	}
	p, rejected, err := g.placeReport(ctx, caller, r)
	if err != nil || rejected != nil {
		return r, nil, rejected, err
	}
	apps := g.names.bound(l.apps, p, r.sessions)
	g.note(&r, p, s)
	return r, g.reportRows(r, p, apps), nil, nil
}

// reportRows are the rows of a report that has its place, with sessions of these apps open.
func (g *Service) reportRows(r agentReport, p store.Placement, apps []string) []store.OpenRow {
	if !g.stores(p.Mode) {
		return nil
	}
	if p.Mode.AtLeast(store.PrivacyAggregate) {
		r.latency = 0
	}
	return r.rows(p, apps)
}

// wait collects the outcomes of the items of a unary call, which settle in any order.
type wait struct {
	mu       sync.Mutex
	left     int
	done     chan struct{}
	outcomes []error
}

func newWait(n int) *wait {
	return &wait{done: make(chan struct{}), left: n, outcomes: make([]error, n)}
}

func (w *wait) settle(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[i] = err
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// commitAll makes the rows of the items of a unary call durable and adds what the database refused to the rejections.
// It fails when it cannot tell, or not soon: then the caller sends everything again, which changes nothing.
func (g *Service) commitAll(ctx context.Context, items []item) ([]*insightsv1.Rejection, error) {
	if len(items) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	w := newWait(len(items))
	byNode := make([][]int, len(g.committers)) // so that none waits for the room of another node
	for i, it := range items {
		if len(it.rows) == 0 {
			w.settle(i, nil)
			continue
		}
		node := g.store.NodeOf(ctx, it.rows[0].Template)
		byNode[node] = append(byNode[node], i)
	}
	var submitting errgroup.Group
	for node, indexes := range byNode {
		submitting.Go(func() error {
			for _, i := range indexes {
				if err := g.committers[node].submit(ctx, entry{items[i].rows, func(err error) { w.settle(i, err) }}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := submitting.Wait(); err != nil {
		return nil, call.Unavailable(err)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return nil, call.Unavailable(ctx.Err())
	}
	var rejected []*insightsv1.Rejection
	for i, err := range w.outcomes {
		refused, err := outcome(err, "item")
		if err != nil {
			return nil, err
		}
		if refused != nil {
			rejected = append(rejected, g.reject(items[i].list, items[i].index, refused))
		}
	}
	return rejected, nil
}

// outcome says what a commit came to for an item: durable, refused by the database, or an error that the caller sees. what names
// the item.
func outcome(err error, what string) (*rejection, error) {
	switch {
	case errors.Is(err, store.ErrRefused):
		return &rejection{causeRefused, "the database refuses this " + what, true}, nil
	case err != nil:
		return nil, call.Unavailable(err)
	default:
		return nil, nil
	}
}

// item is one member of a list of a unary call.
type item struct {
	list  string
	index int
	rows  []store.OpenRow
}

// reject counts a rejection and puts it into words.
func (g *Service) reject(list string, index int, r *rejection) *insightsv1.Rejection {
	g.metrics.reject(r.cause)
	return &insightsv1.Rejection{List: list, Index: uint32(index), Reason: r.reason, Permanent: r.permanent}
}

// ReportStats implements [insightsv1.IngestServiceServer].
func (g *Service) ReportStats(ctx context.Context, req *insightsv1.ReportStatsRequest) (*insightsv1.ReportStatsResponse, error) {
	caller := call.PrincipalOf(ctx)
	if err := checkSize(caller, req); err != nil {
		return nil, err
	}
	l := g.limits(caller.Holds(access.IngestAny))
	var answer insightsv1.ReportStatsResponse
	var items []item
	for i, message := range req.GetReports() {
		_, rows, rejected, err := g.takeReport(ctx, caller, message, l, nil)
		if err != nil {
			return nil, err
		}
		if rejected != nil {
			answer.Rejected = append(answer.Rejected, g.reject("reports", i, rejected))
			continue
		}
		items = append(items, item{"reports", i, rows})
	}
	refused, err := g.commitAll(ctx, items)
	if err != nil {
		return nil, err
	}
	answer.Rejected = append(answer.Rejected, refused...)
	answer.Acknowledged = uint32(len(req.GetReports()) - len(answer.Rejected))
	g.metrics.reports.Add(float64(answer.Acknowledged))
	return &answer, nil
}

// ReportAppSessions implements [insightsv1.IngestServiceServer].
func (g *Service) ReportAppSessions(
	ctx context.Context, req *insightsv1.ReportAppSessionsRequest,
) (*insightsv1.ReportAppSessionsResponse, error) {
	caller := call.PrincipalOf(ctx)
	if err := checkSize(caller, req); err != nil {
		return nil, err
	}
	if caller.Kind == access.KindAgent {
		return nil, access.ErrForbidden
	}
	visitors, err := g.visitors(ctx, caller, req.GetSessions())
	if err != nil {
		return nil, err
	}
	l := g.limits(caller.Holds(access.IngestAny))
	sessions, visits := make([]placedSession, len(req.GetSessions())), []store.Visit(nil)
	for i, message := range req.GetSessions() {
		if sessions[i], err = g.placeSession(ctx, caller, visitors, message, l); err != nil {
			return nil, err
		}
		if sessions[i].rejected == nil {
			visits = append(visits, sessions[i].visit())
		}
	}
	subjects, err := g.directory.Subjects(ctx, visits)
	if err != nil {
		return nil, err
	}
	var answer insightsv1.ReportAppSessionsResponse
	var items []item
	rowsOfItems := 0
	commit := func() error {
		refused, err := g.commitAll(ctx, items)
		answer.Rejected = append(answer.Rejected, refused...)
		items, rowsOfItems = items[:0], 0
		return err
	}
	for i, s := range sessions {
		rows, rejected, err := g.sessionRows(ctx, s, subjects)
		if err != nil {
			return nil, err
		}
		if rejected != nil {
			answer.Rejected = append(answer.Rejected, g.reject("sessions", i, rejected))
			continue
		}
		items = append(items, item{"sessions", i, rows})
		// A long session is many rows, so those of a large message are not all made at once.
		if rowsOfItems += len(rows); rowsOfItems >= maxPortion {
			if err := commit(); err != nil {
				return nil, err
			}
		}
	}
	if err := commit(); err != nil {
		return nil, err
	}
	answer.Acknowledged = uint32(len(req.GetSessions()) - len(answer.Rejected))
	return &answer, nil
}

// visitors says which users the caller may report sessions of: those of its organizations. It is nil for a caller who is not
// confined to any.
func (g *Service) visitors(
	ctx context.Context, caller access.Principal, sessions []*insightsv1.AppSession,
) (map[uuid.UUID][]uuid.UUID, error) {
	if caller.HoldsEverywhere(access.Ingest) {
		return nil, nil
	}
	var users []uuid.UUID
	for _, s := range sessions {
		if id, err := call.ParseID(s.GetUserId()); err == nil { // what is no id is found out later
			users = append(users, id)
		}
	}
	return g.store.UserOrganizations(ctx, users)
}

// placedSession is a session with the place of its agent, unless it was rejected.
type placedSession struct {
	appSession
	place    store.Placement
	rejected *rejection
}

func (s placedSession) visit() store.Visit {
	return store.Visit{User: s.user, Workspace: s.place.Workspace}
}

// placeSession checks a session and finds the place of its agent.
func (g *Service) placeSession(
	ctx context.Context, caller access.Principal, visitors map[uuid.UUID][]uuid.UUID, message *insightsv1.AppSession, l limits,
) (s placedSession, err error) {
	if s.appSession, s.rejected = parseSession(message, l); s.rejected != nil {
		return s, nil
	}
	s.place, s.rejected, err = g.place(ctx, s.agent, message.GetEndedAt().AsTime(), func(organization uuid.UUID) error {
		return access.CheckAppSessions(caller, organization)
	})
	if err == nil && s.rejected == nil && !caller.HoldsInAny(access.Ingest, visitors[s.user]) {
		s.rejected = unknownItem("user", s.user)
	}
	return s, err
}

// sessionRows are the half hours of a session, none where its organization stores nothing.
func (g *Service) sessionRows(
	ctx context.Context, s placedSession, subjects map[store.Visit]int64,
) (rows []store.OpenRow, rejected *rejection, err error) {
	if s.rejected != nil {
		return nil, s.rejected, nil
	}
	subject, known := subjects[s.visit()]
	if !known {
		rejected, err = g.unknown(ctx, "user", s.user)
		return nil, rejected, err
	}
	if !g.stores(s.place.Mode) {
		return nil, nil, nil
	}
	if s.app, err = g.names.app(ctx, s.place, s.app); err != nil {
		return nil, nil, err
	}
	return s.rows(s.place.Template, subject), nil, nil
}
