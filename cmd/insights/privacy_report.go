package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// promiseFlags say what is promised to people. A server keeps it; the database does not know it.
type promiseFlags struct {
	UsageRetention   time.Duration `default:"9600h" env:"INSIGHTS_USAGE_RETENTION" range:"0|24h..876000h" help:"How long usage is kept; what is older is deleted every day. Default: ${default} (400 days)."`
	LatencyRetention time.Duration `default:"2160h" env:"INSIGHTS_LATENCY_RETENTION" range:"0|24h..876000h" help:"How long latencies are kept; what is older is deleted every day. Default: ${default} (90 days)."`
	AuditRetention   time.Duration `default:"9600h" env:"INSIGHTS_AUDIT_RETENTION" range:"0|24h..876000h" help:"How long the audit trail is kept; what is older is deleted every day. Default: ${default} (400 days)."`
	PrivacyFloor     int           `default:"5" env:"INSIGHTS_PRIVACY_FLOOR" range:"2..1000" help:"How many people must take part in what is shown under another privacy mode than full, and to who may see totals only. Default: ${default}."`
	Timezone         string        `default:"UTC" env:"INSIGHTS_TIMEZONE" placeholder:"NAME" help:"The IANA name of the time zone whose whole days are shown there. Default: ${default}."`
}

// location is the time zone.
func (f promiseFlags) location() (*time.Location, error) {
	zone, err := time.LoadLocation(f.Timezone)
	if err != nil || f.Timezone == "Local" {
		return nil, usageError(fmt.Sprintf("--timezone %s: want the IANA name of a time zone", f.Timezone))
	}
	return zone, nil
}

// retention is how long a kind of data is kept; 0 is for ever.
func (f promiseFlags) retention(kind string) time.Duration {
	switch kind {
	case store.ExpiredLatency:
		return f.LatencyRetention
	case store.ExpiredAudit, store.ExpiredTokens:
		return f.AuditRetention
	}
	return f.UsageRetention
}

type privacyReportCommand struct {
	databaseFlag
	promiseFlags
	Format string `default:"text" enum:"text,json" help:"${enum}: a page to read, or the same for programs. Default: ${default}."`
}

// privacyReport is what an officer wants to know. It names no people but by the ids of who holds rights.
type privacyReport struct {
	GeneratedAt time.Time          `json:"generated_at"`
	Mode        reportedMode       `json:"mode"`
	Decided     bool               `json:"decided"` // somebody set the mode of the deployment
	Overrides   []reportedMode     `json:"overrides"`
	Floor       int                `json:"floor"`
	Timezone    string             `json:"timezone"`
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

type reportedKind struct {
	Kind   string     `json:"kind"`
	Keep   string     `json:"keep"` // such as 9600h0m0s; "for ever"
	Oldest *time.Time `json:"oldest,omitempty"`
	Beyond bool       `json:"beyond"` // the oldest should have gone more than a day ago
}

type reportedRight struct {
	Kind           string    `json:"kind"`
	ID             string    `json:"id"`
	Role           string    `json:"role"`
	OrganizationID string    `json:"organization_id,omitempty"`
	TemplateID     string    `json:"template_id,omitempty"`
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
	if _, err := f.location(); err != nil {
		return err
	}
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := audit(ctx, s, privacyReportAction, f); err != nil {
		return err
	}
	r, err := f.report(ctx, s)
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

func (f privacyReportCommand) report(ctx context.Context, s *store.Store) (r privacyReport, err error) {
	r = privacyReport{
		GeneratedAt: time.Now().UTC(), Floor: f.PrivacyFloor, Timezone: f.Timezone, Overrides: []reportedMode{}, Rights: []reportedRight{},
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
	oldest, err := s.Oldest(ctx)
	if err != nil {
		return r, err
	}
	for _, kind := range store.ExpiredKinds {
		k := reportedKind{Kind: kind, Keep: "for ever", Oldest: moment(oldest[kind])}
		if keep := f.retention(kind); keep > 0 {
			k.Keep = keep.String()
			// What is deleted every day, by whole days, may be two days late.
			k.Beyond = k.Oldest != nil && k.Oldest.Before(r.GeneratedAt.Add(-keep-48*time.Hour))
		}
		r.Retention = append(r.Retention, k)
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
	fmt.Fprintf(
		w, "\nSmall groups: numbers about fewer than %d people are hidden, by whole days of %s, in every mode but full.\n"+
			"This and the retention are as given to this command, which does not ask servers.\n", r.Floor, r.Timezone,
	)
	heading(w, "Retention, as set and as carried out", len(r.Retention), "DATA\tKEPT\tOLDEST\t")
	for _, k := range r.Retention {
		late := ""
		if k.Beyond {
			late = "should be gone"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Kind, k.Keep, at(k.Oldest), late)
	}
	heading(w, "Who holds which right", len(r.Rights), "KIND\tID\tROLE\tORGANIZATION\tTEMPLATE\tSINCE")
	for _, b := range r.Rights {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.Kind, b.ID, b.Role, cmp.Or(b.OrganizationID, "-"), cmp.Or(b.TemplateID, "-"),
			b.Since.Format(time.RFC3339),
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

func printDoings(w io.Writer, title string, all []reportedDoing) {
	heading(w, title, len(all), "WHAT\tBY\tROLE\tOF HOW MANY\tTIMES\tLAST")
	for _, d := range all {
		fmt.Fprintf(
			w, "%s\t%s\t%s\t%d\t%d\t%s\n", d.Action, d.Kind, cmp.Or(d.Role, "-"), d.Principals, d.Times, d.Last.Format(time.RFC3339),
		)
	}
}
