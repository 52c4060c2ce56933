package store_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
)

// The rules of session names are given by example.
func TestSessionNames(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/session_counts.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples struct {
		Names   []struct{ Given, Want string }
		Reports []struct {
			Name   string
			Fields map[string]int64
			Map    map[string]int64
			Want   map[string]int64
		}
		Families map[string][]string
	}
	if err := json.Unmarshal(content, &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples.Names) == 0 || len(examples.Reports) == 0 || len(examples.Families) == 0 {
		t.Fatal("no examples")
	}
	for _, e := range examples.Names {
		if got := store.NormalizeSessionName(e.Given); got != e.Want {
			t.Errorf("name %q: got %q, want %q", e.Given, got, e.Want)
		}
	}
	for given, want := range map[string]string{
		"\u202eedoc": "edoc", "zed\u2066\u2069": "zed", "\u200bz\u2060e\u2028d\ufeff": "zed",
		"\u05e9\u05dc\u05d5\u05dd": "\u05e9\u05dc\u05d5\u05dd",
	} {
		if got := store.NormalizeSessionName(given); got != want {
			t.Errorf("name %q: got %q, want %q", given, got, want)
		}
	}
	for _, e := range examples.Reports {
		counts := e.Map
		if len(counts) == 0 {
			counts = e.Fields
		}
		got, _ := store.NormalizeSessions(apps.BuiltIn(), counts)
		if diff := cmp.Diff(e.Want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Name, diff)
		}
	}
	for family, names := range examples.Families {
		for _, app := range names {
			if got := apps.BuiltIn().Of(app).Family; got != family && family != "unknown" {
				t.Errorf("family of %q: got %q, want %q", app, got, family)
			}
		}
	}
	if got := apps.BuiltIn().Of("emacs").Family; got != "unknown" {
		t.Errorf("family of an app that nobody knows: %q", got)
	}
}
