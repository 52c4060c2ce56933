package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/inventory"
)

type privacyReportCommand struct {
	databaseFlag
	Format string `default:"text" enum:"text,json" help:"${enum}: a page to read, or the same for programs. Default: ${default}."`
}

// privacyReport is what an officer wants to know. It names no people but by the ids of who holds rights.
type privacyReport struct {
	GeneratedAt time.Time          `json:"generated_at"`
	Mode        reportedMode       `json:"mode"`
	Decided     bool               `json:"decided"` // somebody set the mode of the deployment
	Overrides   []reportedMode     `json:"overrides"`
	Changes     []reportedChange   `json:"mode_changes"` // the newest first
	Servers     []reportedPromise  `json:"servers"`      // those that run
	Disagree    []string           `json:"disagree"`     // settings that not all of them have alike
	Retention   []reportedKind     `json:"retention"`
	Rights      []reportedRight    `json:"rights"`
	Looks       []reportedDoing    `json:"looks"`   // at single people
	Exports     []reportedDoing    `json:"exports"` // of single people, as files
	Erasures    []reportedDoing    `json:"erasures"`
	Stored      []inventory.Column `json:"stored"`
}

type reportedMode struct {
	OrganizationID string     `json:"organization_id,omitempty"`
	Organization   string     `json:"organization,omitempty"`
	Mode           string     `json:"mode"`
	Meaning        string     `json:"meaning"`
	Since          *time.Time `json:"since,omitempty"`
	TreatedAt      *time.Time `json:"treated_at,omitempty"`
}

// reportedChange is a mode that became another one. Without an organization it is that of the deployment.
type reportedChange struct {
	At             time.Time `json:"at"`
	Kind           string    `json:"kind"` // of who changed it
	ID             string    `json:"id,omitempty"`
	OrganizationID string    `json:"organization_id,omitempty"`
	From           string    `json:"from,omitempty"` // absent: nobody had decided before
	To             string    `json:"to"`
}

// reportedPromise is what some servers run with.
type reportedPromise struct {
	Servers          int64  `json:"servers"`
	Floor            int    `json:"privacy_floor"`
	AIPerPerson      bool   `json:"ai_per_person"` // the use of AI tools is told of each person
	Timezone         string `json:"timezone"`
	UsageRetention   string `json:"usage_retention"` // such as 9600h0m0s; "for ever"
	LatencyRetention string `json:"latency_retention"`
	AuditRetention   string `json:"audit_retention"`
}

type reportedKind struct {
	Kind      string                `json:"kind"`
	Keep      []string              `json:"keep"` // as servers have it; several: they disagree; none: no server runs
	Oldest    *time.Time            `json:"oldest,omitempty"`
	Held      bool                  `json:"held"`                // nothing is deleted while the clock is in doubt
	Announced *reportedAnnouncement `json:"announced,omitempty"` // a deletion that waits for its day
	Beyond    bool                  `json:"beyond"`              // the oldest should have gone more than a day ago
}

type reportedAnnouncement struct {
	Days   int64     `json:"days"` // that go
	Stored int64     `json:"stored"`
	At     time.Time `json:"at"`
	Due    time.Time `json:"due"`
}

type reportedRight struct {
	Kind           string    `json:"kind"`
	ID             string    `json:"id"`
	Role           string    `json:"role"`
	OrganizationID string    `json:"organization_id,omitempty"`
	TemplateID     string    `json:"template_id,omitempty"`
	GroupID        string    `json:"group_id,omitempty"`
	Since          time.Time `json:"since"`
}

type reportedDoing struct {
	Action     string    `json:"action"`
	Kind       string    `json:"kind"`
	Role       string    `json:"role,omitempty"`
	Principals int64     `json:"principals"`
	Times      int64     `json:"times"`
	Last       time.Time `json:"last"`
}

// Run prints the report. That somebody asked for it is in the trail, and in the report.
func (f privacyReportCommand) Run(ctx context.Context, c console) (err error) {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := audit(ctx, s, privacyReportAction, f); err != nil {
		return err
	}
	r, err := reportPrivacy(ctx, s)
	if err != nil {
		return err
	}
	if f.Format == "json" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s\n", text)
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	r.print(w)
	return w.Flush()
}

