package definitions

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/exposition"
)

// file is a file of definitions that tests change.
type file struct {
	path         string
	now          time.Time
	controlPlane *exposition.ControlPlane
	changes      int
}

func newFile(t *testing.T, text string) *file {
	t.Helper()
	f := &file{
		path: filepath.Join(t.TempDir(), "definitions.yaml"), now: time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC),
		controlPlane: exposition.NewControlPlane(),
	}
	f.write(t, text)
	return f
}

func (f *file) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *file) open() (*Service, error) {
	return New(Options{
		File: f.path, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return f.now }, ControlPlane: f.controlPlane,
		Own:     []*exposition.Family{{Name: "coderd_workspace_builds_total", Kind: exposition.CounterFamily}},
		Changed: func() { f.changes++ },
	})
}

// of returns what is in force of these families.
func of(t *testing.T, s *Service, names ...string) (found []*insightsv1.DefinedMetricFamily, answer *insightsv1.GetDefinitionsResponse) {
	t.Helper()
	answer, err := s.GetDefinitions(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range answer.GetMetricFamilies() {
		if slices.Contains(names, f.GetName()) {
			found = append(found, f)
		}
	}
	return found, answer
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	f := newFile(t, `# what our control plane adds
metric_families:
  - name: acme_queue_total
    type: counter
    help: Jobs that were queued.
    labels: [organization_name, queue]
  - {name: acme_depth, type: gauge, help: Jobs that wait.}
  - name: coder_pubsub_publishes_total # with one label more
    type: counter
    help: Messages sent.
    labels: [success, channel]
  - {name: coderd_workspace_creation_duration_seconds, type: histogram, help: H., labels: [organization_name, region]}
`)
	s, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	found, answer := of(t, s, "acme_queue_total", "acme_depth", "coder_pubsub_publishes_total", "coder_pubsub_connected")
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprint(f.GetName(), " ", f.GetType(), " ", f.GetLabels(), " ", f.GetOrigin()))
	}
	want := []string{
		"acme_depth gauge [] definitions.yaml:7", "acme_queue_total counter [organization_name queue] definitions.yaml:3",
		"coder_pubsub_connected gauge [] built-in", "coder_pubsub_publishes_total counter [success channel] definitions.yaml:8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in force (-want +got):\n%s", diff)
	}
	if len(answer.GetMetricFamilies()) != len(exposition.ControlPlaneFamilies)+2 || answer.GetFile() != "definitions.yaml" ||
		!answer.GetReadAt().AsTime().Equal(f.now) || answer.GetError() != "" {
		t.Errorf("%d families: %v", len(answer.GetMetricFamilies()), answer)
	}
	if family, suffix := f.controlPlane.Family("acme_queue_total"); family == nil || suffix != "" {
		t.Error("the control plane may not report what the file says")
	}
	const native = "coderd_workspace_creation_duration_seconds"
	if family, _ := f.controlPlane.Family(native + "_sum"); family == nil || !family.Native || !slices.Contains(family.Labels, "region") {
		t.Errorf("%s with another label: %+v", native, family)
	}
	none, err := New(Options{ControlPlane: exposition.NewControlPlane()})
	if err != nil {
		t.Fatal(err)
	}
	if found, answer := of(t, none, "acme_depth"); len(found) > 0 || answer.GetFile() != "" || answer.GetReadAt() != nil {
		t.Errorf("without a file: %v", answer)
	}
}

// A file is in force when it is right. When it is not, what it said before is, and whoever asks is told why.
func TestDefinitionsChange(t *testing.T) {
	t.Parallel()
	const one = "metric_families: [{name: acme_one, type: gauge, help: H.}]"
	const other = "metric_families: [{name: acme_other, type: gauge, help: H.}]"
	f := newFile(t, one)
	s, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	first := f.now
	for i, step := range []struct {
		text         string // gone: the file is away
		changed      bool
		error        string
		inForce      string
		told         string
		sinceTheLast bool // it is read at this moment
	}{
		{text: one, inForce: "acme_one"},
		{text: "metric_families: 5", error: "line 1: metric_families: must be a list", inForce: "acme_one", told: "must be a list"},
		{text: "metric_families: 5", inForce: "acme_one", told: "must be a list"}, // it is said once
		{text: one, inForce: "acme_one"},
		{text: other, changed: true, inForce: "acme_other", sinceTheLast: true},
		{text: "gone", error: fs.ErrNotExist.Error(), inForce: "acme_other", told: "no such file"},
		{text: other, inForce: "acme_other"},
		{text: "", changed: true, sinceTheLast: true},
		{text: one, changed: true, inForce: "acme_one", sinceTheLast: true},
	} {
		f.now = f.now.Add(time.Minute)
		if step.sinceTheLast {
			first = f.now
		}
		if step.text == "gone" {
			if err := os.Remove(f.path); err != nil {
				t.Fatal(err)
			}
		} else {
			f.write(t, step.text)
		}
		changed, err := s.read()
		said := step.error
		if said == fs.ErrNotExist.Error() {
			said = "no such file"
		}
		if changed != step.changed || (err == nil) != (said == "") || err != nil && !strings.Contains(err.Error(), said) {
			t.Errorf("step %d: changed %t, %v", i, changed, err)
		}
		found, answer := of(t, s, "acme_one", "acme_other")
		if step.inForce == "" && len(found) > 0 || step.inForce != "" && (len(found) != 1 || found[0].GetName() != step.inForce) {
			t.Errorf("step %d: in force %v, want %s", i, found, step.inForce)
		}
		if !answer.GetReadAt().AsTime().Equal(first) || step.told == "" && answer.GetError() != "" ||
			!strings.Contains(answer.GetError(), step.told) || strings.Contains(answer.GetError(), filepath.Dir(f.path)) {
			t.Errorf("step %d: read at %v: %s", i, answer.GetReadAt().AsTime(), answer.GetError())
		}
	}
}

