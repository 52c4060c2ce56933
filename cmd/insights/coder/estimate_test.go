package coder

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/template-insights/insights/store/minute"
)

// However minutes lay, an estimate has as many of each session and app, as many together, and is always the same.
func TestEstimateKeepsNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mask := func(name string) minute.Mask {
			return minute.Mask(rapid.Uint32Max(1<<minute.MinutesPerHalfHour-1).Draw(t, name))
		}
		real := map[minute.Kind]map[string]minute.Mask{
			minute.ImportedSession: {"vscode": mask("vscode"), "ssh": mask("ssh")},
			minute.ImportedApp:     {"code": mask("code"), "8080": mask("8080")},
		}
		var known, all, sessions minute.Mask
		b := bucket{sessions: map[string]int{}, apps: map[string]int{}}
		for app, m := range real[minute.ImportedSession] {
			b.sessions[app] = m.Count()
			sessions |= m
		}
		for app, m := range real[minute.ImportedApp] {
			b.apps[app] = m.Count()
			known |= m
		}
		others := mask("in editors that Coder does not tell apart")
		all = sessions | known | others
		b.usage = all.Count()
		if appsAreKnown := rapid.Bool().Draw(t, "apps are known"); !appsAreKnown {
			known = 0
		}
		ran := mask("in which the workspace ran")
		rows := b.estimate(known, ran)
		if diff := cmp.Diff(rows, b.estimate(known, ran)); diff != "" {
			t.Fatal("another time it is another one:", diff)
		}
		together := known
		for _, r := range rows {
			together |= r.Minutes
			if m, named := real[r.Kind][r.App]; named {
				if r.Minutes.Count() != m.Count() {
					t.Fatalf("%d minutes of %s, want %d", r.Minutes.Count(), r.App, m.Count())
				}
				delete(real[r.Kind], r.App)
			} else if r.Kind != minute.ImportedSession || r.App != "unknown" {
				t.Fatalf("an estimate of %v %q", r.Kind, r.App)
			}
		}
		for kind, left := range real {
			for app, m := range left {
				if m != 0 && (kind == minute.ImportedSession || known == 0) {
					t.Fatalf("no estimate of %s, which has %d minutes", app, m.Count())
				}
			}
		}
		if together.Count() != all.Count() {
			t.Fatalf("%d minutes together, want %d", together.Count(), all.Count())
		}
		if within, want := (together &^ known & ran).Count(), min((together&^known).Count(), (ran&^known).Count()); within != want {
			t.Fatalf("%d of the chosen minutes lie where the workspace ran, want %d", within, want)
		}
	})
}
