package store_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/inventory"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// column is a row of the inventory: the word for what happens to the column, by what is done.
type column struct {
	about string
	word  map[string]string
}

// columns are the rows of the inventory by table.column.
var columns = func() map[string]column {
	all := map[string]column{}
	for _, c := range inventory.Columns() {
		all[c.Table+"."+c.Name] = column{
			c.About, map[string]string{"erased": c.Erased, "pseudonym": c.Pseudonym, "aggregate": c.Aggregate},
		}
	}
	return all
}()

// Every column of either database has an entry in the table, every entry has its column, and none is a place for what the service
// must not know.
func TestColumns(t *testing.T) {
	t.Parallel()
	personal := regexp.MustCompile(
		`(^|[._])(e_?mail|mail|phone|(real|full|first|last|given|family|sur)_?name|ip|ip_?addr(ess)?|address|host|host_?name)($|_)`,
	)
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			all, err := storetest.Open(t, open(t), storetest.Now).Columns()
			if err != nil {
				t.Fatal(err)
			}
			all = slices.DeleteFunc(all, func(name string) bool {
				return strings.HasPrefix(name, "goose_") || strings.HasPrefix(name, "sqlite_")
			})
			slices.Sort(all)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(columns)), all); diff != "" {
				t.Errorf("columns (-inventory +schema):\n%s", diff)
			}
			for _, c := range inventory.Columns() {
				if c.Purpose == "" {
					t.Errorf("the inventory does not say what %s is for", c.Table)
				}
				if c.About == "person" && (c.Why == "" || c.Why == "-") {
					t.Errorf("the inventory does not say why %s.%s is kept of people", c.Table, c.Name)
				}
			}
			for _, name := range all {
				if personal.MatchString(name) {
					t.Errorf("column %s looks like a place for personal data", name)
				}
			}
		})
	}
}

