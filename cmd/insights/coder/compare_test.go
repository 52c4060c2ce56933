package coder

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/storetest"
)

// A comparison shows equal numbers where both count the same, and names each reason why they do not.
func TestCompare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 551, 2)
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

	user := uuid.MustParse(prebuilds)
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
	w.exec(t, `UPDATE users SET is_service_account = true WHERE id = $1`, w.users[2])
	w.exec(t, `UPDATE users SET is_system = true WHERE id = $1`, user)
	last := compare().Lines[4:]
	want := "2 fewer: 1 service account, 1 owner of prebuilds"
	if all := last[0]; all.Coder-all.Here != 2 || strings.Join(all.Why, "; ") != want {
		t.Errorf("users beside people: %+v", all)
	}
	if all := last[1]; !regexp.MustCompile(`[1-9]\d* less: [1-9]\d* of service accounts, [1-9]\d* of system accounts`).MatchString(
		strings.Join(all.Why, "; ")) || strings.Contains(strings.Join(all.Why, "; "), "-") || all.Here >= second.Lines[5].Here {
		t.Errorf("minutes beside those of people: %+v, before %+v", all, second.Lines[5])
	}
	var out bytes.Buffer
	if err := second.Write(&out); err != nil || !strings.Contains(out.String(), "(all)      minutes of use") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Whoever looks before an import learns how many users Coder shows, how many are shown here, and what the others are.
func TestPopulation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	population := func() (Population, string) {
		t.Helper()
		i, done := newImporter(t, w.url, openStore(t, storetest.SQLite(t)), Options{DryRun: true})
		defer done()
		if err := i.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		p, err := i.Population(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := p.Write(&out); err != nil {
			t.Fatal(err)
		}
		return p, out.String()
	}
	if p, text := population(); p.People != 3 || len(p.Others) > 0 || !strings.HasSuffix(text, ": 3 in Coder, 3 here.\n") {
		t.Errorf("of people alone: %+v %s", p, text)
	}
	w.exec(t, `UPDATE users SET is_service_account = true WHERE id <> $1`, w.users[0])
	if p, text := population(); p.People != 1 || !strings.HasSuffix(text, ": 3 in Coder, 1 here. 2 fewer: 2 service accounts.\n") {
		t.Errorf("with service accounts: %+v %s", p, text)
	}
	for _, tt := range []struct{ id, want string }{
		{uuid.NewString(), "3 fewer: 2 service accounts, 1 system account."},
		{prebuilds, "4 fewer: 2 service accounts, 1 owner of prebuilds, 1 system account."},
	} {
		w.exec(t, `INSERT INTO users (id, username, is_system) VALUES ($1, 'system' || (SELECT COUNT(*) FROM users), true)`, tt.id)
		w.exec(t, `INSERT INTO template_usage_stats (start_time, end_time, template_id, user_id, usage_mins)
			SELECT start_time, end_time, template_id, $1, 1
			FROM template_usage_stats WHERE user_id = $2`, tt.id, w.users[0])
		if p, text := population(); !strings.HasSuffix(text, tt.want+"\n") {
			t.Errorf("with system accounts: %+v %s, want %s", p, text, tt.want)
		}
	}
	w.exec(t, `UPDATE template_usage_stats SET start_time = start_time - INTERVAL '40 days' WHERE user_id <> $1`, w.users[0])
	if p, text := population(); p.People != 1 || len(p.Others) > 0 || !strings.HasSuffix(text, ": 1 in Coder, 1 here.\n") {
		t.Errorf("with others of long ago: %+v %s", p, text)
	}
}

// When the first import of a deployment began is known, whatever is imported later.
func TestFirstImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 1)
	to := openStore(t, storetest.SQLite(t))
	begun := func(o Options) time.Time {
		t.Helper()
		i, done := newImporter(t, w.url, to, o)
		defer done()
		if err := i.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		at, err := to.FirstImportSince(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := begun(Options{DryRun: true}); !at.IsZero() {
		t.Errorf("a dry run counts: %v", at)
	}
	first := begun(Options{})
	if again := begun(Options{}); first.IsZero() || !again.Equal(first) {
		t.Errorf("the first import began at %v, after another one at %v", first, again)
	}
}
