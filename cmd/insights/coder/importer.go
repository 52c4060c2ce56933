package coder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// Options say what to import.
type Options struct {
	// Organization is the id or the name of the only organization that is imported; empty: all are, and the roles of the site.
	Organization string
	// Past is how far back usage is imported, and how far the import came is not kept then; zero: all of it is imported.
	Past time.Duration
	// DryRun changes nothing: the report says what would change.
	DryRun bool
	// Interval is how often Follow looks for usage, and half as often for the rest; zero: DefaultInterval.
	Interval time.Duration
	// Show gets what agents reported while Follow keeps up with them: for metrics, nothing of it is to be stored. nil: nobody wants it.
	Show func([]*insightsv1.AgentReport)
	// Failing is told whether KeepFollowing fails: the database cannot be opened, or its past not be read. nil: nobody wants to know.
	Failing func(bool)
	// Logger gets the progress.
	Logger *slog.Logger
}

func (o Options) failing(is bool) {
	if o.Failing != nil {
		o.Failing(is)
	}
}

// Importer brings what a deployment holds into a store, where usage is united with what is there: the same may be imported any
// number of times, and an import that was ended anywhere goes on where it was. It is for one at a time.
type Importer struct {
	from         *Database
	to           *store.Store
	organization *uuid.UUID // the only one; nil: all
	source       string     // names deployment and organization in the store
	past         time.Duration
	dry          bool
	logger       *slog.Logger

	until        time.Time // up to when usage is here; zero: none is
	catalogUntil time.Time // up to when the catalog is here
	sessions     sessionsSeen
	subjects     map[store.Visit]int64
	conditions   map[uuid.UUID][2]string // status and lifecycle of agents, as they were written
	invented     int64                   // of subjects, in a dry run
	report       Report

	failing  func(bool)
	show     func([]*insightsv1.AgentReport)
	shown    time.Time     // up to when it was
	follower string        // this process, among those that follow
	term     time.Duration // that it may follow without saying it again
	interval time.Duration // that usage is looked for, and half as often the rest
}

// NewImporter returns an importer that goes on where the last one of this deployment ended.
func NewImporter(ctx context.Context, from *Database, to *store.Store, o Options) (*Importer, error) {
	i := &Importer{
		from: from, to: to, source: from.source(), past: o.Past, dry: o.DryRun, logger: o.Logger, subjects: map[store.Visit]int64{},
		conditions: map[uuid.UUID][2]string{}, show: o.Show, failing: o.failing,
		follower: uuid.NewString(), term: followTerm, interval: cmp.Or(o.Interval, DefaultInterval),
	}
	if o.Organization != "" {
		if err := from.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(
				ctx, `SELECT id FROM organizations WHERE id::text = $1 OR name = $1 ORDER BY id::text = $1 DESC, deleted LIMIT 1`,
				o.Organization,
			).Scan(&i.organization)
		}); errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("%s has no organization %q", from, o.Organization)
		} else if err != nil {
			return nil, fmt.Errorf("look for organization %q: %w", o.Organization, err)
		}
		i.source += " organization " + i.organization.String()
	}
	return i, i.goOn(ctx)
}

// goOn finds out where the last import ended, which another process may have made.
func (i *Importer) goOn(ctx context.Context) (err error) {
	i.until, err = i.to.ImportedUntil(ctx, i.source)
	i.catalogUntil = i.until
	return err
}

// Report is what was new or different so far.
func (i *Importer) Report() Report { return i.report }

// overlap is how far an import looks back behind where it was: what Coder writes late, or was writing when it was read, is
// read again.
const overlap = 10 * time.Minute

// since is from when on everything is read that may not be here.
func since(until time.Time) time.Time {
	if until.IsZero() {
		return until
	}
	return until.Add(-overlap)
}

// step is how much of the past is imported at a time: what a week holds fits into memory, and Coder's table of app sessions,
// which is not sorted by time, is not read too often.
const step = 7 * 24 * time.Hour