// While it runs, a file that changes is in force after some seconds, and those whom it concerns are told once.
func TestDefinitionsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFile(t, "metric_families: []")
		s, err := f.open()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		f.write(t, "metric_families: [{name: acme_one, type: gauge, help: H.}]")
		time.Sleep(3 * readEvery)
		stop()
		running.Wait()
		if found, _ := of(t, s, "acme_one"); len(found) != 1 || f.changes != 1 {
			t.Errorf("in force: %v; told %d times", found, f.changes)
		}
	})
}

// An error names the line and the key.
func TestDefinitionsFaults(t *testing.T) {
	t.Parallel()
	family := func(lines string) string {
		return "metric_families:\n- name: acme_x\n  type: gauge\n  help: H.\n" + lines
	}
	many := "metric_families:\n" + strings.Repeat("- {name: a, type: gauge, help: H.}\n", maxFamilies+1)
	for name, c := range map[string]struct{ text, want string }{
		"no YAML":            {"metric_families: [", "line 1"},
		"two documents":      {"metric_families: []\n---\nmetric_families: []\n", "line 1: must be one document"},
		"a list":             {"- 5", "line 1: must be a mapping"},
		"an unknown part":    {"metric_families: []\nprices: []\n", "line 2: prices: is no key of definitions"},
		"a part twice":       {"metric_families: []\nmetric_families: []\n", "line 2: metric_families: is there twice"},
		"a number":           {"metric_families: 5", "line 1: metric_families: must be a list"},
		"many families":      {many, "line 2: metric_families: 501 families, at most 500"},
		"a family by name":   {"metric_families:\n- acme_x\n", "line 2: metric_families[0]: must be a mapping"},
		"an unknown key":     {family("  unit: s\n"), "line 5: metric_families[0].unit: is no key of definitions"},
		"no name":            {"metric_families:\n- type: gauge\n  help: H.\n", "line 2: metric_families[0].name: is missing"},
		"no type":            {"metric_families:\n- name: a\n  help: H.\n", "line 2: metric_families[0].type: is missing"},
		"no help":            {"metric_families:\n- name: a\n  type: gauge\n", "line 2: metric_families[0].help: is missing"},
		"a bad name":         {"metric_families:\n- name: a-b\n", "line 2: metric_families[0].name: must be the name"},
		"a name of a suffix": {"metric_families:\n- name: _total\n", "line 2: metric_families[0].name: must be the name"},
		"a bad type": {
			"metric_families:\n- name: a\n  type: summary\n",
			"line 3: metric_families[0].type: must be one of [counter gauge histogram]",
		},
		"a long help": {
			"metric_families:\n- name: a\n  help: " + strings.Repeat("h", maxHelp+1),
			"line 3: metric_families[0].help: must be a text of 1 to 500 bytes",
		},
		"labels as text": {family("  labels: a\n"), "line 5: metric_families[0].labels: must be a list of at most 32 names"},
		"a bad label": {
			family("  labels:\n  - a\n  - b-c\n"),
			"line 7: metric_families[0].labels[1]: must be the name of a label",
		},
		"a bound":               {family("  labels: [le]\n"), "line 5: metric_families[0].labels[0]: must be the name of a label"},
		"a label of Prometheus": {family("  labels: [__name__]\n"), "line 5: metric_families[0].labels[0]: must be the name of a label"},
		"a label twice":         {family("  labels: [a, a]\n"), "line 5: metric_families[0].labels[1]: a is there twice"},
		"a person": {
			family("  labels: [initiator_id]\n"),
			"line 5: metric_families[0].labels[0]: initiator_id names a person",
		},
		"a family twice": {
			family("- {name: acme_x, type: gauge, help: H.}\n"),
			"line 5: metric_families[1].name: acme_x takes the name acme_x",
		},
		"a clash": {
			family("- {name: acme_x_total, type: counter, help: H.}\n"),
			"line 5: metric_families[1].name: acme_x_total takes the name acme_x, which is that of acme_x",
		},
		"a clash with what is built in": {
			"metric_families:\n- {name: coder_pubsub_publishes, type: gauge, help: H.}\n",
			"line 2: metric_families[0].name: coder_pubsub_publishes takes the name coder_pubsub_publishes, which is that",
		},
		"one of ours": {
			"metric_families:\n- {name: coderd_workspace_builds_total, type: counter, help: H.}\n",
			"line 2: metric_families[0].name: coderd_workspace_builds_total takes the name",
		},
		"like one of ours": {
			"metric_families:\n- {name: insights_x, type: gauge, help: H.}\n",
			"line 2: metric_families[0].name: families with names like insights_x",
		},
		"too large": {"# " + strings.Repeat("x", maxFile), "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFile(t, c.text)
			_, err := f.open()
			const begin = "definitions in definitions.yaml: "
			if err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if len(f.controlPlane.Families()) != len(exposition.ControlPlaneFamilies) {
				t.Error("a file that is wrong is in force")
			}
		})
	}
	for _, text := range []string{
		"", "# nothing\n", "null", "metric_families: []", "metric_families:\n- {name: coderd_api_total_user_count, type: gauge, help: H.}",
	} {
		if _, err := newFile(t, text).open(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A file that is away is an error at the start.
func TestDefinitionsAway(t *testing.T) {
	t.Parallel()
	f := newFile(t, "")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.open(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without the file: %v", err)
	}
}
