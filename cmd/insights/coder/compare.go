package coder

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Comparison is what Coder and the store say about the last day of an import, each from what it counted itself.
type Comparison struct {
	// From and To are the day: whole half hours.
	From, To time.Time
	// Lines are by template, and those of all templates last.
	Lines []ComparisonLine
}

// ComparisonLine is one number in both systems.
type ComparisonLine struct {
	Template    string // empty: of all together
	What        string
	Coder, Here int
	Why         []string // why they differ
}

// Write prints the comparison as a table.
func (c Comparison) Write(out io.Writer) error {
	fmt.Fprintf(out, "From %s to %s\n\n", c.From.Format(time.RFC3339), c.To.Format(time.RFC3339))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TEMPLATE\tWHAT\tCODER\tHERE\tWHY")
	for _, l := range c.Lines {
		name := l.Template
		if name == "" {
			name = "(all)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", name, l.What, l.Coder, l.Here, strings.Join(l.Why, "; "))
	}
	return w.Flush()
}

// differences are the minutes in which half hours differ, by why.
type differences struct {
	early   int // Coder has not counted the half hour yet
	late    int // reports came after Coder had counted their half hour
	deleted int // Coder counted reports that are gone
}

func (d differences) reasons() (why []string) {
	for _, r := range []struct {
		minutes int
		text    string
	}{
		{d.early, "%d more: Coder has not counted the newest half hours yet"},
		{d.late, "%d more: reports that came after Coder had counted their half hour"},
		{d.deleted, "%d less: reports that Coder counted and has deleted"},
	} {
		if r.minutes > 0 {
			why = append(why, fmt.Sprintf(r.text, r.minutes))
		}
	}
	return why
}

// counted is what both systems know of half hours, by cells without kind and app.
type counted struct {
	theirs map[cell]int
	ours   map[cell]minute.Mask
	newest int32 // the last half hour that Coder has
}

// Compare asks both systems about the last day of the import, and says why their answers differ.
func (i *Importer) Compare(ctx context.Context) (Comparison, error) {
	to := i.until.Truncate(halfHour)
	c := Comparison{From: to.Add(-24 * time.Hour), To: to}
	var n counted
	err := i.from.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		n, err = i.from.counted(ctx, tx, i.organization, window{from: c.From, to: c.To})
		return err
	})
	if err != nil {
		return c, fmt.Errorf("compare with %s: %w", i.from, err)
	}
	templates := map[uuid.UUID]bool{}
	for at := range n.theirs {
		templates[at.template] = true
	}
	for at := range n.ours {
		templates[at.template] = true
	}
	ids := slices.Collect(maps.Keys(templates))
	names, err := i.to.TemplateNames(ctx, ids)
	if err != nil {
		return c, err
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return strings.Compare(names[a].Template, names[b].Template) })
	for _, id := range ids {
		lines, err := i.compare(ctx, n, c, names[id].Template, id)
		if err != nil {
			return c, err
		}
		c.Lines = append(c.Lines, lines...)
	}
	lines, err := i.compare(ctx, n, c, "", uuid.Nil)
	c.Lines = append(c.Lines, lines...)
	return c, err
}

// counted reads what Coder counted, and what there is to count.
func (d *Database) counted(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window) (counted, error) {
	n := counted{theirs: map[cell]int{}, ours: map[cell]minute.Mask{}}
	err := d.buckets(ctx, tx, organization, w, func(c cell, b bucket) {
		n.theirs[c] = b.usage
		n.newest = max(n.newest, c.halfHour)
	})
	if err != nil {
		return n, err
	}
	used, err := d.usage(ctx, tx, organization, w, nil)
	if err != nil {
		return n, err
	}
	first, end := int32(w.from.Unix()/int64(halfHour.Seconds())), int32(w.to.Unix()/int64(halfHour.Seconds()))
	open := map[cell]bool{}
	place := func(c cell) cell { return cell{template: c.template, user: c.user, halfHour: c.halfHour} }
	for c, is := range used {
		if is.connected {
			open[place(c)] = true
		}
	}
	for c, is := range used {
		at := place(c)
		counts := !c.kind.HasBins() && c.kind != minute.Login && (c.kind != minute.Session || open[at])
		if counts && c.halfHour >= first && c.halfHour < end {
			n.ours[at] |= is.minutes
		}
	}
	return n, nil
}

// compare compares a template, or all templates together if it is uuid.Nil.
func (i *Importer) compare(ctx context.Context, n counted, c Comparison, name string, template uuid.UUID) ([]ComparisonLine, error) {
	var ids []uuid.UUID
	if template != uuid.Nil {
		ids = []uuid.UUID{template}
	}
	owner := access.Principal{Kind: access.KindService}.With(access.Binding{Role: access.RoleOwner})
	scope, err := access.Templates(owner, access.ViewInsights, ids, nil)
	if err != nil {
		return nil, err
	}
	activity, total, err := i.to.UserActivity(ctx, scope, minute.People, minute.NewWindow(c.From, c.To))
	if err != nil {
		return nil, err
	}
	here, otherUsers, otherMinutes := 0, 0, 0
	for _, u := range activity {
		here += int(u.Minutes)
	}
	for _, o := range total.Others {
		otherUsers, otherMinutes = otherUsers+o.Actors, otherMinutes+int(o.Minutes)
	}
	theirs, ours, withPrebuilds := added{}, added{}, false
	var d differences
	for at, minutes := range n.theirs {
		if template == uuid.Nil || at.template == template {
			theirs.add(at, minutes)
			d.deleted += max(0, minutes-n.ours[at].Count())
		}
	}
	for at, minutes := range n.ours {
		if template != uuid.Nil && at.template != template {
			continue
		}
		ours.add(at, minutes.Count())
		withPrebuilds = withPrebuilds || at.user.String() == prebuilds
		more := max(0, minutes.Count()-n.theirs[at])
		if at.halfHour > n.newest {
			d.early += more
		} else {
			d.late += more
		}
	}
	why := d.reasons()
	if twice := ours.minutes() - here - otherMinutes; template == uuid.Nil && twice > 0 {
		why = append(
			why, fmt.Sprintf("%d less: minutes in several templates at once, which Coder adds up and this service counts once", twice),
		)
	}
	users := ComparisonLine{Template: name, What: "active users", Coder: theirs.users(), Here: len(activity)}
	if users.Coder != users.Here+otherUsers {
		users.Why = slices.Clone(why)
	}
	minutes := ComparisonLine{Template: name, What: "minutes of use", Coder: theirs.minutes(), Here: here, Why: why}
	if otherUsers > 0 {
		users.Why, minutes.Why = append(users.Why, fewer(total.Others, withPrebuilds)), append(minutes.Why, less(total.Others))
	}
	return []ComparisonLine{users, minutes}, nil
}

// added is minutes of half hours by user, added up over templates as Coder does: to half an hour at most.
type added map[cell]int

func (a added) add(at cell, minutes int) {
	at.template = uuid.Nil
	a[at] = min(a[at]+minutes, minute.MinutesPerHalfHour)
}

func (a added) minutes() (sum int) {
	for _, minutes := range a {
		sum += minutes
	}
	return sum
}

func (a added) users() int {
	users := map[uuid.UUID]bool{}
	for at := range a {
		users[at.user] = true
	}
	return len(users)
}