// leaveMore gives all rows of the canaries something in the columns that they left empty.
func (c *canaries) leaveMore(t *testing.T) {
	t.Helper()
	latency := c.Row(0, 0, 18, 0b11)
	latency.Kind, latency.App, latency.Connected, latency.Bins = minute.Connection, "", false, []byte{100, 110}
	c.MustMerge(t, latency)
	if _, err := c.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.MustMerge(t, latency)
	directory := c.NewDirectory()
	for _, agent := range slices.Concat(c.Agents[0][:], c.Agents[1][:]) {
		if _, known, err := directory.Place(t.Context(), agent); err != nil || !known {
			t.Fatal(known, err)
		}
	}
	subjects, err := c.Subjects(t.Context(), []store.Visit{{User: c.Users[0], Workspace: c.Workspaces[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range subjects {
		err := c.TouchAgents(t.Context(), []store.AgentState{
			{AgentID: c.Agents[0][0], Reached: &store.SeatRegion{Subject: subject, HalfHour: 1, Region: "fra"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	storetest.Publish(t, c.Store, store.Publication{Floor: 1, Zone: time.UTC, After: -24 * time.Hour})
	for _, statement := range []string{
		`INSERT INTO usage_day SELECT template_id, day - 1, version, usage, latency FROM usage_pages`,
		`UPDATE usage_pages SET sums = usage`, `UPDATE people SET former_subject = person`,
		`INSERT INTO people (person, user_id, counted_as) SELECT 549755813887, user_id, person FROM people WHERE person > 0 LIMIT 1`,
		`UPDATE agents SET deleted_at = 1`, `UPDATE apps SET icon = 'x'`, `UPDATE role_bindings SET source = 'x'`,
		`UPDATE builds SET at = 1, started_at = 2`, `UPDATE group_members SET to_at = from_at + 1 WHERE to_at = 0`,
		`UPDATE agent_states SET legacy_sessions = true, direct_at = 1, relayed_at = 2, derp_region = 'x'`,
		`UPDATE agent_conditions SET at = 1, app_health = '{"x":"y"}'`,
		`UPDATE users SET created_at = 1600000000000001`, `UPDATE workspaces SET created_at = 1600000000000001`,
		`UPDATE tokens SET revoked_at = 1, last_used_at = 2`,
	} {
		if err := c.ExecForTest(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := c.ExecForTest(
		`UPDATE role_bindings SET organization_id = ?, template_id = ?, group_id = ?`, c.Organization, c.Templates[0], c.Organization,
	); err != nil {
		t.Fatal(err)
	}
}

// contents are the values of a database by table.column, as a backup has them.
type contents map[string][]any

func contentsOf(t *testing.T, database string) contents {
	t.Helper()
	all := contents{}
	var table struct {
		Table   string
		Columns []string
	}
	lines := linesOf(t, backup(t, database))
	for _, line := range lines[1 : len(lines)-1] {
		var values []any
		into := any(&values)
		if strings.HasPrefix(line, "{") {
			into = &table
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber() // versions of pages have more digits than a float64
		if err := d.Decode(into); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			name := table.Table + "." + table.Columns[i]
			all[name] = append(all[name], v)
		}
	}
	return all
}

// without returns the values of a list that another one does not have, or not as often.
func without(list, other []any) (left []any) {
	count := map[any]int{}
	for _, v := range other {
		count[v]++
	}
	for _, v := range list {
		if count[v]--; count[v] < 0 {
			left = append(left, v)
		}
	}
	return left
}

func isEmpty(v any) bool {
	return v == nil || v == "" || v == json.Number("0") || v == uuid.Nil.String()
}

// wordFor is the word of the inventory for what happened to a column that lost some values and gained others.
func wordFor(lost, gained []any) string {
	isRound := func(v any) bool {
		number, _ := v.(json.Number)
		micros, err := number.Int64()
		return err == nil && micros%(15*time.Minute).Microseconds() == 0
	}
	all := func(is func(any) bool) bool { return !slices.ContainsFunc(gained, func(v any) bool { return !is(v) }) }
	switch {
	case len(lost) == 0 && len(gained) == 0:
		return "kept"
	case len(lost) == 0:
		return "made"
	case len(gained) == 0:
		return "deleted"
	case len(lost) != len(gained):
		return "something that has no word"
	case all(isEmpty):
		return "emptied"
	case all(isRound):
		return "rounded"
	}
	return "replaced"
}

// holding are those of the words that a column holds, by what they are.
func (c *canaries) holding(values []any) (found []string) {
	for what, word := range c.words {
		if slices.ContainsFunc(values, func(v any) bool {
			text, _ := v.(string)
			return strings.Contains(strings.ToLower(text), strings.ToLower(word))
		}) {
			found = append(found, what)
		}
	}
	return found
}

// Every entry of the table of columns says what really happens, on both databases, to people who left something in every column.
func TestColumnsAreTreatedAsTold(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			lost, gained := map[string]contents{}, map[string]contents{} // by what was done
			var seen []contents
			note := func(done string, before, after contents) {
				if lost[done] == nil {
					lost[done], gained[done] = contents{}, contents{}
				}
				seen = append(seen, before, after)
				for name := range columns {
					lost[done][name] = append(lost[done][name], without(before[name], after[name])...)
					gained[done][name] = append(gained[done][name], without(after[name], before[name])...)
				}
			}
			// A moment that is not round, so that it is not taken for one that was rounded.
			later := func(c *canaries) *store.Store {
				s, err := store.Open(t.Context(), store.Options{
					Database: c.Database, Clock: func() time.Time { return storetest.Now.Add(time.Minute + time.Second) },
					PrivacyKey: storetest.PrivacyKey(t, c.Database),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return s
			}
			erase := func(c *canaries) {
				t.Helper()
				before, s := contentsOf(t, c.Database), later(c)
				for _, user := range c.Users[:2] {
					if err := s.EraseUser(t.Context(), user); err != nil {
						t.Fatal(err)
					}
				}
				after := contentsOf(t, c.Database)
				note("erased", before, after)
				for name := range columns {
					if found := c.holding(after[name]); len(found) > 0 {
						t.Errorf("erased, %s still holds %q", name, found)
					}
				}
			}
			treat := func(c *canaries, mode store.PrivacyMode) contents {
				t.Helper()
				if _, err := c.SetPrivacyMode(t.Context(), access.Principal{}, c.Organization, mode); err != nil {
					t.Fatal(err)
				}
				before := contentsOf(t, c.Database)
				if err := c.Treat(t.Context()); err != nil {
					t.Fatal(err)
				}
				after := contentsOf(t, c.Database)
				note(string(mode), before, after)
				return after
			}

			c := newCanaries(t, open(t))
			c.leaveMore(t)
			for name, values := range contentsOf(t, c.Database) {
				if found := c.holding(values); len(found) > 0 && columns[name].about == "nobody" {
					t.Errorf("%s is about nobody and holds %q", name, found)
				}
			}
			erase(c)

			c = newCanaries(t, open(t))
			c.leaveMore(t)
			hidden := treat(c, store.PrivacyPseudonym)
			for name, entry := range columns {
				for _, what := range c.holding(hidden[name]) {
					if strings.HasPrefix(what, "id ") ||
						strings.HasPrefix(what, "name ") && entry.word["pseudonym"] != "kept" && name != "audit_events.target" {
						t.Errorf("under pseudonyms, %s still holds %q", name, what)
					}
				}
			}
			treat(c, store.PrivacyAggregate)
			erase(c)

			for name, entry := range columns {
				for done, want := range entry.word {
					if got := wordFor(lost[done][name], gained[done][name]); got != want {
						t.Errorf(
							"%s, %s: was %s, the table says %s (lost %v, gained %v)", name, done, got, want, lost[done][name],
							gained[done][name],
						)
					}
				}
				if entry.about == "nobody" {
					if word := entry.word["erased"]; word != "kept" && word != "replaced" {
						t.Errorf("%s is about nobody and does not stay when somebody is erased", name)
					}
				} else if entry.about != "person" {
					t.Errorf("%s is about %q", name, entry.about)
				} else if !slices.ContainsFunc(seen, func(all contents) bool {
					return slices.ContainsFunc(all[name], func(v any) bool { return !isEmpty(v) })
				}) {
					t.Errorf("nobody left anything in %s", name)
				}
			}
		})
	}
}