// privacyReportAction is what the trail says of the report.
const privacyReportAction = "privacy report"

// lookActions are what the trail says of looks at single people: questions that the contract wants in it, and what is like them.
func lookActions() []string {
	actions := []string{"ResolvePseudonym", privacyReportAction}
	methods := insightsv1.File_insights_v1_insights_proto.Services().ByName("InsightsService").Methods()
	for i := range methods.Len() {
		rule, _ := proto.GetExtension(methods.Get(i).Options(), insightsv1.E_Access).(*insightsv1.AccessRule)
		if rule.GetAudit() {
			actions = append(actions, string(methods.Get(i).Name()))
		}
	}
	return actions
}

func reportPrivacy(ctx context.Context, s *store.Store) (r privacyReport, err error) {
	r = privacyReport{
		GeneratedAt: time.Now().UTC(), Overrides: []reportedMode{}, Changes: []reportedChange{}, Rights: []reportedRight{},
		Stored: inventory.Columns(),
	}
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return r, err
	}
	names, err := s.OrganizationNames(ctx)
	if err != nil {
		return r, err
	}
	reported := func(id uuid.UUID) reportedMode {
		m := reportedMode{
			Organization: names[id], Mode: string(modes.Of(id)), Meaning: modes.Of(id).Meaning(), Since: moment(modes.Since(id)),
			TreatedAt: moment(modes.TreatedAt(id)),
		}
		if id != uuid.Nil {
			m.OrganizationID = id.String()
		}
		return m
	}
	r.Mode, r.Decided = reported(uuid.Nil), modes.Decided()
	for _, id := range modes.Overrides() {
		r.Overrides = append(r.Overrides, reported(id))
	}
	slices.SortFunc(r.Overrides, func(a, b reportedMode) int {
		return cmp.Or(strings.Compare(a.Organization, b.Organization), strings.Compare(a.OrganizationID, b.OrganizationID))
	})
	changes, err := s.AuditEvents(ctx, store.AuditFilter{Actions: []string{store.AuditModeChange}, Limit: maxChanges})
	if err != nil {
		return r, err
	}
	for _, e := range changes {
		r.Changes = append(r.Changes, changeOf(e))
	}
	if err := r.addPromises(ctx, s); err != nil {
		return r, err
	}
	bindings, err := s.RoleBindings(ctx)
	if err != nil {
		return r, err
	}
	for _, b := range bindings {
		right := reportedRight{Kind: string(b.PrincipalKind), ID: b.PrincipalID.String(), Role: string(b.Role), Since: b.CreatedAt.Time}
		if b.OrganizationID != uuid.Nil {
			right.OrganizationID = b.OrganizationID.String()
		}
		if b.TemplateID != uuid.Nil {
			right.TemplateID = b.TemplateID.String()
		}
		if b.GroupID != uuid.Nil {
			right.GroupID = b.GroupID.String()
		}
		r.Rights = append(r.Rights, right)
	}
	looks := lookActions()
	if r.Looks, err = doings(ctx, s, looks); err != nil {
		return r, err
	}
	for i := range looks {
		looks[i] += store.AuditAsFile
	}
	if r.Exports, err = doings(ctx, s, looks); err != nil {
		return r, err
	}
	r.Erasures, err = doings(ctx, s, []string{"EraseUser"})
	return r, err
}

// maxChanges bounds the changes of modes that are told. They are rare.
const maxChanges = 1000

func changeOf(e store.AuditEvent) reportedChange {
	c := reportedChange{At: e.At.Time, Kind: string(e.PrincipalKind)}
	if e.PrincipalID != uuid.Nil {
		c.ID = e.PrincipalID.String()
	}
	for _, part := range strings.Fields(e.Target) {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "organization":
			c.OrganizationID = value
		case "from":
			c.From = value
		case "mode":
			c.To = value
		}
	}
	return c
}

