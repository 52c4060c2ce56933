package coder

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// Report counts what an import found to be new or different.
type Report struct {
	Organizations, Templates, Versions, Users, Groups, Workspaces, Agents, Apps int

	GroupsGone    int
	Refused       int // items that the catalog did not take
	Builds        int
	StatusChanges int
	RolesGiven    int
	RolesTaken    int
	HalfHours     int // rows of usage
	Minutes       int // of all rows: a minute in two apps counts twice
	Estimated     int // rows of usage that are estimates
	Samples       int // minutes with a latency
	Logins        int // minutes in which users signed in
}

// addCatalog counts the items of a change and returns their number.
func (r *Report) addCatalog(c store.Catalog) int {
	items := 0
	for _, list := range []struct {
		to *int
		n  int
	}{
		{&r.Organizations, len(c.Organizations)},
		{&r.Templates, len(c.Templates)},
		{&r.Versions, len(c.Versions)},
		{&r.Users, len(c.Users)},
		{&r.Groups, len(c.Groups)},
		{&r.Workspaces, len(c.Workspaces)},
		{&r.Agents, len(c.Agents)},
		{&r.Apps, len(c.Apps)},
		{&r.GroupsGone, len(c.Deleted.Groups)},
	} {
		*list.to += list.n
		items += list.n
	}
	return items
}

// addUsage counts rows.
func (r *Report) addUsage(rows []store.OpenRow) {
	for _, row := range rows {
		if row.Kind.HasBins() {
			r.Samples += row.Minutes.Count()
			continue
		}
		if row.Kind == minute.Login {
			r.Logins += row.Minutes.Count()
			continue
		}
		r.HalfHours++
		r.Minutes += row.Minutes.Count()
		if _, estimate := row.Kind.Measured(); estimate {
			r.Estimated++
		}
	}
}

// Write prints the report as a table.
func (r Report) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tNEW OR CHANGED")
	for _, line := range []struct {
		what string
		n    int
	}{
		{"organizations", r.Organizations},
		{"templates", r.Templates},
		{"template versions", r.Versions},
		{"users", r.Users},
		{"groups", r.Groups},
		{"groups that are gone", r.GroupsGone},
		{"workspaces", r.Workspaces},
		{"agents", r.Agents},
		{"apps", r.Apps},
		{"refused items", r.Refused},
		{"builds", r.Builds},
		{"status changes", r.StatusChanges},
		{"roles given", r.RolesGiven},
		{"roles taken", r.RolesTaken},
		{"half hours of use", r.HalfHours},
		{"of them estimates", r.Estimated},
		{"minutes of use", r.Minutes},
		{"minutes with a latency", r.Samples},
		{"logins", r.Logins},
	} {
		fmt.Fprintf(w, "%s\t%d\n", line.what, line.n)
	}
	return w.Flush()
}
