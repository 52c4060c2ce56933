package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
)

// maxName is how many code points a stored session name has at most, and how many names a report.
const maxName = 64

func checkSessionName(t *testing.T, given, name string) {
	t.Helper()
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || name != strings.TrimSpace(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '-' || unicode.ToLower(r) != r }) {
		t.Errorf("%q is stored as %q", given, name)
	}
	if again := store.NormalizeSessionName(name); again != name {
		t.Errorf("%q is stored as %q, and that as %q", given, name, again)
	}
}

func FuzzSessionName(f *testing.F) {
	for _, name := range []string{
		"", "vscode", "  JetBrains-Gateway ", "\x00a\x7f\u0085", "\u0130\u212a", "\xff\xfe", strings.Repeat("\u00c4", 70),
		strings.Repeat("a ", 40), "-",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) { checkSessionName(t, name, store.NormalizeSessionName(name)) })
}

// However many names a report has: few are stored, all in their form, and no open session gets lost.
func FuzzSessions(f *testing.F) {
	many := map[string]int64{}
	for i := range 100 {
		many[strings.Repeat(string(rune('a'+i%26)), 1+i/26)] = int64(i)
	}
	for _, counts := range []map[string]int64{nil, {"vscode": 1, "VSCode ": 2, "": 3}, {"a": 1 << 62, "A": 1 << 62, "b": -1}, many} {
		text, err := json.Marshal(counts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var counts map[string]int64
		if json.Unmarshal(text, &counts) != nil {
			return
		}
		var want, got uint64
		for _, n := range counts {
			want = min(want+uint64(max(n, 0)), 1<<63)
		}
		sessions, overflow := store.NormalizeSessions(apps.BuiltIn(), counts)
		for name, n := range sessions {
			checkSessionName(t, "a name of the report", name)
			if n < 1 {
				t.Errorf("%q has %d open sessions", name, n)
			}
			got += uint64(n)
		}
		if want < 1<<63 && got != want {
			t.Errorf("%d open sessions became %d", want, got)
		}
		if len(sessions) > maxName+1 || overflow < 0 || overflow > 0 && len(sessions) < maxName {
			t.Errorf("%d names are stored, %d were too many", len(sessions), overflow)
		}
	})
}