// addPromises adds what servers run with, and what comes of their retention.
func (r *privacyReport) addPromises(ctx context.Context, s *store.Store) error {
	promises, now, err := s.Promises(ctx)
	if err != nil {
		return err
	}
	oldest, err := s.Oldest(ctx)
	if err != nil {
		return err
	}
	held, err := s.HeldDeletions(ctx)
	if err != nil {
		return err
	}
	r.Servers, r.Disagree = []reportedPromise{}, []string{}
	for _, p := range promises {
		r.Servers = append(r.Servers, reportedPromise{
			p.Servers, p.PrivacyFloor, p.AIPerPerson, p.Timezone, kept(p.Usage), kept(p.Latency), kept(p.Audit),
		})
	}
	for _, setting := range []struct {
		name string
		of   func(reportedPromise) any
	}{
		{"privacy_floor", func(p reportedPromise) any { return p.Floor }},
		{"ai_per_person", func(p reportedPromise) any { return p.AIPerPerson }},
		{"timezone", func(p reportedPromise) any { return p.Timezone }},
		{"usage_retention", func(p reportedPromise) any { return p.UsageRetention }},
		{"latency_retention", func(p reportedPromise) any { return p.LatencyRetention }},
		{"audit_retention", func(p reportedPromise) any { return p.AuditRetention }},
	} {
		if slices.ContainsFunc(r.Servers, func(p reportedPromise) bool { return setting.of(p) != setting.of(r.Servers[0]) }) {
			r.Disagree = append(r.Disagree, setting.name)
		}
	}
	for _, kind := range store.ExpiredKinds {
		r.Retention = append(r.Retention, retentionOf(kind, promises, held, oldest[kind], now))
	}
	return nil
}

// kept writes a retention.
func kept(retention time.Duration) string {
	if retention == 0 {
		return "for ever"
	}
	return retention.String()
}

// retentionOf is what is promised of a kind of data, and what comes of it.
func retentionOf(kind string, promises []store.Promises, held store.Brake, oldest store.Instant, now time.Time) reportedKind {
	k := reportedKind{Kind: kind, Keep: []string{}, Oldest: moment(oldest), Held: held.Doubted}
	braked := store.ExpiredUsage // what the kind waits with
	switch kind {
	case store.ExpiredLatency:
		braked = store.ExpiredLatency
	case store.ExpiredAudit, store.ExpiredTokens:
		braked = store.ExpiredAudit
	}
	const ever = time.Duration(math.MaxInt64)
	var longest time.Duration // a server that keeps more takes announcements of others back
	for _, p := range promises {
		keep := map[string]time.Duration{
			store.ExpiredUsage: p.Usage, store.ExpiredLatency: p.Latency, store.ExpiredAudit: p.Audit,
		}[braked]
		if text := kept(keep); !slices.Contains(k.Keep, text) {
			k.Keep = append(k.Keep, text)
		}
		if keep == 0 {
			keep = ever
		}
		longest = max(longest, keep)
	}
	waits := held.Doubted
	for _, a := range held.Announced {
		if a.Kind == braked {
			k.Announced = &reportedAnnouncement{a.Days, a.Stored, a.At.Time, a.Due()}
			waits = waits || now.Before(a.Due().Add(2*time.Hour)) // servers look every hour
		}
	}
	// What is deleted every day, by whole days, may be two days late.
	k.Beyond = !waits && len(promises) > 0 && longest != ever && k.Oldest != nil && k.Oldest.Before(now.Add(-longest-48*time.Hour))
	return k
}

func doings(ctx context.Context, s *store.Store, actions []string) ([]reportedDoing, error) {
	found, err := s.AuditByRole(ctx, actions)
	if err != nil {
		return nil, err
	}
	all := make([]reportedDoing, len(found))
	for i, d := range found {
		all[i] = reportedDoing{d.Action, string(d.Kind), string(d.Role), d.Principals, d.Events, d.Last.Time}
	}
	return all, nil
}

// moment is absent for the zero instant.
func moment(i store.Instant) *time.Time {
	if i.IsZero() {
		return nil
	}
	return &i.Time
}

