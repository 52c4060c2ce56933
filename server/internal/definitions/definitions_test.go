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
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store/apps"
)

// file is a file of definitions that tests change.
type file struct {
	path         string
	now          time.Time
	controlPlane *exposition.ControlPlane
	changes      int
	apps         *apps.List // that was told last
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
		Own:      []*exposition.Family{{Name: "coderd_workspace_builds_total", Kind: exposition.CounterFamily}},
		Changed:  func() { f.changes++ },
		Apps:     apps.BuiltIn().Extend([]apps.FamilyDefinition{{Name: apps.AI, Together: 7}}, nil),
		KnowApps: func(l *apps.List) { f.apps = l },
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
	none, err := New(Options{ControlPlane: exposition.NewControlPlane(), Apps: apps.BuiltIn(), KnowApps: func(*apps.List) {}})
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

// The file extends the list of apps; everything that is known is shown with where it comes from.
func TestAppDefinitions(t *testing.T) {
	t.Parallel()
	f := newFile(t, `apps:
- {name: acme_editor, family: acme, display_name: ACME Editor, icon: /icon/acme.svg}
- name: acme_helper
  family: ai
- {name: zed, ide: false}
app_families: # after those who are in them
- {name: acme, display_name: ACME, ide: true}
`)
	s, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	shown := func() (families map[string]*insightsv1.DefinedAppFamily, known map[string]*insightsv1.DefinedApp) {
		_, answer := of(t, s)
		families, known = map[string]*insightsv1.DefinedAppFamily{}, map[string]*insightsv1.DefinedApp{}
		for _, f := range answer.GetAppFamilies() {
			families[f.GetName()] = f
		}
		for _, a := range answer.GetApps() {
			known[a.GetName()] = a
		}
		if len(families) != len(answer.GetAppFamilies()) || len(known) != len(answer.GetApps()) || len(known) != len(f.apps.Names()) {
			t.Errorf("%d families and %d apps, of %d", len(answer.GetAppFamilies()), len(answer.GetApps()), len(f.apps.Names()))
		}
		return families, known
	}
	families, known := shown()
	for name, want := range map[string]*insightsv1.DefinedAppFamily{
		"acme": {Name: "acme", DisplayName: "ACME", Ide: true, Origin: "definitions.yaml:7"},
		"ai":   {Name: "ai", DisplayName: "AI Tools", Floor: 7, Origin: builtIn},
		"ssh":  {Name: "ssh", DisplayName: "SSH", Icon: "/icon/terminal.svg", Origin: builtIn},
	} {
		if diff := cmp.Diff(want, families[name], protocmp.Transform()); diff != "" {
			t.Errorf("family %s (-want +got):\n%s", name, diff)
		}
	}
	for name, want := range map[string]*insightsv1.DefinedApp{
		"acme_editor": {
			Name: "acme_editor", Family: "acme", DisplayName: "ACME Editor", Icon: "/icon/acme.svg", Ide: true,
			Origin: "definitions.yaml:2",
		},
		"acme_helper": {Name: "acme_helper", Family: "ai", DisplayName: "acme_helper", Origin: "definitions.yaml:3"},
		"zed":         {Name: "zed", Family: "ssh", DisplayName: "Zed", Icon: "/icon/zed.svg", Origin: "definitions.yaml:5"},
		"jupyter":     {Name: "jupyter", Family: "unknown", DisplayName: "Jupyter", Icon: "/icon/jupyter.svg", Ide: true, Origin: builtIn},
	} {
		if diff := cmp.Diff(want, known[name], protocmp.Transform()); diff != "" {
			t.Errorf("app %s (-want +got):\n%s", name, diff)
		}
	}
	if f.apps.Together("acme_helper") != 7 || !f.apps.Of("acme_editor").IDE || f.apps.Of("zed").IDE {
		t.Errorf("the list in force: %+v", f.apps)
	}
	f.write(t, "apps: [{name: acme_helper}]")
	if _, err := s.read(); err != nil {
		t.Fatal(err)
	}
	families, known = shown()
	if families["acme"] != nil || known["acme_editor"] != nil || known["acme_helper"].GetFamily() != "unknown" || !f.apps.Of("zed").IDE {
		t.Errorf("after another file: %v, %v", families["acme"], known["acme_helper"])
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
		"no YAML":          {"metric_families: [", "line 1"},
		"families as text": {"app_families: ai", "line 1: app_families: must be a list"},
		"many app families": {
			"app_families:\n" + strings.Repeat("- {name: a}\n", maxGroups+1), "line 2: app_families: 101 families, at most 100",
		},
		"many apps":          {"apps:\n" + strings.Repeat("- {name: a}\n", maxApps+1), "line 2: apps: 1001 apps, at most 1000"},
		"an app by name":     {"apps: [a]", "line 1: apps[0]: must be a mapping"},
		"no name of a group": {"app_families:\n- {ide: true}\n", "line 2: app_families[0].name: is missing"},
		"no name of an app":  {"apps:\n- {family: ai}\n", "line 2: apps[0].name: is missing"},
		"no family":          {"app_families:\n- name: unknown\n", "line 2: app_families[0].name: unknown is what belongs to no family"},
		"workspace apps":     {"app_families:\n- name: workspace_app\n", "line 2: app_families[0].name: workspace_app is what"},
		"a name that is not stored": {
			"apps:\n- name: Claude-Code\n", "line 2: apps[0].name: must be a name in lower case",
		},
		"a name of a group that is not stored": {"app_families:\n- name: our tools\n", "line 2: app_families[0].name: must be a name"},
		"a group twice":                        {"app_families: [{name: a}, {name: a}]", "line 1: app_families[1].name: a is there twice"},
		"an app twice":                         {"apps:\n- {name: a}\n- {name: a}\n", "line 3: apps[1].name: a is there twice"},
		"an unknown family":                    {"apps:\n- {name: a}\n- {name: b, family: c}\n", "line 3: apps[1].family: c is no family"},
		"an IDE by half":                       {"apps:\n- name: a\n  ide: maybe\n", "line 3: apps[0].ide: must be true or false"},
		"an IDE as text":                       {"app_families:\n- {name: a, ide: \"true\"}", "line 2: app_families[0].ide: must be true"},
		"an icon without a path":               {"apps:\n- name: a\n  icon: ''\n", "line 3: apps[0].icon: must be a text of 1 to"},
		"a long display name": {
			"apps:\n- name: a\n  display_name: " + strings.Repeat("n", 129) + "\n", "line 3: apps[0].display_name: must be a text of 1",
		},
		"control characters": {
			"app_families:\n- name: a\n  display_name: \"a\\tb\"\n", "line 3: app_families[0].display_name: must be a text of 1 to 128",
		},
		"a floor":            {"app_families:\n- name: a\n  floor: 2\n", "line 3: app_families[0].floor: is no key of definitions"},
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
			if len(f.controlPlane.Families()) != len(exposition.ControlPlaneFamilies) || f.apps.Listed("a") {
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
