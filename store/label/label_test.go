package label_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store/label"
)

// The same name in several cases and Unicode forms.
func TestAlike(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{
		{"ada", "Ada", "ADA", "\uff21da"},
		{"\u00e4rger", "\u00c4RGER", "a\u0308rger", "A\u0308RGER"},
		{"stra\u00dfe", "STRASSE", "strasse", "STRA\u1e9eE"},
		{"\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"},
		{"file", "\ufb01le", "FILE"},
		{"\u212bngstr\u00f6m", "\u00e5ngstro\u0308m", "A\u030angstr\u00d6m"},
		{"\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"},
	} {
		for _, name := range names {
			if got, want := label.Fold(name), label.Fold(names[0]); got != want {
				t.Errorf("%q folds to %q, %q to %q", name, got, names[0], want)
			}
			if !label.Contains("x"+name+"y", names[0]) || !label.Contains(names[0], name) {
				t.Errorf("%q and %q are not found in each other", name, names[0])
			}
			if label.Key(name) != label.Key(names[0]) {
				t.Errorf("%q and %q have different places", name, names[0])
			}
		}
	}
	for _, c := range [][2]string{{"ada", "eda"}, {"", "a"}, {"a", "\u00e4"}, {"o", "0"}} {
		if label.Contains(c[0], c[1]) {
			t.Errorf("%q is found in %q", c[1], c[0])
		}
	}
	if !label.Contains("ada", "") {
		t.Error("nothing is not part of a name")
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	want := []string{
		"", "_x", "1", "10", "2", "ada", "\u00c4nne", "Anton", "\u00c9mile", "eve", "\u00d6zg\u00fcr", "Zo\u00eb", "\u03b1", "\u0436",
		"\u6f22",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	label.Sort(got, func(name string) string { return name })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	alike := []string{"b", "ADA", "ada", "Ada", "A"}
	label.Sort(alike, func(name string) string { return name })
	if diff := cmp.Diff([]string{"A", "ADA", "ada", "Ada", "b"}, alike); diff != "" {
		t.Errorf("order of names that are alike (-want +got):\n%s", diff)
	}
}

// Whatever a name holds, folding is done once and for all, and what is alike has one key.
func FuzzFold(f *testing.F) {
	for _, name := range []string{
		"Ada", "\u0130", "\u1e9e", "\ufb03", "\u0345", "A\u0345\u0301", "\u03d4", "\U0001d400", "\xff", "\u1fb7",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := label.Fold(name)
		if again := label.Fold(folded); again != folded {
			t.Errorf("%q folds to %q and then to %q", name, folded, again)
		}
		key := label.Key(name)
		if label.Key(folded) != key {
			t.Errorf("%q and %q have different places", name, folded)
		}
	})
}

func BenchmarkKey(b *testing.B) {
	for b.Loop() {
		label.Key("ada.lovelace-42")
	}
}