func (r privacyReport) print(w io.Writer) {
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "Privacy report of %s\n", r.GeneratedAt.Format(time.RFC3339))
	decided := ""
	if !r.Decided {
		decided = " Nobody decided on it yet."
	}
	fmt.Fprintf(
		w, "\nMode of the deployment: %s, since %s, treated %s.%s\n%s\n", r.Mode.Mode, at(r.Mode.Since), at(r.Mode.TreatedAt), decided,
		r.Mode.Meaning,
	)
	heading(w, "Organizations with a mode of their own", len(r.Overrides), "ORGANIZATION\tID\tMODE\tSINCE\tTREATED\tMEANING")
	for _, o := range r.Overrides {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Organization, o.OrganizationID, o.Mode, at(o.Since), at(o.TreatedAt), o.Meaning)
	}
	heading(w, "Changes of mode, the newest first", len(r.Changes), "WHEN\tBY\tID\tORGANIZATION\tFROM\tTO")
	for _, c := range r.Changes {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.At.Format(time.RFC3339), c.Kind, cmp.Or(c.ID, "-"), cmp.Or(c.OrganizationID, "-"),
			cmp.Or(c.From, "-"), c.To,
		)
	}
	heading(w, "Settings of the servers that run", len(r.Servers), "SERVERS\tPRIVACY FLOOR\tAI TOOLS\tTIME ZONE\tUSAGE\tLATENCY\tAUDIT")
	for _, p := range r.Servers {
		tools := "together"
		if p.AIPerPerson {
			tools = "per person"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\n", p.Servers, p.Floor, tools, p.Timezone, p.UsageRetention, p.LatencyRetention,
			p.AuditRetention)
	}
	if len(r.Disagree) > 0 {
		fmt.Fprintf(w, "Servers disagree on %s.\n", strings.Join(r.Disagree, ", "))
	}
	fmt.Fprint(w, "In every mode but full, numbers about fewer people than the floor are hidden, by whole days of the time zone.\n"+
		"In every mode, AI tools are told of as many people together, unless a server runs with --ai-per-person.\n")
	heading(w, "Retention, as set and as carried out", len(r.Retention), "DATA\tKEPT\tOLDEST\t")
	for _, k := range r.Retention {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Kind, cmp.Or(strings.Join(k.Keep, " or "), "-"), at(k.Oldest), k.state())
	}
	heading(w, "Who holds which right", len(r.Rights), "KIND\tID\tROLE\tORGANIZATION\tTEMPLATE\tGROUP\tSINCE")
	for _, b := range r.Rights {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Kind, b.ID, b.Role, cmp.Or(b.OrganizationID, "-"), cmp.Or(b.TemplateID, "-"),
			cmp.Or(b.GroupID, "-"), b.Since.Format(time.RFC3339),
		)
	}
	printDoings(w, "Looks at single people, by the roles that are held now", r.Looks)
	printDoings(w, "Exports of single people as files, by the roles that are held now", r.Exports)
	printDoings(w, "Erasures", r.Erasures)
	table := ""
	for _, column := range r.Stored {
		if column.Table != table {
			table = column.Table
			heading(w, table+": "+column.Purpose, 1, "COLUMN\tABOUT\tERASED\tPSEUDONYM\tAGGREGATE\tWHY")
		}
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%s\t%s\t%s\n", column.Name, column.About, column.Erased, column.Pseudonym, column.Aggregate,
			cmp.Or(column.Why, "-"),
		)
	}
}

// state says what becomes of the data that is beyond retention.
func (k reportedKind) state() string {
	var said []string
	if k.Held {
		said = append(said, "held: the clock is in doubt")
	}
	if a := k.Announced; a != nil {
		said = append(said, fmt.Sprintf(
			"%d of %d days go at %s, as announced at %s", a.Days, a.Stored, a.Due.Format(time.RFC3339), a.At.Format(time.RFC3339),
		))
	}
	if k.Beyond {
		said = append(said, "should be gone")
	}
	return strings.Join(said, "; ")
}

func printDoings(w io.Writer, title string, all []reportedDoing) {
	heading(w, title, len(all), "WHAT\tBY\tROLE\tOF HOW MANY\tTIMES\tLAST")
	for _, d := range all {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%d\t%d\t%s\n", d.Action, d.Kind, cmp.Or(d.Role, "-"), d.Principals, d.Times, d.Last.Format(time.RFC3339),
		)
	}
}