// Run imports everything up to now. Until it is done no day is published that it may still bring something of.
func (i *Importer) Run(ctx context.Context) error {
	if err := i.begin(ctx); err != nil {
		return err
	}
	if i.until.IsZero() && !i.dry {
		if err := i.to.BeginFirstImport(ctx, i.source); err != nil {
			return err
		}
	}
	if err := i.catalog(ctx); err != nil {
		return err
	}
	begin, end := since(i.until), i.catalogUntil
	if begin.IsZero() {
		var err error
		if begin, err = i.firstUsage(ctx, end); err != nil {
			return err
		}
	}
	first := begin
	for begin = begin.Truncate(halfHour); begin.Before(end); begin = i.until {
		started, read := time.Now(), i.from.reading
		w := window{from: begin, to: earlier(begin.Add(step), end)}
		if err := i.usage(ctx, w, i.to.UnstoredUsage); err != nil {
			return err
		}
		if !i.dry {
			if _, err := i.to.Fold(ctx); err != nil {
				return err
			}
		}
		if err := i.goesOn(ctx); err != nil {
			return err
		}
		i.logger.InfoContext(
			ctx, "imported usage", "from", w.from, "until", w.to, "half_hours", i.report.HalfHours, "estimated", i.report.Estimated,
		)
		if !i.until.Before(end) {
			break
		}
		if err := i.rest(ctx, started, read); err != nil {
			return err
		}
	}
	if i.dry {
		return nil
	}
	return i.to.EndImport(ctx, i.source, first, end)
}

// begin says that the import runs.
func (i *Importer) begin(ctx context.Context) error {
	if i.dry {
		return nil
	}
	return i.to.BeginImport(ctx, i.source)
}

// goesOn says that an import that runs has come further.
func (i *Importer) goesOn(ctx context.Context) error {
	if i.dry {
		return nil
	}
	return i.to.ContinueImport(ctx, i.source)
}

// rest reads nothing for as long as idle says.
func (i *Importer) rest(ctx context.Context, started time.Time, read time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(i.idle(started, read)):
		return nil
	}
}

