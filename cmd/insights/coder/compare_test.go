package coder

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/storetest"
)

// A comparison shows equal numbers where both count the same, and names each reason why they do not.
func TestCompare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "columns", 2)
	compare := func() Comparison {
		i, done := newImporter(t, w.url, openStore(t, storetest.SQLite(t)), Options{Past: 24 * time.Hour})
		defer done()
		if err := i.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := i.Compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := compare()
	for _, l := range first.Lines {
		if l.Coder != l.Here || l.Here == 0 || len(l.Why) > 0 {
			t.Errorf("both count the same: %+v", l)
		}
	}
	if len(first.Lines) != 6 || first.Lines[0].Template != "template0" || first.Lines[5].Template != "" {
		t.Errorf("lines: %+v", first.Lines)
	}

	user := uuid.New()
	w.exec(t, `INSERT INTO users (id, username) VALUES ($1, 'late')`, user)
	half := w.now.Truncate(halfHour).Add(-6 * time.Hour)
	report := func(at time.Time, template int) {
		w.exec(t, `INSERT INTO workspace_agent_stats (created_at, user_id, template_id, connection_count, session_count_ssh)
			VALUES ($1, $2, $3, 1, 1)`, at, user, w.templates[template])
	}
	count := func(start time.Time, template, minutes int) {
		w.exec(
			t, `INSERT INTO template_usage_stats VALUES ($1, $2, $3, $4, NULL, $5, $5, 0, 0, 0, 0, NULL)`, start, start.Add(halfHour),
			w.templates[template], user, minutes,
		)
	}
	report(half, 0) // after it was counted
	report(half.Add(time.Minute), 0)
	for template := range w.templates { // at once
		at := half.Add(time.Hour)
		report(at, template)
		report(at.Add(time.Minute), template)
		report(at.Add(2*time.Minute), template)
		count(at, template, 3)
	}
	count(half.Add(2*time.Hour), 1, 5) // and deleted
	w.exec(t, `DELETE FROM template_usage_stats WHERE start_time >= $1`, half.Add(5*time.Hour))
	report(half.Add(5*time.Hour+time.Minute), 1) // not counted yet
	second := compare()
	for i, want := range []string{
		"2 more: reports that came after", "2 more: reports that came after", "more: Coder has not counted", "more: Coder has not counted",
		"3 less: minutes in several templates at once", "3 less: minutes in several templates at once",
	} {
		if why := strings.Join(second.Lines[i].Why, "; "); i%2 == 1 && !strings.Contains(why, want) {
			t.Errorf("line %d: %q, want %q", i, why, want)
		}
	}
	if why := strings.Join(second.Lines[3].Why, "; "); !strings.Contains(why, "5 less: reports that Coder counted and has deleted") {
		t.Errorf("what was deleted: %q", why)
	}
	var out bytes.Buffer
	if err := second.Write(&out); err != nil || !strings.Contains(out.String(), "(all)      minutes of use") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
