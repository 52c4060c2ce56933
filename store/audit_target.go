package store

import (
	"context"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// erasedWord replaces the names and ids of erased users in the audit trail.
const erasedWord = "erased"

// withoutErased replaces the ids of erased users, and the ids of their workspaces and agents, in a text. Without the privacy key nobody
// can tell these ids from others, and the text stays as it is.
func (s *Store) withoutErased(ctx context.Context, text string) (string, error) {
	ids := idsIn(text)
	if s.key == nil || len(ids) == 0 {
		return text, nil
	}
	erased, err := s.Erased(ctx, ids)
	if err != nil {
		return "", err
	}
	return replaceIDs(text, func(id uuid.UUID) (string, bool) { return erasedWord, erased[id] }), nil
}

// hideIDs replaces the ids of users in a text by their pseudonyms, and writes all ids in lower case.
func (s *Store) hideIDs(ctx context.Context, text string) (string, error) {
	kept, err := s.keptAs(s.lookups.WithContext(ctx), idsIn(text))
	return replaceIDs(text, func(id uuid.UUID) (string, bool) {
		return idIn(kept, id).String(), true
	}), err
}

var idPattern = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// idsIn returns the ids in a text. They may be in lower or upper case.
func idsIn(text string) []uuid.UUID {
	var ids []uuid.UUID
	for _, id := range idPattern.FindAllString(text, -1) {
		ids = append(ids, uuid.MustParse(id))
	}
	return ids
}

// replaceIDs replaces an id in a text if the function by returns true and the text to take its place.
func replaceIDs(text string, by func(uuid.UUID) (string, bool)) string {
	return idPattern.ReplaceAllStringFunc(text, func(id string) string {
		if other, replaced := by(uuid.MustParse(id)); replaced {
			return other
		}
		return id
	})
}

// likeEscaper makes a pattern of LIKE that matches the given text and no other one. The character ! escapes.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// inJSON writes a text as a string of JSON has it, without the quotes around.
func inJSON(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// wordPattern finds a word in any case.
func wordPattern(word string) *regexp.Regexp {
	return regexp.MustCompile("(?i)" + regexp.QuoteMeta(word))
}

// replaceWord replaces what a pattern of a word finds in a text. It leaves the word alone where a letter or a digit touches it.
func replaceWord(text string, word *regexp.Regexp, by string) string {
	part := func(r rune, size int) bool { return size > 0 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	var out strings.Builder
	end := 0
	for _, at := range word.FindAllStringIndex(text, -1) {
		if part(utf8.DecodeLastRuneInString(text[:at[0]])) || part(utf8.DecodeRuneInString(text[at[1]:])) {
			continue
		}
		out.WriteString(text[end:at[0]] + by)
		end = at[1]
	}
	return out.String() + text[end:]
}