// firstUsage is when the first usage was that is wanted, or the end if there was none.
func (i *Importer) firstUsage(ctx context.Context, end time.Time) (time.Time, error) {
	var first *time.Time
	err := i.from.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT LEAST((SELECT MIN(start_time) FROM template_usage_stats),
			(SELECT MIN(created_at) FROM workspace_agent_stats), (SELECT MIN(session_started_at) FROM workspace_app_stats),
			(SELECT MIN(time) FROM audit_logs WHERE action = 'login'))`).Scan(&first)
	})
	if err != nil {
		return end, fmt.Errorf("look for the first usage: %w", err)
	}
	if first == nil {
		return end, nil
	}
	if i.past > 0 {
		return later(first.UTC(), end.Add(-i.past)), nil
	}
	return first.UTC(), nil
}

// catalog imports what changed but for usage, up to now: the past one step after the other.
func (i *Importer) catalog(ctx context.Context) error {
	for {
		started, read := time.Now(), i.from.reading
		more, err := i.catalogStep(ctx)
		if err != nil {
			return fmt.Errorf("import from %s: %w", i.from, err)
		}
		if err := i.save(ctx); err != nil || !more {
			return err
		}
		if err := i.goesOn(ctx); err != nil {
			return err
		}
		i.logger.InfoContext(ctx, "imported catalog", "until", i.catalogUntil, "builds", i.report.Builds)
		if err := i.rest(ctx, started, read); err != nil {
			return err
		}
	}
}

// catalogStep imports one step of catalog, builds, jobs, the state of agents, status changes, figures and roles. It writes when all is
// read, unless that is too much. It returns whether there is more.
func (i *Importer) catalogStep(ctx context.Context) (more bool, err error) {
	w := window{from: since(i.catalogUntil)}
	until := w.from
	var held held
	err = i.from.read(ctx, func(reading context.Context, tx pgx.Tx) (err error) {
		if err := i.from.checkSchema(reading, tx); err != nil { // Coder may have been updated
			return err
		}
		if until, err = now(reading, tx); err != nil {
			return err
		}
		first, err := i.from.firstJob(reading, tx, i.organization, w.from)
		if err != nil {
			return err
		}
		if w.to = first.Add(step); w.to.Before(until) && !i.dry { // who writes nothing would count again what is read in each step
			more, until = true, w.to
		} else {
			w.to = until.AddDate(1, 0, 0) // the clocks of Coder may be ahead of that of its database
		}
		parts := []func() error{
			// Before the users, who have the status that they have, whatever the changes say.
			func() error {
				return i.from.statusChanges(reading, tx, i.organization, w, func(c []store.UserStatusChange) error {
					return held.add(len(c), func() error { return i.recordStatusChanges(ctx, c) })
				})
			},
			func() error {
				c, err := i.from.people(reading, tx, i.organization)
				return errors.Join(err, held.add(0, func() error { return i.people(ctx, c) }))
			},
			func() error {
				return i.from.versions(reading, tx, i.organization, w, func(v []store.TemplateVersion) error {
					return held.add(len(v), func() error { return i.apply(ctx, store.Catalog{Versions: v}) })
				})
			},
			func() error {
				return i.from.agents(reading, tx, i.organization, w, func(c store.Catalog) error {
					return held.add(len(c.Agents), func() error { return i.apply(ctx, c) })
				})
			},
			func() error {
				return i.from.builds(reading, tx, i.organization, w, func(b []store.Build) error {
					return held.add(len(b), func() error { return i.recordBuilds(ctx, b) })
				})
			},
			func() error {
				return i.from.jobs(reading, tx, i.organization, w, func(j []store.Job) error {
					return held.add(len(j), func() error { return i.recordJobs(ctx, j) })
				})
			},
		}
		if !more { // roles, states and figures are those of now
			parts = append(
				parts,
				func() error {
					bindings, err := i.from.roles(reading, tx, i.organization)
					return errors.Join(err, held.add(0, func() error { return i.roles(ctx, bindings) }))
				},
				func() error {
					return i.from.conditions(reading, tx, i.organization, func(a []liveAgent) error {
						return held.add(len(a), func() error { return i.recordConditions(ctx, a) })
					})
				},
				func() error {
					series, err := i.figures(reading, tx)
					return errors.Join(err, held.add(len(series), func() error { return i.recordFigures(ctx, series) }))
				},
			)
		}
		for _, part := range parts {
			if err := part(); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = held.write()
	}
	if err == nil {
		i.catalogUntil = until
	}
	return more, err
}

// held are writes of what was read, which wait until reading is done: a store that is slow keeps no transaction open in the database of the
// deployment, which would hold up what that cleans up.
type held struct {
	writes []func() error
	items  int
}

// maxHeld bounds how many items wait, but for what is read whole. It is more than a step has where thousands of people work.
const maxHeld = 16 * chunk

// add adds a write of some items. If that is too much it does what waits.
func (h *held) add(items int, write func() error) error {
	h.writes, h.items = append(h.writes, write), h.items+items
	if h.items < maxHeld {
		return nil
	}
	return h.write()
}

// write does what waits, in order.
func (h *held) write() error {
	for _, write := range h.writes {
		if err := write(); err != nil {
			return err
		}
	}
	*h = held{}
	return nil
}

// people imports the parts of the catalog that are read whole. Groups that are gone there go here. The members of a group that comes for
// the first time have always been in it, for the use of before; later ones come and go when an import finds them.
func (i *Importer) people(ctx context.Context, c store.Catalog) error {
	known := map[uuid.UUID]bool{}
	for _, o := range c.Organizations {
		groups, err := i.to.GroupsOf(ctx, o.ID)
		if err != nil {
			return err
		}
		for _, id := range groups {
			known[id] = true
			if !slices.ContainsFunc(c.Groups, func(g store.Group) bool { return g.ID == id }) {
				c.Deleted.Groups = append(c.Deleted.Groups, id)
			}
		}
	}
	for n, g := range c.Groups {
		if !known[g.ID] {
			c.Groups[n] = sinceAlways(g)
		}
	}
	return i.apply(ctx, c)
}

// apply writes what the catalog does not hold.
func (i *Importer) apply(ctx context.Context, c store.Catalog) error {
	fresh, err := i.to.UnstoredCatalog(ctx, c)
	if err != nil {
		return err
	}
	items := i.report.addCatalog(fresh)
	if items == 0 || i.dry {
		return nil
	}
	refusals, err := i.to.ApplyCatalog(ctx, fresh, store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true})
	if err != nil {
		return err
	}
	i.report.Refused += len(refusals)
	for _, r := range refusals[:min(len(refusals), maxWarnings)] {
		i.logger.WarnContext(ctx, "refused", "list", r.List, "reason", r.Reason)
	}
	return nil
}

// maxWarnings bounds what is logged of one write.
const maxWarnings = 10

func (i *Importer) recordBuilds(ctx context.Context, builds []store.Build) error {
	modeOf, err := i.modes(ctx)
	if err != nil {
		return err
	}
	builds = slices.DeleteFunc(builds, func(b store.Build) bool { return modeOf(b.TemplateID) == store.PrivacyOff })
	fresh, err := i.to.UnstoredBuilds(ctx, builds)
	if err != nil {
		return err
	}
	i.report.Builds += len(fresh)
	if i.dry {
		return nil
	}
	return i.to.RecordBuilds(ctx, fresh)
}

func (i *Importer) recordStatusChanges(ctx context.Context, changes []store.UserStatusChange) error {
	fresh, err := i.to.UnstoredStatusChanges(ctx, changes)
	if err != nil {
		return err
	}
	i.report.StatusChanges += len(fresh)
	if i.dry || len(fresh) == 0 {
		return nil
	}
	return i.to.RecordStatusChanges(ctx, fresh)
}

// roles makes the roles of the deployment ours. A change is in the audit trail.
func (i *Importer) roles(ctx context.Context, bindings []store.RoleBinding) error {
	covers, err := i.covers(ctx)
	if err != nil {
		return err
	}
	given, taken, err := i.to.SyncRoles(ctx, i.from.source(), bindings, covers, i.dry)
	if err != nil {
		return err
	}
	i.report.RolesGiven += given
	i.report.RolesTaken += taken
	if i.dry || given+taken == 0 {
		return nil
	}
	return i.to.RecordAudit(
		ctx, store.KindCommandLine, uuid.Nil, "import roles", fmt.Sprintf("source=%s given=%d taken=%d", i.source, given, taken),
	)
}

// covers is which roles the import is about: all that came from the deployment, or those within its only organization.
func (i *Importer) covers(ctx context.Context) (func(store.RoleBinding) bool, error) {
	if i.organization == nil {
		return func(store.RoleBinding) bool { return true }, nil
	}
	organizations, err := i.to.OrganizationsOf(ctx, nil)
	return func(b store.RoleBinding) bool {
		return b.OrganizationID == *i.organization || b.TemplateID != uuid.Nil && organizations[b.TemplateID] == *i.organization
	}, err
}

// recent is how old usage may be that is written without a look at what is there: most of it is new, and a repeat costs
// little.
const recent = time.Hour

// unlessRecent leaves out what is stored, unless all of it is recent.
func (i *Importer) unlessRecent(ctx context.Context, rows []store.OpenRow) ([]store.OpenRow, error) {
	now := int32(time.Now().Add(-recent).Unix() / int64(halfHour.Seconds()))
	if !slices.ContainsFunc(rows, func(r store.OpenRow) bool { return r.HalfHour < now }) {
		return rows, nil
	}
	return i.to.UnstoredUsage(ctx, rows)
}

// usage imports the rows of a window that unstored leaves; a window without an end reaches up to now.
func (i *Importer) usage(ctx context.Context, w window, unstored func(context.Context, []store.OpenRow) ([]store.OpenRow, error)) error {
	var used usage
	var seen *sessionsSeen
	err := i.from.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if w.to.IsZero() {
			seen = &i.sessions
			if w.to, err = now(ctx, tx); err != nil {
				return err
			}
		}
		used, err = i.from.usage(ctx, tx, i.organization, w, seen)
		return err
	})
	if err != nil {
		return fmt.Errorf("import from %s: %w", i.from, err)
	}
	if err := i.dropUnwanted(ctx, used); err != nil {
		return err
	}
	if err := i.dropUnknown(ctx, used); err != nil {
		return err
	}
	if err := i.findSubjects(ctx, used.visits()); err != nil {
		return err
	}
	rows, err := unstored(ctx, used.rows(i.subjects))
	if err != nil {
		return err
	}
	i.report.addUsage(rows)
	i.until = w.to
	if i.dry {
		return nil
	}
	if err := i.to.Merge(ctx, rows); err != nil {
		return err
	}
	return i.save(ctx)
}

// dropUnwanted leaves only what may be kept: nothing of users who were erased, and of each organization what its privacy mode allows.
func (i *Importer) dropUnwanted(ctx context.Context, used usage) error {
	erased, err := i.to.Erased(ctx, used.users())
	if err != nil {
		return err
	}
	modeOf, err := i.modes(ctx)
	if err != nil {
		return err
	}
	modeOfUser, err := i.modesOfUsers(ctx, used.users())
	if err != nil {
		return err
	}
	maps.DeleteFunc(used, func(c cell, _ *use) bool {
		mode := modeOf(c.template)
		if c.kind == minute.Login { // of no template
			mode = modeOfUser(c.user)
		}
		return erased[c.user] || mode == store.PrivacyOff || c.kind.HasBins() && mode.AtLeast(store.PrivacyAggregate)
	})
	return nil
}

// dropUnknown forgets workspaces that are not here: a seat is for one that is.
func (i *Importer) dropUnknown(ctx context.Context, used usage) error {
	known, err := i.to.WorkspaceTemplates(ctx, used.workspaces())
	if err != nil {
		return err
	}
	for c, is := range maps.Clone(used) {
		if _, here := known[c.workspace]; c.workspace != uuid.Nil && !here {
			delete(used, c)
			c.workspace = uuid.Nil
			used.at(c).unite(is)
		}
	}
	return nil
}

// modes returns the privacy modes of templates.
func (i *Importer) modes(ctx context.Context) (of func(template uuid.UUID) store.PrivacyMode, err error) {
	modes, err := i.to.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	organizations, err := i.to.OrganizationsOf(ctx, nil)
	return func(template uuid.UUID) store.PrivacyMode { return modes.Of(organizations[template]) }, err
}

// modesOfUsers returns the privacy modes of some users.
func (i *Importer) modesOfUsers(ctx context.Context, users []uuid.UUID) (of func(user uuid.UUID) store.PrivacyMode, err error) {
	modes, err := i.to.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	organizations, err := i.to.UserOrganizations(ctx, users)
	return func(user uuid.UUID) store.PrivacyMode { return modes.OfUser(organizations[user]) }, err
}

// maxKnown bounds what is remembered of a deployment in order to ask the store less often.
const maxKnown = 1 << 18

// findSubjects learns the subjects of visits; who was erased just now has none. In a dry run new people and seats get numbers that nobody
// else has.
func (i *Importer) findSubjects(ctx context.Context, visits []store.Visit) error {
	if len(i.subjects) > maxKnown && !i.dry {
		clear(i.subjects)
	}
	visits = slices.DeleteFunc(visits, func(v store.Visit) bool { return i.subjects[v] != 0 })
	if len(visits) == 0 {
		return nil
	}
	find := i.to.Subjects
	if i.dry {
		find = i.to.KnownSubjects
		for _, v := range visits {
			visits = append(visits, store.Visit{User: v.User})
		}
	}
	found, err := find(ctx, visits)
	if err != nil {
		return err
	}
	for _, v := range visits {
		if i.subjects[v] = found[v]; i.subjects[v] == 0 && i.dry {
			i.subjects[v] = i.invent(found[store.Visit{User: v.User}])
		}
	}
	return nil
}

// invent makes a subject of a person, or of somebody new.
func (i *Importer) invent(person int64) int64 {
	i.invented++
	if person == 0 {
		return minute.SubjectOf(-i.invented, 0)
	}
	return minute.SubjectOf(minute.PersonOf(person), minute.MaxSeat-int32(i.invented))
}

// save notes how far everything is here.
func (i *Importer) save(ctx context.Context) error {
	if i.dry || i.past > 0 || i.until.IsZero() {
		return nil
	}
	return i.to.SetImportedUntil(ctx, i.source, i.until, earlier(i.until, i.catalogUntil))
}
