package store

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/template-insights/insights/store/apps"
)

// Limits of session names in one report.
const (
	maxSessionName  = 64 // code points of a name
	maxSessionNames = 64 // names of a report; the rest is added to UnknownSession
)

// Names of apps that are not those of any one.
const (
	UnknownSession = apps.Unknown // sessions without a name, or with one too many
	TerminalApp    = "[terminal]" // proxied terminals; no slug looks like it
)

// IsControl reports whether a character has no place in a name: control characters, those that end a line, and those that nobody sees
// or that turn the direction of the text around them, so that a name could look like another one.
func IsControl(r rune) bool {
	switch {
	case unicode.IsControl(r), r == '\u00ad', r == '\u061c', r == '\u180e', r == '\ufeff', // a soft hyphen, marks, no space at all
		r >= '\u200b' && r <= '\u200f', r >= '\u2028' && r <= '\u202e', r >= '\u2060' && r <= '\u206f', // zero width, lines, directions
		r >= '\U000e0000' && r <= '\U000e007f': // tags
		return true
	}
	return false
}

// NormalizeSessionName brings the name of a session app, as an agent sends it, into the form that is stored: no control
// characters, no blanks around it, at most 64 code points, lower case, _ for -; an empty name is "unknown".
func NormalizeSessionName(name string) string {
	name = strings.Map(func(r rune) rune {
		if IsControl(r) {
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(name)
	if runes := []rune(name); len(runes) > maxSessionName {
		name = strings.TrimSpace(string(runes[:maxSessionName]))
	}
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return cmp.Or(name, UnknownSession)
}

// NormalizeSessions returns the open sessions of a report by stored name, and how many names were too many. Counts of
// names that become equal are added up; counts that are not positive are dropped. Of more than 64 names those of the list
// stay first, then those with higher counts, then by name; the others are added to "unknown".
func NormalizeSessions(known *apps.List, counts map[string]int64) (sessions map[string]int64, overflow int) {
	sessions = make(map[string]int64, len(counts))
	for name, n := range counts {
		if n > 0 {
			name = NormalizeSessionName(name)
			sessions[name] = saturatingAdd(sessions[name], n)
		}
	}
	if len(sessions) <= maxSessionNames {
		return sessions, 0
	}
	names := slices.SortedFunc(maps.Keys(sessions), func(a, b string) int {
		if listed := known.Listed(a); listed != known.Listed(b) {
			if listed {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(sessions[b], sessions[a]), cmp.Compare(a, b))
	})
	var rest int64
	for _, name := range names[maxSessionNames:] {
		rest = saturatingAdd(rest, sessions[name])
		delete(sessions, name)
	}
	sessions[UnknownSession] = saturatingAdd(sessions[UnknownSession], rest)
	return sessions, len(names) - maxSessionNames
}

func saturatingAdd(a, b int64) int64 {
	const limit = 1<<63 - 1
	if a > limit-b {
		return limit
	}
	return a + b
}
